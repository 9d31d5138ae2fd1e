//! What an image will have that packages must fit: its Python, its C library, its R, its Debian packages.
//!
//! Looks at files and their names; starts nothing.

use super::super::dpkg::{Database, STATUS_PATH};
use super::super::error::ImageError;
use super::super::recipe::{Base, Recipe};
use super::super::source::{Node, SourceTree, join};
use super::error::PackagesError;

/// Where a base may have its Python, and where that looks for packages of the operator: the directory's two parts
/// around the version.
const PYTHONS: &[(&str, (&str, &str))] = &[
    ("usr/bin/python3", ("usr/local/lib/python", "/dist-packages")),
    ("usr/local/bin/python3", ("usr/local/lib/python", "/site-packages")),
];

/// What GNU C libraries say of themselves, in their own file.
const LIBC_SAYS: &[u8] = b"stable release version ";

/// Where R keeps packages, the operator's first.
const R_LIBRARIES: &[&str] = &["usr/local/lib/R/site-library", "usr/lib/R/site-library", "usr/lib/R/library"];

/// The base of an image to be.
#[derive(Debug)]
pub(super) struct Ground<'a> {
    base: &'a Base,
    tree: SourceTree,
    status: String,
}

/// The Python of a base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Python {
    /// Its version without the last part, such as `3.11`.
    pub(super) version: String,
    /// Where packages go, below the image's root.
    pub(super) packages: String,
}

impl<'a> Ground<'a> {
    /// Looks at the base of a recipe.
    pub(super) fn of(recipe: &'a Recipe) -> Result<Self, ImageError> {
        let tree = SourceTree::open(recipe.base.root())?;
        let status = match tree.read(STATUS_PATH) {
            Ok(content) => String::from_utf8_lossy(&content).into_owned(),
            // a prepared tree of another kind, or an error that the build itself explains
            Err(_) => String::new(),
        };
        Ok(Self { base: &recipe.base, tree, status })
    }

    /// Whether the image is made of packages of a dpkg system, and not of a prepared tree.
    pub(super) fn is_of_packages(&self) -> bool {
        matches!(self.base, Base::Packages(_))
    }

    /// Whether a Debian package is installed.
    pub(super) fn has_debian(&self, name: &str) -> bool {
        Database::parse(&self.status).has(name)
    }

    /// The base's Python.
    pub(super) fn python(&self) -> Result<Python, PackagesError> {
        for (path, (before, behind)) in PYTHONS {
            let version = match self.tree.look(path)? {
                Node::Link(target) => target.rsplit_once("python").map(|(_, version)| version.to_owned()),
                Node::File { .. } => self.newest_python_library(path)?,
                Node::Directory | Node::Other | Node::Missing => None,
            };
            if let Some(version) = version.filter(|version| is_version(version)) {
                // Debian's Python looks into `dist-packages`, everybody else's into `site-packages`
                let debian = self.tree.look("usr/lib/python3/dist-packages")? == Node::Directory;
                let packages = if debian || path.starts_with("usr/local") {
                    format!("{before}{version}{behind}")
                } else {
                    format!("usr/lib/python{version}/site-packages")
                };
                return Ok(Python { version, packages });
            }
        }
        Err(PackagesError::NoPython)
    }

    fn newest_python_library(&self, program: &str) -> Result<Option<String>, ImageError> {
        let library = program.replace("bin/python3", "lib");
        let (names, _) = self.tree.names(&library)?;
        let versions = names.iter().filter_map(|name| name.strip_prefix("python")).filter(|v| is_version(v));
        let minor = |version: &&str| version.split_once('.').and_then(|(_, minor)| minor.parse::<u32>().ok());
        Ok(versions.max_by_key(minor).map(str::to_owned))
    }

