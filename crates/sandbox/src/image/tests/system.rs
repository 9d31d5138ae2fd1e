//! A made-up dpkg system in a temporary directory.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::super::{Base, Entry, Image, Manifest, PackageRecipe, Recipe};

/// A system to copy from and a cache to copy to.
pub(super) struct System {
    top: TempDir,
}

impl System {
    /// A system with a shell, a Python and a library, merged directories and one alternative.
    pub(super) fn new() -> Self {
        let system = Self { top: TempDir::new().unwrap() };
        fs::create_dir_all(system.root()).unwrap();
        fs::create_dir_all(system.cache()).unwrap();
        fs::set_permissions(system.cache(), Permissions::from_mode(0o755)).unwrap();
        for directory in ["bin", "lib"] {
            system.link(directory, &format!("usr/{directory}"));
        }
        system.package("dpkg", "1.21", "", &["/usr/bin/dpkg"]);
        system.package("bash", "5.2-1", "libfoo (>= 1), dpkg", &["/.", "/bin", "/bin/bash"]);
        system.package(
            "libfoo:amd64",
            "1.0",
            "",
            &["/lib/libfoo.so.1", "/lib/libfoo.so.1.0", "/usr/share/doc/x"],
        );
        system.package("mawk", "1.3", "", &["/usr/bin/mawk"]);
        system.package("python3", "3.11.2-1", "", &["/usr/bin/python3", "/usr/lib/python3/os.py"]);
        system.program("usr/bin/bash");
        system.program("usr/bin/mawk");
        system.program("usr/bin/python3");
        system.file("usr/lib/libfoo.so.1.0", "library");
        system.link("usr/lib/libfoo.so.1", "libfoo.so.1.0");
        system.file("usr/lib/python3/os.py", "source");
        system.file("usr/lib/python3/__pycache__/os.cpython-311.pyc", "compiled");
        system.file("usr/lib/python3/__pycache__/gone.cpython-311.pyc", "compiled");
        system.file("var/lib/dpkg/alternatives/awk", "auto\n/usr/bin/awk\n\n/usr/bin/mawk\n5\n");
        system.link("usr/bin/awk", "/etc/alternatives/awk");
        system.link("etc/alternatives/awk", "/usr/bin/mawk");
        system.link("etc/alternatives/vi", "/usr/bin/vim");
        system.file("etc/shadow", "secret");
        system
    }

    pub(super) fn root(&self) -> PathBuf {
        self.top.path().join("system")
    }

    pub(super) fn cache(&self) -> PathBuf {
        self.top.path().join("cache")
    }

    pub(super) fn recipe(&self) -> Recipe {
        Recipe::of(Base::Packages(PackageRecipe { root: self.root(), ..PackageRecipe::default() }))
    }

    /// Registers a package (`name` or `name:arch` for one whose list has the long name) with its list.
    pub(super) fn package(&self, name: &str, version: &str, depends: &str, list: &[&str]) {
        let bare = name.split(':').next().unwrap();
        let stanza = format!(
            "Package: {bare}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\nDepends: {depends}\n\n"
        );
        let status = self.root().join("var/lib/dpkg/status");
        let before = fs::read_to_string(&status).unwrap_or_default();
        self.file("var/lib/dpkg/status", &(before + &stanza));
        self.file(&format!("var/lib/dpkg/info/{name}.list"), &(list.join("\n") + "\n"));
    }

    pub(super) fn file(&self, path: &str, content: &str) -> PathBuf {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub(super) fn program(&self, path: &str) -> PathBuf {
        let path = self.file(path, path);
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path
    }

    pub(super) fn link(&self, path: &str, target: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    pub(super) fn ensure(&self) -> Image {
        Image::ensure(&self.cache(), &self.recipe(), &mut |_| {}).unwrap()
    }

    pub(super) fn build_tree(&self) -> Image {
        Image::build(&self.cache(), &Recipe::from_dir(self.root()), &mut |_| {}).unwrap()
    }
}

/// The entry at a path.
pub(super) fn at<'a>(manifest: &'a Manifest, path: &str) -> Option<&'a Entry> {
    manifest.entries.iter().find(|entry| entry.path == path)
}

/// Names directly in a directory, sorted.
pub(super) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
