//! What must not be in an image, whatever the source tree holds.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use execgate_forkpoint::sys;
use rustix::fs::{Advice, CWD, FileType, Mode, XattrFlags, fadvise, makedev};

use super::super::{Base, Difference, DifferenceKind, EntryKind, Image, ImageError, Reads, Recipe};
use super::system::{System, at};

#[test]
fn a_package_image_holds_the_closure_the_links_and_the_compiled_files_and_nothing_of_the_host() {
    let system = System::new();
    let manifest = system.ensure().manifest().unwrap();
    let link = |path: &str| at(&manifest, path).and_then(|entry| entry.target.as_deref());
    assert_eq!(link("bin"), Some("usr/bin"));
    assert_eq!(link("lib"), Some("usr/lib"));
    assert_eq!(link("usr/bin/awk"), Some("/etc/alternatives/awk"));
    assert_eq!(link("etc/alternatives/awk"), Some("/usr/bin/mawk"));
    assert_eq!(link("usr/lib/libfoo.so.1"), Some("libfoo.so.1.0"));
    assert_eq!(link("usr/bin/sh"), Some("bash"));
    assert_eq!(link("var/tmp"), Some("../tmp"));
    for path in ["usr/bin/bash", "usr/lib/libfoo.so.1.0", "usr/lib/python3/__pycache__/os.cpython-311.pyc"] {
        assert_eq!(at(&manifest, path).map(|entry| entry.kind), Some(EntryKind::File), "{path}");
    }
    for path in [
        "etc/alternatives/vi",
        "etc/shadow",
        "usr/bin/dpkg",
        "var/lib",
        "usr/share/doc",
        "usr/lib/python3/__pycache__/gone.cpython-311.pyc",
    ] {
        assert_eq!(at(&manifest, path), None, "{path}");
    }
    for path in [".stage", "dev", "home/user", "opt", "proc", "run", "tmp"] {
        assert_eq!(at(&manifest, path).map(|entry| entry.kind), Some(EntryKind::Directory), "{path}");
    }
    let packages: Vec<_> = manifest.packages.iter().map(|package| &*package.name).collect();
    assert_eq!(packages, ["bash", "libfoo", "mawk", "python3"]);
}

