//! Trees laid over a base.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::super::{EntryKind, Image, ImageError, Recipe};
use super::system::{System, at};

const PLACE: &str = "usr/local/lib/python3.11/dist-packages";

/// A folder with these files, made now.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        write(folder.path(), path, content);
    }
    folder
}

fn write(top: &Path, path: &str, content: &str) -> PathBuf {
    let path = top.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

fn ensure(system: &System, recipe: &Recipe) -> Image {
    Image::ensure(&system.cache(), recipe, &mut |_| {}).unwrap()
}

#[test]
fn an_overlay_lies_over_the_base_and_keeps_to_its_rules() {
    let system = System::new();
    system.file("usr/lib/tool/old", "of the base");
    system.package("sed", "1", "", &["/usr/lib/tool/old"]);
    let over = folder(&[
        ("old", "of the overlay"),
        ("new/file", "x"),
        ("evil.pth", "import os\n"),
        ("sitecustomize.py", "import os\n"),
        (".npmrc", "token"),
        ("lib.a", "x"),
    ]);
    let program = write(over.path(), "program", "x");
    fs::set_permissions(&program, Permissions::from_mode(0o6755)).unwrap();
    symlink("/etc/shadow", over.path().join("out")).unwrap();
    symlink("../../../../../etc/passwd", over.path().join("climb")).unwrap();
    symlink("new/file", over.path().join("near")).unwrap();
    let image = ensure(&system, &system.recipe().with_overlay(over.path(), "usr/lib/tool"));
    let manifest = image.manifest().unwrap();
    assert_eq!(fs::read_to_string(image.root.join("usr/lib/tool/old")).unwrap(), "of the overlay");
    assert_eq!(at(&manifest, "usr/lib/tool/new/file").map(|entry| entry.kind), Some(EntryKind::File));
    assert_eq!(at(&manifest, "usr/lib/tool/near").map(|entry| entry.kind), Some(EntryKind::Link));
    assert_eq!(at(&manifest, "usr/lib/tool/program").map(|entry| entry.mode), Some(0o755));
    for left_out in ["evil.pth", "sitecustomize.py", ".npmrc", "lib.a", "out", "climb"] {
        assert_eq!(at(&manifest, &format!("usr/lib/tool/{left_out}")), None, "{left_out}");
    }
    assert_eq!(manifest.overlays.len(), 1);
    assert_eq!(manifest.overlays[0].to, "usr/lib/tool");
    let text = fs::read_to_string(image.root.with_file_name("manifest.json")).unwrap();
    assert!(!text.contains(over.path().to_str().unwrap()), "the manifest names a folder of the host");
}

#[test]
fn the_same_content_is_the_same_image_wherever_it_lies_and_other_content_is_another() {
    let system = System::new();
    let files = [("a/b.py", "x = 1\n"), ("c", "")];
    let (one, other) = (folder(&files), folder(&files));
    let recipe = |folder: &TempDir| system.recipe().with_overlay(folder.path(), PLACE);
    let image = ensure(&system, &recipe(&one));
    let refuse = &mut |_: super::super::Progress<'_>| unreachable!("nothing is to be built");
    assert_eq!(Image::ensure(&system.cache(), &recipe(&other), refuse).unwrap().digest, image.digest);
    assert_eq!(Image::find(&system.cache(), &system.recipe()).unwrap(), None);
    let digest = |recipe: &Recipe| ensure(&system, recipe).digest;
    write(other.path(), "a/b.py", "x = 2\n");
    let altered = digest(&recipe(&other));
    assert_ne!(altered, image.digest);
    fs::set_permissions(other.path().join("c"), Permissions::from_mode(0o755)).unwrap();
    let executable = digest(&recipe(&other));
    assert!(![&altered, &image.digest].contains(&&executable));
    fs::rename(other.path().join("c"), other.path().join("d")).unwrap();
    assert!(![&altered, &image.digest, &executable].contains(&&digest(&recipe(&other))));
}

#[test]
fn of_two_overlays_the_later_wins_and_kinds_are_not_mixed() {
    let system = System::new();
    let (one, other) = (folder(&[("a", "1"), ("b/c", "1")]), folder(&[("a", "2"), ("b", "2")]));
    let image =
        ensure(&system, &system.recipe().with_overlay(one.path(), PLACE).with_overlay(other.path(), PLACE));
    assert_eq!(fs::read_to_string(image.root.join(PLACE).join("a")).unwrap(), "2");
    assert_eq!(fs::read_to_string(image.root.join(PLACE).join("b/c")).unwrap(), "1");
    let noted = format!("`/{PLACE}/b` is a directory in one tree and none in the other: left out");
    assert!(image.manifest().unwrap().notes.contains(&noted));
}

#[test]
fn a_place_that_is_the_jails_a_persons_or_behind_a_link_is_refused() {
    let system = System::new();
    let over = folder(&[("a", "1")]);
    for place in [
        "",
        "/usr/lib",
        "usr/../etc",
        "etc",
        "home/user",
        "proc",
        "usr/lib/",
        "./usr",
        "bin",
        "lib/x",
        "root",
    ] {
        let recipe = system.recipe().with_overlay(over.path(), place);
        let refused = Image::ensure(&system.cache(), &recipe, &mut |_| {});
        assert!(matches!(refused, Err(ImageError::OverlayPlace { .. })), "{place:?}: {refused:?}");
    }
}

#[test]
fn an_overlay_that_changes_under_the_copy_gives_no_image() {
    let system = System::new();
    let over = folder(&[("a", "1")]);
    let recipe = system.recipe().with_overlay(over.path(), PLACE);
    let late = over.path().join("late");
    let built = Image::ensure(&system.cache(), &recipe, &mut |_| fs::write(&late, "2").unwrap());
    assert!(matches!(built, Err(ImageError::Changed { .. })), "{built:?}");
}
