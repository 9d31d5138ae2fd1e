//! What goes into an image: a list of wanted packages, or a prepared tree.
//!
//! The lists are data and meant to be read. A recipe never names versions: it takes what is installed, so that a
//! security update of the host is one rebuild away from the guests.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::dpkg::Selection;
use super::error::ImageError;
use super::manifest::hex;

/// Raised whenever the same host state would give another tree, so that cached images are not taken for new ones.
pub(super) const BUILDER_VERSION: u32 = 1;

/// Packages that a default image holds where the host has them.
const WANTED: &[&str] = &[
    // what every guest needs to start at all
    "base-files",
    "bash",
    "ca-certificates",
    "coreutils",
    "dash",
    "debianutils",
    "libc-bin",
    "tzdata",
    // the text and archive tools that scripts take for granted
    "bc",
    "bsdextrautils",
    "bzip2",
    "diffutils",
    "file",
    "findutils",
    "gawk",
    "grep",
    "gzip",
    "jq",
    "less",
    "mawk",
    "patch",
    "procps",
    "sed",
    "tar",
    "tree",
    "unzip",
    "xz-utils",
    "zip",
    "zstd",
    // Python, the distribution's
    "python3",
    "python3-minimal",
    "python3-distutils",
    // packages that generated programs import most
    "python3-bs4",
    "python3-dateutil",
    "python3-docx",
    "python3-html5lib",
    "python3-jinja2",
    "python3-lxml",
    "python3-markdown",
    "python3-matplotlib",
    "python3-networkx",
    "python3-numpy",
    "python3-openpyxl",
    "python3-pandas",
    "python3-pil",
    "python3-pygments",
    "python3-regex",
    "python3-requests",
    "python3-scipy",
    "python3-seaborn",
    "python3-simplejson",
    "python3-six",
    "python3-sklearn",
    "python3-statsmodels",
    "python3-sympy",
    "python3-tabulate",
    "python3-toml",
    "python3-tqdm",
    "python3-tz",
    "python3-xlrd",
    "python3-yaml",
];

/// Packages that never go in, not even as a dependency: they manage a machine, and a guest has none to manage.
const LEFT_OUT: &[&str] = &[
    "adduser",
    "apt",
    "base-passwd",
    "bsdutils",
    "cdebconf",
    "dbus",
    "debconf",
    "debianutils-dev",
    "dpkg",
    "e2fsprogs",
    "fdisk",
    "hostname",
    "init",
    "init-system-helpers",
    "initramfs-tools",
    "kmod",
    "libpam-modules",
    "libpam-modules-bin",
    "libpam-runtime",
    "login",
    "login.defs",
    "logsave",
    "mount",
    "openssh-client",
    "passwd",
    "sudo",
    "systemd",
    "systemd-sysv",
    "sysvinit-utils",
    "ucf",
    "udev",
    "util-linux",
    "util-linux-extra",
];

/// What goes into an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of", rename_all = "kebab-case")]
pub enum Recipe {
    /// Installed packages of a dpkg system with everything that they depend on.
    Packages(PackageRecipe),
    /// A prepared root tree, such as one that `debootstrap` made, with the same stripping rules.
    FromDir(PathBuf),
}

/// Which packages of which system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageRecipe {
    /// The top of the system to copy from; `/` is the host.
    pub root: PathBuf,
    /// Package names to take where installed; the order has no meaning.
    pub wanted: Vec<String>,
    /// Package names that stay out even where another package depends on them.
    pub left_out: Vec<String>,
}

impl Default for PackageRecipe {
    fn default() -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self { root: PathBuf::from("/"), wanted: owned(WANTED), left_out: owned(LEFT_OUT) }
    }
}

impl Default for Recipe {
    fn default() -> Self {
        Self::host()
    }
}

impl Recipe {
    /// The default: what this host has of the usual interpreters, tools and packages.
    pub fn host() -> Self {
        Self::Packages(PackageRecipe::default())
    }

    /// Adds a package, such as `nodejs` or `r-base-core`; a prepared tree already has what it has.
    #[must_use]
    pub fn with_package(mut self, name: &str) -> Self {
        if let Self::Packages(recipe) = &mut self
            && !recipe.wanted.iter().any(|known| known == name)
        {
            recipe.wanted.push(name.to_owned());
        }
        self
    }