#[test]
fn times_and_readability_are_kept_and_special_bits_owners_and_attributes_are_not() {
    let system = System::new();
    let program = system.program("usr/bin/bash");
    fs::set_permissions(&program, Permissions::from_mode(0o6711)).unwrap();
    let attribute = rustix::fs::setxattr(&program, "user.execgate", b"x", XattrFlags::empty());
    assert_eq!(attribute, Ok(()), "the temporary directory must be on a file system with attributes");
    let image = system.ensure();
    let copy = image.root.join("usr/bin/bash");
    let (before, after) = (fs::metadata(&program).unwrap(), fs::metadata(&copy).unwrap());
    assert_eq!(after.mode() & 0o7777, 0o755);
    assert_eq!((after.mtime(), after.mtime_nsec()), (before.mtime(), 0), "as archives keep it");
    assert_eq!(after.uid(), rustix::process::geteuid().as_raw());
    assert_eq!(after.nlink(), 1);
    assert_ne!(after.ino(), before.ino());
    assert_eq!(rustix::fs::listxattr_query(&copy), Ok(0));
    assert_eq!(fs::metadata(image.root.join("usr/lib/libfoo.so.1.0")).unwrap().mode() & 0o7777, 0o644);
    assert_eq!(fs::metadata(&image.root).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn a_file_capability_does_not_reach_the_image() {
    let system = System::new();
    let program = system.program("usr/bin/bash");
    // version 2, effective, CAP_NET_RAW permitted
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    if rustix::fs::setxattr(&program, "security.capability", &capability, XattrFlags::empty()).is_err() {
        assert!(!rustix::process::geteuid().is_root(), "root must be able to set a capability");
        return;
    }
    let image = system.ensure();
    assert_eq!(rustix::fs::listxattr_query(image.root.join("usr/bin/bash")), Ok(0));
}

#[test]
fn hard_links_become_files_of_their_own() {
    let system = System::new();
    fs::hard_link(system.root().join("usr/bin/mawk"), system.root().join("usr/bin/other")).unwrap();
    let image = system.build_tree();
    let inode = |name: &str| fs::metadata(image.root.join("usr/bin").join(name)).unwrap();
    assert_ne!(inode("mawk").ino(), inode("other").ino());
    assert_eq!(inode("other").nlink(), 1);
}

#[test]
fn devices_fifos_and_sockets_are_left_out_and_noted() {
    let system = System::new();
    let place = |name: &str| system.root().join("usr/lib").join(name);
    rustix::fs::mknodat(CWD, place("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    UnixListener::bind(place("socket")).unwrap();
    let null = makedev(1, 3);
    let device = rustix::fs::mknodat(CWD, place("device"), FileType::CharacterDevice, Mode::RUSR, null);
    let manifest = system.build_tree().manifest().unwrap();
    for name in ["fifo", "socket", "device"] {
        let path = format!("usr/lib/{name}");
        assert_eq!(at(&manifest, &path), None);
        let noted = manifest
            .notes
            .iter()
            .any(|note| note.starts_with(&format!("`/{path}` is a device, socket or FIFO")));
        assert_eq!(noted, name != "device" || device.is_ok(), "{:?}", manifest.notes);
    }
}

#[test]
fn start_up_code_and_credentials_are_left_out_and_noted() {
    let system = System::new();
    let packages = "usr/lib/python3/dist-packages";
    system.file(&format!("{packages}/evil.pth"), "import os; os.environ\n");
    system.file(&format!("{packages}/plain.pth"), "/usr/lib/more\n");
    system.file(&format!("{packages}/sitecustomize.py"), "print('hello')\n");
    system.link("usr/lib/python3.11/sitecustomize.py", "/etc/python3.11/sitecustomize.py");
    system.file("etc/python3.11/sitecustomize.py", "print('hello')\n");
    system.file("usr/lib/node_modules/tool/.npmrc", "token");
    system.file("usr/share/pip.conf", "token");
    system.file("root/.ssh/id_rsa", "key");
    system.file("home/somebody/notes", "notes");
    let manifest = system.build_tree().manifest().unwrap();
    let wanted = [
        "`/usr/lib/node_modules/tool/.npmrc` may hold credentials or a person's settings: left out",
        "`/usr/lib/python3/dist-packages/evil.pth` runs code at every start of Python: left out",
        "`/usr/lib/python3/dist-packages/sitecustomize.py` runs by itself at every start of Python: left out",
        "`/usr/share/pip.conf` may hold credentials or a person's settings: left out",
    ];
    assert_eq!(manifest.notes, wanted);
    assert!(at(&manifest, &format!("{packages}/plain.pth")).is_some());
    assert_eq!(at(&manifest, "etc/python3.11/sitecustomize.py").map(|entry| entry.size), Some(0));
    assert!(
        !manifest
            .entries
            .iter()
            .any(|entry| entry.path.contains("somebody") || entry.path.contains("id_rsa"))
    );
}

#[test]
fn a_link_never_leads_the_copy_out_of_the_tree() {
    let system = System::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let target = outside.path().to_str().unwrap();
    // a listed directory that is a link to somewhere else, and links that climb
    system.link("usr/lib/trap", target);
    system.link("usr/lib/climb", "../../../../../../../../etc/passwd");
    system.package(
        "findutils",
        "1",
        "",
        &["/usr/lib/trap", "/usr/lib/trap/secret", "/usr/lib/climb", "/../etc/passwd"],
    );
    let manifest = system.ensure().manifest().unwrap();
    assert!(
        !manifest.entries.iter().any(|entry| entry.path.contains("secret") || entry.path.contains("trap"))
    );
    assert_eq!(at(&manifest, "usr/lib/climb"), None);
    let noted = "`/usr/lib/climb` is a link that climbs out of the root: left out".to_owned();
    assert!(manifest.notes.contains(&noted), "{:?}", manifest.notes);
    let manifest = system.build_tree().manifest().unwrap();
    assert!(
        !manifest.entries.iter().any(|entry| entry.path.contains("secret") || entry.path.contains("trap"))
    );
}

#[test]
fn a_file_behind_a_linked_directory_is_filed_under_its_real_place() {
    let system = System::new();
    system.link("usr/lib/old", "new");
    system.file("usr/lib/new/module", "x");
    system.package("sed", "1", "", &["/usr/lib/old", "/usr/lib/old/module"]);
    let manifest = system.ensure().manifest().unwrap();
    assert_eq!(at(&manifest, "usr/lib/old").and_then(|entry| entry.target.as_deref()), Some("new"));
    assert_eq!(at(&manifest, "usr/lib/new/module").map(|entry| entry.size), Some(1));
}

#[test]
fn a_flipped_byte_a_stranger_and_a_changed_mode_are_found() {
    let system = System::new();
    let image = system.ensure();
    assert!(image.verify(Reads::Cached).unwrap().is_intact());
    let python = image.root.join("usr/lib/python3/os.py");
    let modified = fs::metadata(&python).unwrap().modified().unwrap();
    fs::write(&python, "sourcE").unwrap();
    fs::File::options().write(true).open(&python).unwrap().set_modified(modified).unwrap();
    fs::write(image.root.join("usr/bin/stranger"), "").unwrap();
    fs::set_permissions(image.root.join("usr/bin/bash"), Permissions::from_mode(0o4755)).unwrap();
    fs::remove_file(image.root.join("usr/bin/awk")).unwrap();
    let differs = |path: &str, kind| Difference { path: path.to_owned(), kind };
    assert_eq!(
        image.verify(Reads::Cached).unwrap().differences,
        [
            differs("usr/bin/awk", DifferenceKind::Missing),
            differs("usr/bin/bash", DifferenceKind::Mode),
            differs("usr/bin/stranger", DifferenceKind::Unexpected),
            differs("usr/lib/python3/os.py", DifferenceKind::Content),
        ]
    );
}

#[test]
fn what_a_guest_sees_is_read_and_nothing_is_brought_into_the_cache_by_that() {
    let system = System::new();
    let page = rustix::param::page_size();
    // Longer than what is read at once, and no multiple of a page.
    let content = "0123456789abcdef".repeat(45_000) + "end";
    system.file("usr/bin/mawk", &content);
    let image = system.ensure();
    let path = image.root.join("usr/bin/mawk");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let file = fs::File::options().read(true).write(true).open(&path).unwrap();
    file.sync_all().unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    let cached = || sys::cached_pages(&file, 0, content.len()).unwrap();
    assert!(cached().iter().all(|is_there| !is_there), "a file system whose files are in memory");
    assert!(image.verify(Reads::Seen).unwrap().is_intact());
    assert!(cached().iter().all(|is_there| !is_there));

    // Some of it, and some of it not; and then what a guest would see and the disk does not have.
    fadvise(&file, 0, None, Advice::Random).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, u64::try_from(70 * page).unwrap()).unwrap();
    let before = cached();
    assert!(before[70] && before.contains(&false));
    assert!(image.verify(Reads::Seen).unwrap().is_intact());
    assert_eq!(cached(), before);
    file.write_all_at(b"X", u64::try_from(70 * page + 1).unwrap()).unwrap();
    file.set_modified(modified).unwrap();
    let altered = Difference { path: "usr/bin/mawk".to_owned(), kind: DifferenceKind::Content };
    assert_eq!(image.verify(Reads::Seen).unwrap().differences, [altered]);
}

#[test]
fn a_host_without_dpkg_is_told_the_way_on() {
    let empty = tempfile::tempdir().unwrap();
    let mut recipe = System::new().recipe();
    if let Base::Packages(packages) = &mut recipe.base {
        packages.root = empty.path().to_owned();
    }
    let error = Image::ensure(&empty.path().join("cache"), &recipe, &mut |_| {}).unwrap_err();
    assert!(matches!(error, ImageError::NoPackageDatabase { .. }));
    assert!(error.to_string().ends_with("build an image with `--from-dir`"));
}

#[test]
fn the_hosts_own_root_is_no_prepared_tree() {
    let cache = System::new().cache();
    let error = Image::ensure(&cache, &Recipe::from_dir("/"), &mut |_| {}).unwrap_err();
    assert!(matches!(error, ImageError::HostRoot));
}
