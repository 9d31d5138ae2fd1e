//! Listing and removing images, and which of them are in use.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use super::super::{Image, Keep, Recipe};
use super::system::{System, names};

/// Builds three images of one cache, and lets all of them go; their digests, the last taken first.
fn three(system: &System) -> Vec<String> {
    let digests = ["1", "2", "3"].map(|content| {
        system.file("usr/bin/mawk", content);
        let image = Image::build(&system.cache(), &system.recipe(), &mut |_| {}).unwrap();
        let digest = image.digest.clone();
        image.let_go();
        digest
    });
    let days = |days: u64| Duration::from_secs(days * 86_400);
    for (digest, age) in digests.iter().zip([1, 2, 3]) {
        let lock = File::open(system.cache().join(digest).join("in-use")).unwrap();
        lock.set_modified(SystemTime::UNIX_EPOCH + days(1000) - days(age)).unwrap();
    }
    digests.to_vec()
}

#[test]
fn images_are_listed_with_what_is_known_of_them() {
    let system = System::new();
    assert_eq!(Image::list(&system.cache().join("absent")).unwrap().len(), 0);
    let digests = three(&system);
    let held = Image::open(&system.cache(), &digests[2]).unwrap();
    let listed = Image::list(&system.cache()).unwrap();
    let known: Vec<_> = listed.iter().map(|image| (&image.digest, image.in_use)).collect();
    // what was taken now is first
    assert_eq!(known, [(&digests[2], Some(true)), (&digests[0], Some(false)), (&digests[1], Some(false))]);
    assert!(listed.iter().all(|image| image.summary.as_ref().unwrap().files > 10));
    held.let_go();
    assert_eq!(Image::list(&system.cache()).unwrap()[0].in_use, Some(false));
}

#[test]
fn what_is_neither_kept_nor_spared_nor_used_is_removed_with_its_keys() {
    let system = System::new();
    let digests = three(&system);
    let held = Image::open(&system.cache(), &digests[2]).unwrap();
    let pruned = Image::prune(&system.cache(), Keep::Newest(0), &digests[1..2]).unwrap();
    assert_eq!(pruned.removed, [digests[0].clone()]);
    assert_eq!(pruned.in_use, [digests[2].clone()]);
    let mut left = vec![&*digests[1], &*digests[2], "keys", "lock"];
    left.sort_unstable();
    assert_eq!(names(&system.cache()), left);
    // the key leads to the last one built, which stays
    assert_eq!(names(&system.cache().join("keys")).len(), 1);
    held.let_go();
    let pruned = Image::prune(&system.cache(), Keep::Newest(0), &[]).unwrap();
    assert_eq!(pruned.removed.len(), 2);
    assert_eq!(names(&system.cache()), ["keys", "lock"]);
    assert_eq!(names(&system.cache().join("keys")).len(), 0);
    assert_eq!(Image::find(&system.cache(), &system.recipe()).unwrap(), None);
}

#[test]
fn the_last_taken_are_kept_by_number_or_by_time() {
    let system = System::new();
    let digests = three(&system);
    let pruned = Image::prune(&system.cache(), Keep::Newest(2), &[]).unwrap();
    assert_eq!(pruned.removed, [digests[2].clone()]);
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400 * 1000 - 86_400 * 3 / 2);
    let pruned = Image::prune(&system.cache(), Keep::TakenSince(since), &[]).unwrap();
    assert_eq!(pruned.removed, [digests[1].clone()]);
    assert!(Image::open(&system.cache(), &digests[0]).is_ok());
}

#[test]
fn an_image_that_another_process_uses_is_not_removed() {
    let system = System::new();
    let digests = three(&system);
    let lock = system.cache().join(&digests[0]).join("in-use");
    let script = "import fcntl,sys; f=open(sys.argv[1]); fcntl.lockf(f, fcntl.LOCK_SH); print('held', flush=True); sys.stdin.read()";
    #[expect(clippy::disallowed_methods, reason = "a lock of this kind is seen by other processes only")]
    let mut other = Command::new("/usr/bin/python3");
    let mut other =
        other.args(["-c", script]).arg(&lock).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(other.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "held\n");
    let pruned = Image::prune(&system.cache(), Keep::Newest(0), &[]).unwrap();
    assert_eq!(pruned.in_use, [digests[0].clone()]);
    other.stdin.take().unwrap().flush().unwrap();
    other.wait().unwrap();
    let pruned = Image::prune(&system.cache(), Keep::Newest(0), &[]).unwrap();
    assert_eq!(pruned.removed, [digests[0].clone()]);
}

#[test]
fn an_image_of_a_version_that_knew_no_locks_is_left_alone() {
    let system = System::new();
    let digests = three(&system);
    fs::remove_file(system.cache().join(&digests[0]).join("in-use")).unwrap();
    let pruned = Image::prune(&system.cache(), Keep::Newest(0), &[]).unwrap();
    assert_eq!(pruned.foreign, [digests[0].clone()]);
    assert!(Image::open(&system.cache(), &digests[0]).is_ok());
}

#[test]
fn what_a_killed_fetch_left_goes_with_the_next_build_and_one_that_lives_stays() {
    let system = System::new();
    let abandoned = system.cache().join(".fetching-1-0");
    let living = system.cache().join(".fetching-1-1");
    fs::create_dir_all(abandoned.join("tmp")).unwrap();
    fs::create_dir_all(&living).unwrap();
    let lock = File::open(&living).unwrap();
    lock.lock().unwrap();
    Image::build(&system.cache(), &Recipe::from_dir(system.root()), &mut |_| {}).unwrap();
    assert_eq!((abandoned.exists(), living.exists()), (false, true));
}