    /// The second number of the base's GNU C library, such as 36 of 2.36.
    pub(super) fn libc_minor(&mut self, machine: &str) -> Result<u32, PackagesError> {
        let triplet = format!("{machine}-linux-gnu");
        for folder in
            [format!("usr/lib/{triplet}"), format!("lib/{triplet}"), "lib64".into(), "usr/lib64".into()]
        {
            let Some(path) = self.tree.settle(&join(&folder, "libc.so.6"))? else { continue };
            let path = match self.tree.look(&path)? {
                // older releases link it to a file that has the version in its name
                Node::Link(target) => match self.tree.settle(&join(&folder, &target))? {
                    Some(path) => path,
                    None => continue,
                },
                Node::Directory | Node::File { .. } | Node::Other | Node::Missing => path,
            };
            let minor = self.tree.read(&path).ok().and_then(|content| libc_minor_of(&content));
            if let Some(minor) = minor {
                return Ok(minor);
            }
        }
        Err(PackagesError::NoLibc)
    }

    /// Whether the base's own R has a package, whoever put it there.
    pub(super) fn has_r_package(&mut self, name: &str) -> Result<bool, ImageError> {
        for library in R_LIBRARIES {
            // a package image takes nothing of what the operator's own R has installed
            if self.is_of_packages() && *library != "usr/lib/R/library" {
                continue;
            }
            let place = self.tree.settle(&join(&join(library, name), "DESCRIPTION"))?;
            if place.is_some_and(|path| matches!(self.tree.look(&path), Ok(Node::File { .. }))) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the base has R.
    pub(super) fn has_r(&self) -> Result<bool, ImageError> {
        Ok(self.tree.look("usr/bin/Rscript")? != Node::Missing
            || self.tree.look("usr/local/bin/Rscript")? != Node::Missing)
    }
}

/// Says that a text is two numbers with a point between them.
fn is_version(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.').is_some_and(|(major, minor)| is_number(major) && is_number(minor))
}

/// The second number of the version that a GNU C library says it has.
fn libc_minor_of(content: &[u8]) -> Option<u32> {
    let at = content.windows(LIBC_SAYS.len()).position(|window| window == LIBC_SAYS)? + LIBC_SAYS.len();
    let version = content.get(at..)?.strip_prefix(b"2.")?;
    let digits = version.iter().take_while(|byte| byte.is_ascii_digit()).count();
    str::from_utf8(version.get(..digits)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_python_and_the_c_library_of_a_tree_are_told_from_its_files() {
        let top = tempfile::tempdir().unwrap();
        let at = |path: &str| top.path().join(path);
        for folder in ["usr/bin", "usr/lib/x86_64-linux-gnu", "usr/lib/python3/dist-packages"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        symlink("usr/lib", at("lib")).unwrap();
        symlink("python3.12", at("usr/bin/python3")).unwrap();
        fs::write(
            at("usr/lib/x86_64-linux-gnu/libc-2.31.so"),
            b"\x7fELF GNU C Library stable release version 2.31.\n",
        )
        .unwrap();
        symlink("libc-2.31.so", at("usr/lib/x86_64-linux-gnu/libc.so.6")).unwrap();
        let recipe = Recipe::from_dir(top.path());
        let mut ground = Ground::of(&recipe).unwrap();
        let python = ground.python().unwrap();
        assert_eq!((&*python.version, &*python.packages), ("3.12", "usr/local/lib/python3.12/dist-packages"));
        assert_eq!(ground.libc_minor("x86_64").unwrap(), 31);
        assert!(matches!(ground.libc_minor("riscv64"), Err(PackagesError::NoLibc)));
        fs::remove_dir(at("usr/lib/python3/dist-packages")).unwrap();
        assert_eq!(ground.python().unwrap().packages, "usr/lib/python3.12/site-packages");
        fs::remove_file(at("usr/bin/python3")).unwrap();
        assert!(matches!(ground.python(), Err(PackagesError::NoPython)));
    }

    #[test]
    fn what_is_no_version_is_not_taken_for_one() {
        for text in ["3", "3.", ".3", "3.11.2", "3.x", "../x"] {
            assert!(!is_version(text), "{text}");
        }
        assert!(is_version("3.9"));
        assert_eq!(libc_minor_of(b"stable release version 3.1"), None);
        assert_eq!(libc_minor_of(b"nothing"), None);
    }
}
