//! The image is read anew while runs go on; from one that was altered nothing runs any more.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use execgate_sandbox::image::{Base, Image, PackageRecipe, Recipe};
use execgate_sandbox::{
    Cell, ImageChecks, ImageRoot, Limits, RunError, Sandbox, SessionEnd, SessionRequest, Verdict,
};

use super::recovery::kill;
use super::world::{PATIENCE, all_end, bash, comes_true, descendants, start_as, told, watch};

/// Again and again, so that none is waited for.
const OFTEN: ImageChecks = ImageChecks { first: Duration::ZERO, every: Duration::from_millis(20) };

/// An image of its own, small, in a folder that goes with it.
fn small_image() -> (tempfile::TempDir, ImageRoot) {
    let cache = tempfile::tempdir().unwrap();
    let image = image_of(cache.path(), &["base-files", "bash", "coreutils", "libc-bin"]);
    (cache, image)
}

/// One of these packages and of what they need.
pub(super) fn image_of(cache: &Path, packages: &[&str]) -> ImageRoot {
    let wanted = packages.iter().map(|name| (*name).to_owned()).collect();
    let base = Base::Packages(PackageRecipe { wanted, ..PackageRecipe::default() });
    let image = Image::ensure(cache, &Recipe::of(base), &mut |_| {}).unwrap();
    ImageRoot { path: image.root, digest: image.digest }
}

fn sandbox_of(image: ImageRoot) -> Sandbox {
    start_as(|config| {
        config.languages.retain(|language| language.name == "bash");
        (config.image, config.image_checks) = (image, OFTEN);
    })
}

/// Writes other bytes into a file, and leaves all else of it as it was.
fn alter(path: &Path) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let mut file = File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(b"altered").unwrap();
    file.set_modified(modified).unwrap();
}

#[test]
fn from_an_image_that_was_altered_nothing_runs_any_more() {
    let (_cache, image) = small_image();
    // A program that nothing here runs, so that what is altered is what is found.
    let program = image.path.join("usr/bin/sha512sum");
    let sandbox = sandbox_of(image);
    let mut session = sandbox.open_session(SessionRequest::new("bash")).unwrap();
    assert_eq!(session.run(Cell::new("x=1")).unwrap().verdict, Verdict::Value);
    let (tells, hears) = channel();
    let lost = thread::scope(|scope| {
        let mut request = bash("echo begun; sleep 600");
        request.limits.wall = Limits::WALL_MAX;
        request.sink = Some(Box::new(move |_, _| tells.send(()).unwrap_or_default()));
        let running = scope.spawn(|| sandbox.run(request).unwrap_err());
        hears.recv().unwrap();
        // It was read by now, and nothing was found.
        let run = sandbox.run(bash("echo well")).unwrap();
        assert_eq!(run.stdout, b"well\n", "{}", told(&run));
        assert_eq!(sandbox.image_change(), None);
        alter(&program);
        assert!(comes_true(|| {
            // Something has to run from it.
            let _may_be_refused = sandbox.run(bash("true"));
            sandbox.image_change().is_some()
        }));
        running.join().unwrap()
    });
    assert_eq!(sandbox.image_change(), Some("/usr/bin/sha512sum has another content"));
    assert!(matches!(lost, RunError::ImageChanged { has_begun: true }) && lost.is_lost(), "{lost:?}");
    let refused = sandbox.run(bash("true")).unwrap_err();
    assert!(matches!(refused, RunError::ImageChanged { has_begun: false }) && !refused.is_lost());
    let ended = session.run(Cell::new("echo $x")).unwrap_err();
    assert!(matches!(ended, RunError::SessionEnded { end: SessionEnd::ImageChanged }), "{ended:?}");
    let opened = sandbox.open_session(SessionRequest::new("bash"));
    assert!(matches!(opened, Err(RunError::ImageChanged { has_begun: false })));
    assert!(sandbox.is_alive(), "the helper stays, and says why");
    assert!(all_end(&watch(descendants(sandbox.helper_pid()))), "nothing that came from it lives on");
}

#[test]
fn what_a_helper_has_found_is_not_forgotten_when_it_dies() {
    let (_cache, image) = small_image();
    let program = image.path.join("usr/bin/sha512sum");
    let sandbox = sandbox_of(image);
    // Who takes a place hears the helper; who has one does not.
    let place = sandbox.reserve().unwrap();
    alter(&program);
    let mut endless = bash("sleep 600");
    endless.limits.wall = PATIENCE;
    let found = sandbox.run_in(place, endless).unwrap_err();
    assert!(matches!(found, RunError::ImageChanged { .. }), "{found:?}");
    kill(sandbox.helper_pid());
    assert!(comes_true(|| sandbox.helpers_lost() == 1));
    assert!(matches!(sandbox.run(bash("true")), Err(RunError::ImageChanged { has_begun: false })));
    assert_eq!(sandbox.image_change(), Some("/usr/bin/sha512sum has another content"));
    assert!(!sandbox.is_alive(), "another began on an image that is known to be altered");
}

#[test]
fn an_image_that_is_what_it_was_is_read_again_and_again_and_nobody_notices() {
    let (_cache, image) = small_image();
    let sandbox = sandbox_of(image);
    let mut seen = 0;
    let mut was_there = false;
    let least = "19";
    assert!(comes_true(|| {
        let run = sandbox.run(bash("echo well")).unwrap();
        assert_eq!(run.stdout, b"well\n", "{}", told(&run));
        // The one that gives way to everybody.
        let gives_way = |pid: &i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
            after.split(' ').nth(16) == Some(least)
        };
        let is_there = descendants(sandbox.helper_pid()).iter().any(gives_way);
        seen += usize::from(is_there && !was_there);
        was_there = is_there;
        seen >= 3
    }));
    assert_eq!(sandbox.image_change(), None);
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
}