    /// The top of the tree to copy from.
    pub(super) fn root(&self) -> &Path {
        match self {
            Self::Packages(recipe) => &recipe.root,
            Self::FromDir(path) => path,
        }
    }

    /// One line for people.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Packages(recipe) if recipe.root == Path::new("/") => "packages of this host".to_owned(),
            Self::Packages(recipe) => format!("packages of `{}`", recipe.root.display()),
            Self::FromDir(path) => format!("tree `{}`", path.display()),
        }
    }
}

/// The input key of a package recipe: equal keys give equal trees, without a look at the files.
pub(super) fn package_key(recipe: &PackageRecipe, selection: &Selection<'_>) -> String {
    let mut key = start_key("packages", &recipe.root);
    let mut wanted: Vec<&str> = recipe.wanted.iter().map(String::as_str).collect();
    let mut left_out: Vec<&str> = recipe.left_out.iter().map(String::as_str).collect();
    for names in [&mut wanted, &mut left_out] {
        names.sort_unstable();
        names.dedup();
        add(&mut key, &names.len().to_le_bytes());
        names.iter().for_each(|name| add(&mut key, name.as_bytes()));
    }
    for package in selection.packages.values() {
        for part in [package.name, package.version, package.architecture] {
            add(&mut key, part.as_bytes());
        }
    }
    hex(&key.finalize())
}

/// The input key of a prepared tree: its place and the identity of its top and a few marks in it.
///
/// A file altered deep inside is not seen; a fresh build is how an operator takes it in.
pub(super) fn directory_key(path: &Path) -> Result<String, ImageError> {
    let opened = |source| ImageError::OpenTree { path: path.to_owned(), source };
    let path = fs::canonicalize(path).map_err(opened)?;
    let mut key = start_key("from-dir", &path);
    for mark in ["", "usr", "usr/bin", "usr/lib", "etc", "var/lib/dpkg/status"] {
        match fs::symlink_metadata(path.join(mark)) {
            Ok(found) => {
                let stamp = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
                stamp.iter().for_each(|part| add(&mut key, &part.to_le_bytes()));
                add(&mut key, &found.ino().to_le_bytes());
            }
            Err(_) => add(&mut key, b"absent"),
        }
    }
    Ok(hex(&key.finalize()))
}

fn start_key(kind: &str, root: &Path) -> Sha256 {
    let mut key = Sha256::new();
    add(&mut key, b"execgate image key");
    add(&mut key, &BUILDER_VERSION.to_le_bytes());
    add(&mut key, kind.as_bytes());
    add(&mut key, root.as_os_str().as_bytes());
    key
}

/// Adds a part with its length before it, so that no two lists of parts look alike.
fn add(key: &mut Sha256, part: &[u8]) {
    key.update(part.len().to_le_bytes());
    key.update(part);
}

#[cfg(test)]
mod tests {
    use super::super::dpkg::Database;
    use super::*;

    fn key_of(recipe: &Recipe, status: &str) -> String {
        let Recipe::Packages(recipe) = recipe else { unreachable!("these tests use package recipes") };
        package_key(recipe, &Database::parse(status).select(&recipe.wanted, &recipe.left_out))
    }

    #[test]
    fn an_upgrade_of_a_selected_package_gives_another_key_and_of_any_other_does_not() {
        let status = |bash: &str, vim: &str| {
            let stanza = |name: &str, version: &str| {
                format!(
                    "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n"
                )
            };
            stanza("bash", bash) + &stanza("vim", vim)
        };
        let key = key_of(&Recipe::host(), &status("5.2", "9.0"));
        assert_eq!(key, key_of(&Recipe::host(), &status("5.2", "9.1")));
        assert_ne!(key, key_of(&Recipe::host(), &status("5.3", "9.0")));
        assert_ne!(key, key_of(&Recipe::host().with_package("nodejs"), &status("5.2", "9.0")));
    }

    #[test]
    fn a_recipe_survives_json() {
        for recipe in
            [Recipe::host().with_package("r-base-core"), Recipe::FromDir(PathBuf::from("/srv/root"))]
        {
            let text = serde_json::to_string(&recipe).unwrap();
            assert_eq!(serde_json::from_str::<Recipe>(&text).unwrap(), recipe);
        }
    }
}
