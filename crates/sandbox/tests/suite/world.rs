//! What every test stands on: an image of this host, every language, a sandbox, and looks at the process table.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use execgate_sandbox::image::{Image, Recipe};
use execgate_sandbox::{
    Config, ImageChecks, ImageRoot, Limits, Request, Rotation, Run, Sandbox, Tier, TierChoice, Verdict,
    spawn_helper_of,
};
use execgate_tool::code;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// How many times as slow as a real processor the one is that these tests were compiled for: `cargo xtask soak vm` has
/// them run on an emulated one.
pub(super) const SLOWNESS: u32 = if option_env!("EXECGATE_TEST_EMULATED").is_some() { 6 } else { 1 };

/// Longer than anything here takes on a loaded machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(20 * SLOWNESS as u64);

/// A folder with another `node` than the host's, where these tests were compiled for one: so are versions of Node proved.
pub(super) const NODE: Option<&str> = option_env!("EXECGATE_TEST_NODE");

/// None while a test lasts: whoever counts processes counts no reader of the image, and none of them reads all of it.
pub(super) const NO_CHECKS: ImageChecks =
    ImageChecks { first: Duration::from_secs(86_400), every: Duration::from_secs(86_400) };

/// The image of this host's packages, built once for all tests.
pub(super) fn image() -> ImageRoot {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sandbox-images");
    let host = Recipe::host();
    let recipe = match NODE {
        Some(folder) => host.with_overlay(folder, "usr/local/bin"),
        None => host,
    };
    let image = Image::ensure(&cache, &recipe, &mut |_| {}).unwrap();
    ImageRoot { path: image.root, digest: image.digest }
}

/// A sandbox in which no interpreter waits.
pub(super) fn start(image: ImageRoot, tier: TierChoice, slots: usize) -> Sandbox {
    start_as(|config| *config = Config { image, tier, slots, residents: 0, ..config.clone() })
}

/// A sandbox of the full tier, but for what is changed of it.
pub(super) fn start_as(change: impl FnOnce(&mut Config)) -> Sandbox {
    let sandbox = start_cold(change);
    sandbox.warm_up(PATIENCE).unwrap();
    sandbox
}

/// The same, before anything waits in it.
pub(super) fn start_cold(change: impl FnOnce(&mut Config)) -> Sandbox {
    start_by(Path::new(env!("CARGO_BIN_EXE_sandbox-helper")), change)
}

/// The same, by another program than the helper itself.
pub(super) fn start_by(helper: &Path, change: impl FnOnce(&mut Config)) -> Sandbox {
    let helper = spawn_helper_of(helper).unwrap();
    let image = image();
    let mut languages = code::present(&image.path);
    // One interpreter for each is enough for most of what is asked here.
    languages.iter_mut().for_each(|language| language.warm.truncate(1));
    let tier = TierChoice::Exactly(Tier::Jail);
    let mut config = Config {
        image,
        languages,
        slots: 16,
        tier,
        residents: crate::RESIDENTS,
        id_block: 0,
        egress: None,
        image_checks: NO_CHECKS,
        rotation: Rotation::default(),
    };
    change(&mut config);
    Sandbox::start(helper, config).unwrap()
}

/// A sandbox of the full tier.
pub(super) fn sandbox() -> Sandbox {
    start_as(|_| ())
}

pub(super) fn python(code: &str) -> Request {
    unhurried(Request::new("python", code))
}

pub(super) fn bash(code: &str) -> Request {
    unhurried(Request::new("bash", code))
}

/// With the time that a run has by itself, as the machine counts it.
fn unhurried(request: Request) -> Request {
    with_limits(request, |limits| limits.wall *= SLOWNESS)
}

/// A traceback without the lines that mark a place in the line above: which are marked, each Python decides anew.
pub(super) fn without_marks(traceback: &str) -> String {
    let is_mark = |line: &&str| !line.is_empty() && line.chars().all(|letter| " ~^".contains(letter));
    traceback.split_inclusive('\n').filter(|line| !is_mark(&line.trim_end_matches('\n'))).collect()
}

pub(super) fn with_limits(request: Request, change: impl FnOnce(&mut Limits)) -> Request {
    let mut request = request;
    change(&mut request.limits);
    request
}

/// Runs code in a sandbox of its own and gives the text of its value.
pub(super) fn value_of(code: &str) -> String {
    value_in(&sandbox(), code)
}

pub(super) fn value_in(sandbox: &Sandbox, code: &str) -> String {
    let run = sandbox.run(python(code)).unwrap();
    assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
    run.value.unwrap_or_default()
}

/// What a run said, for a failed assertion.
pub(super) fn told(run: &Run) -> String {
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    format!("{:?}\n{:?}\nstdout: {out:.2000}\nstderr: {err:.2000}", run.verdict, run.exception)
}

/// Every process below one, but not itself.
pub(super) fn descendants(pid: i32) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    let mut to_see = vec![pid];
    while let Some(pid) = to_see.pop() {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            let text = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            to_see.extend(
                text.split_whitespace().map(|id| id.parse::<i32>().unwrap()).filter(|id| found.insert(*id)),
            );
        }
    }
    found
}

/// Waits, within a bound, until something that the kernel does by and by is done. For what has no event.
pub(super) fn comes_true(mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if done() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

/// Descriptors by which the end of processes can be waited for.
pub(super) fn watch(pids: impl IntoIterator<Item = i32>) -> Vec<OwnedFd> {
    let open = |pid| pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok();
    pids.into_iter().filter_map(open).collect()
}

/// Whether all of these processes end within the bound.
pub(super) fn all_end(watched: &[OwnedFd]) -> bool {
    let timeout = Timespec::try_from(PATIENCE).unwrap();
    watched.iter().all(|process| poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&timeout)) == Ok(1))
}

/// Whether all of these processes have ended by now.
pub(super) fn have_ended(watched: &[OwnedFd]) -> bool {
    let now = Timespec::default();
    watched.iter().all(|process| poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&now)) == Ok(1))
}

/// A sandbox of the full tier in which no interpreter waits, for those who count processes.
pub(super) fn cold() -> Sandbox {
    start(image(), TierChoice::Exactly(Tier::Jail), 16)
}

/// A sandbox of the full tier for those who count what there is: of these languages, and of the interpreters of each
/// never more than one waits. How many more would depends on how fast they were asked for.
pub(super) fn counted(languages: &[&str]) -> Sandbox {
    start_as(|config| {
        config.languages.retain(|language| languages.contains(&language.name.as_str()));
        config.residents = config.residents.min(1);
    })
}

/// A sandbox of the full tier for attacks: one language is enough.
pub(super) fn attacked() -> Sandbox {
    counted(&["python"])
}
