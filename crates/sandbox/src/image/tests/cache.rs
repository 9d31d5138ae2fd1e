//! Finding, publishing and keeping builds apart.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::thread;

use super::super::{Image, ImageError, Origin, Reads, Recipe};
use super::system::{System, names};

#[test]
fn the_same_host_state_gives_the_same_digest() {
    let (one, other) = (System::new(), System::new());
    let digest = one.ensure().digest;
    assert_eq!(digest, other.ensure().digest);
    // another time is not another image
    let file = fs::File::options().write(true).open(other.root().join("usr/bin/bash")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    let again = Image::build(&other.cache(), &other.recipe(), &mut |_| {}).unwrap();
    assert_eq!(again.digest, digest);
    other.file("usr/bin/mawk", "altered");
    assert_ne!(Image::build(&other.cache(), &other.recipe(), &mut |_| {}).unwrap().digest, digest);
}

#[test]
fn a_second_start_finds_the_image_without_building() {
    let system = System::new();
    assert_eq!(Image::find(&system.cache(), &system.recipe()).unwrap(), None);
    let built = system.ensure();
    assert_eq!(built.origin, Origin::Built);
    let refuse = &mut |_: super::super::Progress<'_>| unreachable!("nothing is to be built");
    let found = Image::ensure(&system.cache(), &system.recipe(), refuse).unwrap();
    assert_eq!(found, Image { origin: Origin::Found, ..built });
    assert_eq!(Image::open(&system.cache(), &found.digest).unwrap(), found);
    let status = fs::read_to_string(system.root().join("var/lib/dpkg/status")).unwrap();
    system.file("var/lib/dpkg/status", &status.replace("5.2-1", "5.3-1"));
    assert_eq!(Image::find(&system.cache(), &system.recipe()).unwrap(), None);
}

#[test]
fn progress_ends_at_the_total() {
    let system = System::new();
    let mut last = None;
    Image::ensure(&system.cache(), &system.recipe(), &mut |progress| {
        last = Some((progress.files_done, progress.files_total, progress.bytes_done, progress.bytes_total));
    })
    .unwrap();
    let summary = system.ensure().summary().unwrap();
    assert_eq!(last, Some((summary.files, summary.files, summary.bytes, summary.bytes)));
}

#[test]
fn an_interrupted_build_leaves_garbage_that_the_next_one_removes() {
    let system = System::new();
    let interrupted = catch_unwind(AssertUnwindSafe(|| {
        Image::ensure(&system.cache(), &system.recipe(), &mut |_| panic!("interrupted"))
    }));
    assert!(interrupted.is_err());
    // what a kill leaves, since nothing is cleaned up then
    let left = system.cache().join(".building-image-1");
    fs::create_dir_all(left.join("root/usr")).unwrap();
    fs::write(system.cache().join(".building-key-1"), "x").unwrap();
    assert_eq!(Image::find(&system.cache(), &system.recipe()).unwrap(), None);
    let image = system.ensure();
    assert_eq!(names(&system.cache()), [image.digest.as_str(), "keys", "lock"]);
}

#[test]
fn a_failed_build_leaves_the_cache_as_it_was() {
    let system = System::new();
    let grown = system.root().join("usr/lib/libfoo.so.1.0");
    let status = system.root().join("var/lib/dpkg/status");
    let error = Image::ensure(&system.cache(), &system.recipe(), &mut |_| {
        let upgraded = fs::read_to_string(&status).unwrap().replace("1.0", "1.1");
        fs::write(&status, upgraded).unwrap();
        fs::write(&grown, "upgraded").unwrap();
    });
    assert!(matches!(error, Err(ImageError::Changed { .. })), "{error:?}");
    assert_eq!(names(&system.cache()), ["lock"]);
}

#[test]
fn of_builds_at_once_one_builds_and_all_get_the_same() {
    const AT_ONCE: usize = 4;
    let system = System::new();
    let barrier = Barrier::new(AT_ONCE);
    let images: Vec<Image> = thread::scope(|scope| {
        let start = || {
            scope.spawn(|| {
                barrier.wait();
                system.ensure()
            })
        };
        let threads: Vec<_> = (0..AT_ONCE).map(|_| start()).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(images.iter().filter(|image| image.origin == Origin::Built).count(), 1);
    assert!(images.iter().all(|image| image.digest == images[0].digest));
    assert!(images[0].verify(Reads::Cached).unwrap().is_intact());
}

#[test]
fn a_fresh_build_keeps_an_intact_image_and_replaces_a_damaged_one() {
    let system = System::new();
    let image = system.ensure();
    let python = image.root.join("usr/lib/python3/os.py");
    let inode = || fs::metadata(&python).unwrap().ino();
    let before = inode();
    Image::build(&system.cache(), &system.recipe(), &mut |_| {}).unwrap();
    assert_eq!(inode(), before);
    fs::write(&python, "altered").unwrap();
    Image::build(&system.cache(), &system.recipe(), &mut |_| {}).unwrap();
    assert!(image.verify(Reads::Cached).unwrap().is_intact());
}

#[test]
fn a_cache_that_others_can_write_is_refused() {
    let system = System::new();
    for mode in [0o775, 0o757, 0o1777] {
        fs::set_permissions(system.cache(), Permissions::from_mode(mode)).unwrap();
        let error = Image::ensure(&system.cache(), &system.recipe(), &mut |_| {}).unwrap_err();
        assert!(matches!(error, ImageError::CacheNotOurs { .. }), "{mode:o}");
    }
}

#[test]
fn a_digest_is_never_a_path() {
    let system = System::new();
    for digest in ["", "keys", "../cache", &"A".repeat(64), &"0".repeat(63)] {
        assert!(
            matches!(Image::open(&system.cache(), digest), Err(ImageError::BadDigest { .. })),
            "{digest}"
        );
    }
    let unknown = Image::open(&system.cache(), &"0".repeat(64));
    assert!(matches!(unknown, Err(ImageError::NoSuchImage { .. })));
}

#[test]
fn a_manifest_that_was_altered_or_is_of_another_version_is_refused() {
    let system = System::new();
    let image = system.ensure();
    let path = image.root.with_file_name("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"mode\":493", "\"mode\":511", 1)).unwrap();
    assert!(matches!(image.manifest(), Err(ImageError::ManifestMismatch { .. })));
    fs::write(&path, text.replacen("\"version\":2", "\"version\":3", 1)).unwrap();
    assert!(matches!(image.manifest(), Err(ImageError::ManifestVersion { found: 3, known: 2, .. })));
    fs::write(&path, "{").unwrap();
    assert!(matches!(image.manifest(), Err(ImageError::ParseManifest { .. })));
}

#[test]
fn a_prepared_tree_gives_an_image_with_the_packages_that_its_own_database_names() {
    let system = System::new();
    system.file("opt/tool/data", "x");
    let image = Image::ensure(&system.cache(), &Recipe::from_dir(system.root()), &mut |_| {}).unwrap();
    let summary = image.summary().unwrap();
    assert_eq!(summary.packages.len(), 5);
    let languages: Vec<_> =
        summary.interpreters.iter().map(|found| (&*found.language, found.version.as_deref())).collect();
    assert_eq!(languages, [("bash", Some("5.2")), ("python", Some("3.11.2"))]);
    assert_eq!(fs::read_to_string(image.root.join("opt/tool/data")).unwrap(), "x");
    assert_eq!(
        Image::find(&system.cache(), &Recipe::from_dir(system.root())).unwrap().unwrap().digest,
        image.digest
    );
}
