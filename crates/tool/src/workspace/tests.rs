//! What a workspace holds, how much, and that nothing leads out of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::thread;

use execgate_model::Digest;
use tempfile::{TempDir, tempdir};

use super::{WorkspaceError, WorkspacePath, Workspaces};

const ONE: Digest = Digest::from_bytes([1; 32]);
const TWO: Digest = Digest::from_bytes([2; 32]);

fn workspaces() -> (TempDir, Workspaces) {
    let folder = tempdir().unwrap();
    let workspaces = Workspaces::at(folder.path().join("workspaces"));
    (folder, workspaces)
}

fn path(text: &str) -> WorkspacePath {
    WorkspacePath::parse(text).unwrap()
}

fn files(folder: &TempDir, owner: Digest) -> PathBuf {
    folder.path().join("workspaces").join(owner.to_hex()).join("files")
}

#[test]
fn what_is_written_is_read_listed_and_deleted_by_its_owner_alone() {
    let (folder, kept) = workspaces();
    assert_eq!(kept.read(ONE, &path("a/b")).unwrap(), None);
    assert_eq!(kept.list(ONE).unwrap(), []);
    assert!(!kept.delete(ONE, &path("a/b")).unwrap());
    let first = kept.write(ONE, &path("a/b"), b"first").unwrap();
    assert!(!first.replaced);
    assert!(kept.write(ONE, &path("a/b"), b"second").unwrap().replaced);
    kept.write(ONE, &path("c"), b"").unwrap();
    assert_eq!(kept.read(ONE, &path("a/b")).unwrap().as_deref(), Some(&b"second"[..]));
    assert_eq!(kept.read(TWO, &path("a/b")).unwrap(), None);
    assert_eq!(kept.read(ONE, &path("a")).unwrap(), None, "a folder is no file");
    assert_eq!(kept.read(ONE, &path("c/d")).unwrap(), None);
    let listed: Vec<_> = kept.list(ONE).unwrap().into_iter().map(|file| (file.path, file.bytes)).collect();
    assert_eq!(listed, [("a/b".to_owned(), 6), ("c".to_owned(), 0)]);

    assert!(matches!(kept.write(ONE, &path("a"), b"x"), Err(WorkspaceError::IsFolder(_))));
    assert!(matches!(kept.write(ONE, &path("c/d"), b"x"), Err(WorkspaceError::NoFolder(at)) if at == "c"));
    assert!(matches!(kept.delete(ONE, &path("a")), Err(WorkspaceError::IsFolder(_))));
    assert!(!kept.delete(TWO, &path("a/b")).unwrap());
    assert!(kept.delete(ONE, &path("a/b")).unwrap());
    assert_eq!(kept.list(ONE).unwrap().len(), 1);
    assert!(!files(&folder, ONE).join("a").exists(), "an empty folder goes with its last file");
    let mode = |of: PathBuf| fs::metadata(of).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(files(&folder, ONE)), mode(files(&folder, ONE).join("c"))), (0o700, 0o600));
}

#[test]
fn there_is_room_for_so_much_and_a_file_takes_the_place_of_the_one_before() {
    let (_folder, kept) = workspaces();
    let large = vec![b'x'; 16 << 20];
    for name in ["a", "b", "c", "d"] {
        kept.write(ONE, &path(name), &large).unwrap();
    }
    kept.write(ONE, &path("d"), &large).unwrap();
    let full = kept.write(ONE, &path("e"), b"x");
    assert!(matches!(full, Err(WorkspaceError::Full { bytes, entries: 4 }) if bytes == 64 << 20), "{full:?}");
    assert_eq!(kept.read(ONE, &path("e")).unwrap(), None);
    kept.write(TWO, &path("e"), b"x").unwrap();
    assert!(kept.delete(ONE, &path("a")).unwrap());
    kept.write(ONE, &path("e"), b"x").unwrap();
}

#[test]
fn there_is_room_for_so_many_entries() {
    let (folder, kept) = workspaces();
    kept.write(ONE, &path("first"), b"").unwrap();
    for number in 1..super::keep::ENTRIES_MAX {
        fs::write(files(&folder, ONE).join(number.to_string()), "").unwrap();
    }
    assert!(matches!(kept.write(ONE, &path("more"), b""), Err(WorkspaceError::Full { .. })));
    kept.write(ONE, &path("first"), b"again").unwrap();
}

#[test]
fn no_link_leads_out_whoever_has_put_it_there() {
    let (folder, kept) = workspaces();
    kept.write(ONE, &path("a"), b"x").unwrap();
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "of the host").unwrap();
    symlink(&outside, files(&folder, ONE).join("link")).unwrap();
    symlink(outside.join("secret"), files(&folder, ONE).join("file")).unwrap();
    assert!(matches!(kept.write(ONE, &path("link/new"), b"x"), Err(WorkspaceError::NoFolder(_))));
    assert!(kept.read(ONE, &path("link/secret")).is_err());
    assert!(kept.read(ONE, &path("file")).is_err());
    // A link is replaced, and what it led to is left alone.
    kept.write(ONE, &path("file"), b"own").unwrap();
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"of the host");
    assert!(!outside.join("new").exists());
    assert_eq!(kept.read(ONE, &path("file")).unwrap().as_deref(), Some(&b"own"[..]));
}

#[test]
fn many_who_write_at_once_stay_within_the_room_and_each_file_is_whole() {
    let (folder, kept) = workspaces();
    // What a process left that died.
    kept.write(ONE, &path("x"), b"").unwrap();
    fs::write(files(&folder, ONE).parent().unwrap().join("new/file"), "half").unwrap();
    thread::scope(|scope| {
        for number in 0..12_u8 {
            let kept = kept.clone();
            scope.spawn(move || {
                let content = vec![number; 7 << 20];
                drop(kept.write(ONE, &path(&format!("many/{number}")), &content));
                drop(kept.write(ONE, &path("one"), &[number; 100]));
            });
        }
    });
    let listed = kept.list(ONE).unwrap();
    let sum: u64 = listed.iter().map(|file| file.bytes).sum();
    assert!(sum <= Workspaces::quota_bytes() && sum > 56 << 20, "{sum}");
    for file in &listed {
        let content = kept.read(ONE, &path(&file.path)).unwrap().unwrap();
        assert!(content.iter().all(|byte| *byte == content[0]), "{}", file.path);
    }
}
