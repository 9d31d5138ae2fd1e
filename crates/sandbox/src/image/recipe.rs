//! What goes into an image: a list of wanted packages or a prepared tree, and trees laid over it.
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
use super::overlay::{Overlay, OverlayRecord};

/// Raised whenever the same host state would give another tree, so that cached images are not taken for new ones.
pub(super) const BUILDER_VERSION: u32 = 2;

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
    // the fast one of the libraries of linear algebra, which nothing depends on by name
    "libopenblas0",
    "libopenblas0-pthread",
    // what native modules of fetched packages are linked to
    "libgcc-s1",
    "libgomp1",
    "libstdc++6",
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
    // JavaScript, the distribution's or its vendor's; what Debian's own needs (its library, and the built-in modules
    // that it keeps in packages) comes as its dependencies
    "nodejs",
    // R, and what its bitmap devices draw letters with
    "r-base-core",
    "fontconfig-config",
    "fonts-dejavu-core",
    // packages that R programs load most; the first are part of every R but Debian's
    "r-recommended",
    "r-cran-boot",
    "r-cran-class",
    "r-cran-cluster",
    "r-cran-codetools",
    "r-cran-foreign",
    "r-cran-kernsmooth",
    "r-cran-lattice",
    "r-cran-mass",
    "r-cran-matrix",
    "r-cran-mgcv",
    "r-cran-nlme",
    "r-cran-nnet",
    "r-cran-rpart",
    "r-cran-spatial",
    "r-cran-survival",
    "r-cran-data.table",
    "r-cran-dplyr",
    "r-cran-ggplot2",
    "r-cran-jsonlite",
    "r-cran-lubridate",
    "r-cran-purrr",
    "r-cran-readr",
    "r-cran-stringr",
    "r-cran-tibble",
    "r-cran-tidyr",
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
    // scipy depends on it to be built, and it on every compiler: a third of an image
    "python3-pythran",
    "sudo",
    "systemd",
    "systemd-sysv",
    "sysvinit-utils",
    "ucf",
    "udev",
    // tables that only a check of fonts reads
    "unicode-data",
    "util-linux",
    "util-linux-extra",
    // R depends on it to open a browser
    "xdg-utils",
];

/// What goes into an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// What it begins with.
    pub base: Base,
    /// Trees that are laid over the base, the later over the earlier.
    pub overlays: Vec<Overlay>,
    /// What the overlays are known to hold, for the manifest.
    pub added: Vec<AddedPackage>,
}

/// What an image begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of", rename_all = "kebab-case")]
pub enum Base {
    /// Installed packages of a dpkg system with everything that they depend on.
    Packages(PackageRecipe),
    /// A prepared root tree, such as one that `debootstrap` made, with the same stripping rules.
    FromDir(PathBuf),
}

/// A package of a language, in an overlay.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddedPackage {
    /// `javascript`, `python` or `r`.
    pub language: String,
    /// Its name.
    pub name: String,
    /// Its version, where something tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether it was named; otherwise it is there because another needs it.
    pub asked: bool,
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
        Self::of(Base::Packages(PackageRecipe::default()))
    }

    /// A prepared tree.
    pub fn from_dir(path: impl Into<PathBuf>) -> Self {
        Self::of(Base::FromDir(path.into()))
    }

    /// A base, and nothing over it.
    pub fn of(base: Base) -> Self {
        Self { base, overlays: Vec::new(), added: Vec::new() }
    }

    /// Adds a package, such as `nodejs` or `r-base-core`; a prepared tree already has what it has.
    #[must_use]
    pub fn with_package(mut self, name: &str) -> Self {
        if let Base::Packages(recipe) = &mut self.base {
            recipe.left_out.retain(|known| known != name);
            if !recipe.wanted.iter().any(|known| known == name) {
                recipe.wanted.push(name.to_owned());
            }
        }
        self
    }

    /// Leaves a package out, even where another depends on it.
    #[must_use]
    pub fn without_package(mut self, name: &str) -> Self {
        if let Base::Packages(recipe) = &mut self.base {
            recipe.left_out.push(name.to_owned());
        }
        self
    }

    /// Lays the content of a folder over the base, at a place below the image's root.
    #[must_use]
    pub fn with_overlay(mut self, from: impl Into<PathBuf>, to: &str) -> Self {
        self.overlays.push(Overlay { from: from.into(), to: to.to_owned() });
        self
    }
}

impl Base {
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

/// The input key of a base with overlays, which is the base's own where there are none.
pub(super) fn overlaid_key(base: String, overlays: &[OverlayRecord]) -> String {
    if overlays.is_empty() {
        return base;
    }
    let mut key = Sha256::new();
    add(&mut key, b"execgate image key with overlays");
    add(&mut key, base.as_bytes());
    for overlay in overlays {
        add(&mut key, overlay.to.as_bytes());
        add(&mut key, overlay.sha256.as_bytes());
    }
    hex(&key.finalize())
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
pub(super) fn add(key: &mut Sha256, part: &[u8]) {
    key.update(part.len().to_le_bytes());
    key.update(part);
}

#[cfg(test)]
mod tests {
    use super::super::dpkg::Database;
    use super::*;

    fn key_of(recipe: &Recipe, status: &str) -> String {
        let Base::Packages(recipe) = &recipe.base else { unreachable!("these tests use package recipes") };
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
        assert_ne!(key, key_of(&Recipe::host().with_package("vim"), &status("5.2", "9.0")));
    }

    #[test]
    fn a_base_survives_json() {
        for recipe in [Recipe::host().with_package("r-base-dev"), Recipe::from_dir("/srv/root")] {
            let text = serde_json::to_string(&recipe.base).unwrap();
            assert_eq!(serde_json::from_str::<Base>(&text).unwrap(), recipe.base);
        }
    }
}
