//! Packages from folders, by the real pip and npm and without a registry; and packages that mean harm.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::super::packages::{PackagesError, Wanted};
use super::super::{EntryKind, Image, Manifest};
use super::system::{System, at, names};

const DIST: &str = "usr/local/lib/python3.11/dist-packages";

/// A system with a Python and a C library that wheels can be chosen for, and a folder of packages.
struct World {
    system: System,
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let system = System::new();
        fs::remove_file(system.root().join("usr/bin/python3")).unwrap();
        system.link("usr/bin/python3", "python3.11");
        system.file("usr/bin/python3.11", "python");
        system.file("usr/lib/python3/dist-packages/known.py", "x");
        system.file(
            &format!("usr/lib/{ARCH}-linux-gnu/libc.so.6"),
            "GNU C Library stable release version 2.36.",
        );
        Self { system, folder: TempDir::new().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    fn marker(&self) -> PathBuf {
        self.folder.path().join("marker")
    }

    /// Makes files with the host's own Python, in the folder.
    fn make(&self, script: &str, arguments: &[&str]) {
        #[expect(clippy::disallowed_methods, reason = "makes the archives that the tests need")]
        let mut python = Command::new("/usr/bin/python3");
        let made = python.current_dir(&self.folder).args(["-c", script]).args(arguments).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// Makes a wheel: its name, what it requires, and files beside its module.
    fn wheel(&self, name: &str, requires: &str, files: &[(&str, &str)]) {
        let files = serde_json::to_string(files).unwrap();
        self.make(WHEEL, &[name, requires, &files]);
    }

    /// Makes an npm package: its name, version, what it depends on and its scripts.
    fn tarball(&self, name: &str, version: &str, depends: &str, scripts: &str) {
        self.make(TARBALL, &[name, version, depends, scripts]);
    }

    fn build(&self, wanted: &Wanted) -> Manifest {
        let prepared = wanted.prepare(&self.system.cache(), self.system.recipe(), &mut |_| {}).unwrap();
        Image::ensure(&self.system.cache(), &prepared.recipe, &mut |_| {}).unwrap().manifest().unwrap()
    }

    fn python(&self, names: &[&str]) -> Wanted {
        let python = names.iter().map(|name| name.parse().unwrap()).collect();
        Wanted { python, wheels: Some(self.path()), ..Wanted::default() }
    }

    fn node(&self, names: &[&str]) -> Wanted {
        let node = names.iter().map(|name| name.parse().unwrap()).collect();
        Wanted { node, node_from: Some(self.path()), ..Wanted::default() }
    }

    fn refusal(&self, wanted: &Wanted) -> PackagesError {
        let refused = wanted.prepare(&self.system.cache(), self.system.recipe(), &mut |_| {}).unwrap_err();
        assert!(!self.marker().exists(), "code of a package has run");
        let left = names(&self.system.cache());
        assert!(left.iter().all(|name| name == "lock"), "{left:?}");
        refused
    }
}

const WHEEL: &str = r#"
import base64, hashlib, json, sys, zipfile
name, requires, files = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
info = f"{name}-1.0.dist-info"
content = {f"{name}/__init__.py": "def value():\n    return 42\n", **dict(files)}
content[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n" + "".join(
    f"Requires-Dist: {one}\n" for one in requires.split(",") if one)
content[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
content[f"{info}/RECORD"] = "/etc/passwd,,\n../../../../outside,,\n" + "".join(f"{path},,\n" for path in content)
with zipfile.ZipFile(f"{name}-1.0-py3-none-any.whl", "w") as wheel:
    for path, text in content.items():
        entry = zipfile.ZipInfo(path)
        mode = 0o106755 if "setuid" in path else 0o120777 if "symlink" in path else 0o100644
        entry.external_attr = mode << 16
        wheel.writestr(entry, text)
"#;

const TARBALL: &str = r#"
import io, json, sys, tarfile
name, version, depends, scripts = sys.argv[1:]
about = {"name": name, "version": version, "dependencies": json.loads(depends), "scripts": json.loads(scripts)}
files = {"package.json": json.dumps(about), "index.js": "module.exports = 42;\n", ".npmrc": "token=x\n"}
with tarfile.open(f"{name}-{version}.tgz", "w:gz") as tar:
    for path, text in files.items():
        entry = tarfile.TarInfo(f"package/{path}")
        entry.size, entry.mode = len(text), 0o4755
        tar.addfile(entry, io.BytesIO(text.encode()))
    link = tarfile.TarInfo("package/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    tar.addfile(link)
"#;

/// A source package whose set-up writes the file that its arguments name.
const SOURCE: &str = r#"
import io, sys, tarfile
name, marker = sys.argv[1:]
text = f"open({marker!r}, 'w').write('x')\nfrom setuptools import setup\nsetup(name={name!r}, version='1.0')\n"
with tarfile.open(f"{name}-1.0.tar.gz", "w:gz") as tar:
    entry = tarfile.TarInfo(f"{name}-1.0/setup.py")
    entry.size = len(text)
    tar.addfile(entry, io.BytesIO(text.encode()))
"#;

#[test]
fn wheels_of_a_folder_go_in_compiled_with_what_they_need_and_tell_nothing_of_the_host() {
    let world = World::new();
    world.wheel("tiny", "needed", &[("tiny-1.0.data/scripts/tiny", "#!python\n")]);
    world.wheel("needed", "", &[]);
    world.wheel("unasked", "", &[]);
    let manifest = world.build(&world.python(&["Tiny==1.0"]));
    let added: Vec<_> = manifest
        .added
        .iter()
        .map(|package| (&*package.name, package.version.as_deref(), package.asked))
        .collect();
    assert_eq!(added, [("needed", Some("1.0"), false), ("tiny", Some("1.0"), true)]);
    assert!(at(&manifest, &format!("{DIST}/needed/__init__.py")).is_some());
    assert!(at(&manifest, &format!("{DIST}/bin")).is_none());
    assert!(!manifest.entries.iter().any(|entry| entry.path.contains("unasked")));
    let root = world.system.cache().join(&manifest.digest).join("root");
    let compiled = fs::read(root.join(DIST).join("tiny/__pycache__/__init__.cpython-311.pyc")).unwrap();
    // a hash that is not checked, so that no time matters
    assert_eq!(compiled[4..8], [1, 0, 0, 0]);
    let place = format!("/{DIST}/tiny/__init__.py");
    assert!(compiled.windows(place.len()).any(|window| window == place.as_bytes()));
    for entry in manifest.entries.iter().filter(|entry| entry.path.starts_with(DIST)) {
        let content = fs::read(root.join(&entry.path)).unwrap_or_default();
        let text = String::from_utf8_lossy(&content);
        assert!(!text.contains(".fetching-") && !text.contains(world.path().to_str().unwrap()), "{entry:?}");
    }
    assert!(names(&world.system.cache()).iter().all(|name| !name.starts_with('.')), "a folder is left");
    assert_eq!(
        world.build(&world.python(&["tiny"])).digest,
        manifest.digest,
        "the same wheels gave another image"
    );
}

#[test]
fn a_wheel_that_means_harm_does_none() {
    let world = World::new();
    let files = [
        ("evil.pth", "import os; os.system('x')\n"),
        ("sitecustomize.py", "print('x')\n"),
        ("evil/setuid", "x"),
        ("evil/symlink", "/etc/passwd"),
        ("evil-1.0.data/data/etc/evil", "x"),
    ];
    world.wheel("evil", "", &files);
    let manifest = world.build(&world.python(&["evil"]));
    let entry = |name: &str| at(&manifest, &format!("{DIST}/{name}"));
    assert_eq!((entry("evil.pth"), entry("sitecustomize.py")), (None, None));
    assert_eq!(entry("evil/setuid").map(|entry| entry.mode), Some(0o755));
    // pip unpacks a link as a file with the target's name in it
    assert_eq!(entry("evil/symlink").map(|entry| (entry.kind, entry.size)), Some((EntryKind::File, 11)));
    assert_eq!(at(&manifest, "etc/evil"), None);
    assert!(manifest.entries.iter().all(|entry| entry.mode & 0o7000 == 0));
    let said =
        manifest.notes.iter().any(|note| note.contains("evil.pth` runs code at every start of Python"));
    assert!(said, "{:?}", manifest.notes);
}

#[test]
fn a_wheel_that_writes_outside_its_folder_is_refused() {
    let world = World::new();
    world.wheel("climber", "", &[("../../../../marker", "x")]);
    let refused = world.refusal(&world.python(&["climber"]));
    assert!(matches!(refused, PackagesError::Pip { .. }), "{refused}");
}

#[test]
fn a_package_without_a_wheel_is_refused_with_the_way_on_and_never_built() {
    let world = World::new();
    world.make(SOURCE, &["source", world.marker().to_str().unwrap()]);
    let told = world.refusal(&world.python(&["source"])).to_string();
    assert!(told.contains("No matching distribution found for source; only wheels are taken"), "{told}");
    assert!(told.ends_with("give its folder by `--wheels`"), "{told}");
}

#[test]
fn a_wheel_that_requires_a_source_package_by_its_address_gets_nothing_built() {
    let world = World::new();
    world.make(SOURCE, &["source", world.marker().to_str().unwrap()]);
    let address = format!("source @ file://{}/source-1.0.tar.gz", world.path().display());
    world.wheel("innocent", &address, &[]);
    let refused = world.refusal(&world.python(&["innocent"]));
    assert!(refused.to_string().contains("a package wants to be built"), "{refused}");
}

#[test]
fn a_requirements_file_that_names_a_folder_of_sources_gets_nothing_built() {
    let world = World::new();
    let project = world.path().join("project");
    fs::create_dir(&project).unwrap();
    fs::write(project.join("setup.py"), format!("open({:?}, 'w')\n", world.marker())).unwrap();
    let requirements = world.path().join("requirements.txt");
    for line in ["-e project", "./project"] {
        fs::write(&requirements, line.replace("project", project.to_str().unwrap())).unwrap();
        let wanted = Wanted {
            requirements: Some(requirements.clone()),
            wheels: Some(world.path()),
            ..Wanted::default()
        };
        assert!(matches!(world.refusal(&wanted), PackagesError::Pip { .. }), "{line}");
    }
}

#[test]
fn package_files_of_a_folder_go_in_and_their_scripts_do_not_run() {
    let world = World::new();
    let script = format!(r#"{{"postinstall": "touch {}"}}"#, world.marker().display());
    world.tarball("alpha", "1.2.3", r#"{"beta": "^2.0.0"}"#, &script);
    world.tarball("beta", "2.1.0", "{}", "{}");
    let manifest = world.build(&world.node(&["alpha@1.2.3"]));
    assert!(!world.marker().exists(), "a script has run");
    let added: Vec<_> = manifest
        .added
        .iter()
        .map(|package| (&*package.name, package.version.as_deref(), package.asked))
        .collect();
    assert_eq!(added, [("alpha", Some("1.2.3"), true), ("beta", Some("2.1.0"), false)]);
    let paths: Vec<_> =
        manifest.entries.iter().filter(|entry| entry.path.starts_with("node_modules")).collect();
    let files = [
        "",
        "/alpha",
        "/alpha/index.js",
        "/alpha/package.json",
        "/beta",
        "/beta/index.js",
        "/beta/package.json",
    ];
    assert_eq!(
        paths.iter().map(|entry| entry.path.clone()).collect::<Vec<_>>(),
        files.map(|file| format!("node_modules{file}"))
    );
    assert!(paths.iter().all(|entry| entry.mode & 0o7000 == 0));
    assert_eq!(world.build(&world.node(&["alpha"])).digest, manifest.digest);
}

#[test]
fn a_package_that_is_not_in_the_folder_is_named() {
    let world = World::new();
    assert!(matches!(world.refusal(&world.node(&["alpha"])), PackagesError::NoTarballs { .. }));
    world.tarball("alpha", "1.2.3", "{}", "{}");
    for absent in ["gamma", "alpha@1.2.4"] {
        let told = world.refusal(&world.node(&[absent])).to_string();
        assert!(told.starts_with(&format!("the package `{absent}` is not among those of")), "{told}");
    }
}

#[test]
fn a_dependency_by_git_is_refused_and_none_of_its_scripts_run() {
    let world = World::new();
    let repository = world.path().join("repository");
    fs::create_dir(&repository).unwrap();
    let about = format!(
        r#"{{"name": "c", "version": "1.0.0", "scripts": {{"prepare": "touch {0}", "install": "touch {0}"}}}}"#,
        world.marker().display()
    );
    fs::write(repository.join("package.json"), about).unwrap();
    let script = "import subprocess, sys\nfor a in (['init', '-q'], ['add', '.'], ['-c', 'user.name=a', '-c', \
                  'user.email=a@example.org', 'commit', '-qm', 'a']): subprocess.run(['git', '-C', sys.argv[1], *a], \
                  check=True)";
    world.make(script, &[repository.to_str().unwrap()]);
    let depends = format!(r#"{{"c": "git+file://{}"}}"#, repository.display());
    world.tarball("alpha", "1.0.0", &depends, "{}");
    let refused = world.refusal(&world.node(&["alpha"]));
    assert!(matches!(refused, PackagesError::Npm { .. }), "{refused}");
}

#[test]
fn r_packages_come_from_debian_or_from_a_folder() {
    let world = World::new();
    let wanted = |names: &[&str], library: Option<PathBuf>| Wanted {
        r: names.iter().map(|name| name.parse().unwrap()).collect(),
        r_library: library,
        ..Wanted::default()
    };
    assert!(matches!(world.refusal(&wanted(&["ggplot2"], None)), PackagesError::NoR));
    world.system.package(
        "r-base-core",
        "4.2",
        "",
        &["/usr/bin/Rscript", "/usr/lib/R/library/stats/DESCRIPTION"],
    );
    world.system.file("usr/bin/Rscript", "R");
    world.system.file("usr/lib/R/library/stats/DESCRIPTION", "Package: stats\n");
    let told = world.refusal(&wanted(&["R6"], None)).to_string();
    assert!(told.contains("apt-get install r-cran-r6"), "{told}");
    world.system.package("r-cran-r6", "2", "r-base-core", &["/usr/lib/R/site-library/R6/DESCRIPTION"]);
    world.system.file("usr/lib/R/site-library/R6/DESCRIPTION", "Package: R6\n");
    let manifest = world.build(&wanted(&["R6", "stats"], None));
    assert!(at(&manifest, "usr/lib/R/site-library/R6/DESCRIPTION").is_some());

    let library = world.path().join("library");
    fs::create_dir_all(library.join("mine")).unwrap();
    fs::write(library.join("mine/DESCRIPTION"), "Package: mine\nVersion: 0.3\n").unwrap();
    let manifest = world.build(&wanted(&["mine", "R6"], Some(library.clone())));
    assert!(at(&manifest, "usr/local/lib/R/site-library/mine/DESCRIPTION").is_some());
    assert_eq!(manifest.added[0].version.as_deref(), Some("0.3"));
    let absent =
        wanted(&["other"], Some(library)).prepare(&world.system.cache(), world.system.recipe(), &mut |_| {});
    assert!(matches!(absent, Err(PackagesError::NotInFolder { .. })), "{absent:?}");
}

#[test]
fn debian_packages_that_are_not_installed_are_named() {
    let world = World::new();
    let wanted = |name: &str| Wanted { debian: vec![name.parse().unwrap()], ..Wanted::default() };
    let told = world.refusal(&wanted("graphviz")).to_string();
    assert_eq!(told, "the package `graphviz` is not installed; to add it: apt-get install graphviz");
    assert!(
        at(&world.build(&wanted("dpkg")), "usr/bin/dpkg").is_none(),
        "there is no such file in this system"
    );
    let gone = Wanted { wheels: Some(Path::new("/nowhere").into()), ..world.python(&["a"]) };
    let refused = gone.prepare(&world.system.cache(), world.system.recipe(), &mut |_| {});
    assert!(matches!(refused, Err(PackagesError::Given { .. })));
}
