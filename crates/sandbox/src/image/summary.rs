//! An image in a few lines, for people and for `--json`: interpreters, packages, size, and what is missing.
//!
//! Tells from names and package versions; must never start a program of the image to ask it.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::manifest::{Entry, EntryKind, Manifest, PackageRecord};
use super::recipe::AddedPackage;

/// Python packages that generated programs count on: how they are imported, and the package that holds them.
const USUAL: &[(&str, &str)] =
    &[("numpy", "python3-numpy"), ("pandas", "python3-pandas"), ("matplotlib", "python3-matplotlib")];

/// Languages, where their interpreter may lie, and the package whose version is theirs.
const INTERPRETERS: &[(&str, &[&str], &str)] = &[
    ("bash", &["usr/bin/bash", "bin/bash"], "bash"),
    // what a build was told to put in comes before what the host has, as on the guest's search path
    ("javascript", &["usr/local/bin/node", "usr/bin/node", "usr/bin/nodejs"], "nodejs"),
    ("python", &["usr/bin/python3", "usr/local/bin/python3"], "python3"),
    ("r", &["usr/bin/Rscript", "usr/local/bin/Rscript"], "r-base-core"),
];

/// One interpreter of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interpreter {
    /// `bash`, `javascript`, `python` or `r`.
    pub language: String,
    /// Absolute path inside the guest.
    pub path: String,
    /// Its version, such as `3.11.2`; `3.11` where only file names tell; absent where nothing tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What of the usual set is not in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MissingPackages {
    /// Names of the packages to install, empty when nothing is missing.
    pub packages: Vec<String>,
    /// The command that adds them to the host; the next start makes a new image by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// An image in a few lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The image's digest, 64 hexadecimal digits.
    pub digest: String,
    /// What it was made from, for people.
    pub recipe: String,
    /// When it was made, in seconds since 1970.
    pub made_at: u64,
    /// Its interpreters, by language: what code can be run in it.
    pub interpreters: Vec<Interpreter>,
    /// Packages of languages that were fetched for it or laid over it.
    pub added: Vec<AddedPackage>,
    /// Its packages, by name; empty for a prepared tree that is no dpkg system.
    pub packages: Vec<PackageRecord>,
    /// Packages that would have been taken but are not installed.
    pub absent: Vec<String>,
    /// What of the usual set is missing, and the command that adds it.
    pub missing: MissingPackages,
    /// How many files it has.
    pub files: usize,
    /// How many directories it has.
    pub directories: usize,
    /// How many symbolic links it has.
    pub links: usize,
    /// Bytes of all files' content.
    pub bytes: u64,
    /// What was left out or altered and an operator may want to know.
    pub notes: Vec<String>,
}

impl Summary {
    /// Sums a manifest up.
    pub(super) fn of(manifest: Manifest, made: SystemTime) -> Self {
        let count = |kind| manifest.entries.iter().filter(|entry| entry.kind == kind).count();
        Self {
            files: count(EntryKind::File),
            directories: count(EntryKind::Directory),
            links: count(EntryKind::Link),
            bytes: manifest.entries.iter().map(|entry| entry.size).fold(0, u64::saturating_add),
            missing: missing(&manifest.entries),
            recipe: manifest.base.describe(),
            made_at: made.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
            added: manifest.added,
            digest: manifest.digest,
            interpreters: manifest.interpreters,
            packages: manifest.packages,
            absent: manifest.absent,
            notes: manifest.notes,
        }
    }
}

/// What of the usual set has no files in the image.
pub(super) fn missing(entries: &[Entry]) -> MissingPackages {
    let holds = |module: &str| {
        let ends = ["dist-packages", "site-packages"].map(|place| format!("/{place}/{module}/__init__.py"));
        entries.iter().any(|entry| ends.iter().any(|end| entry.path.ends_with(end)))
    };
    let gone = USUAL.iter().filter(|(module, _)| !holds(module));
    let packages: Vec<String> = gone.map(|(_, package)| (*package).to_owned()).collect();
    let command = (!packages.is_empty())
        .then(|| format!("apt-get install --no-install-recommends {}", packages.join(" ")));
    MissingPackages { packages, command }
}

/// The interpreters in a tree, with the versions that packages or file names give.
pub(super) fn interpreters(
    entries: &[Entry],
    packages: &[PackageRecord],
    added: &[AddedPackage],
) -> Vec<Interpreter> {
    let find = |path: &str| entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok();
    let version_of =
        |name: &str| packages.iter().find(|package| package.name == name).map(|found| &*found.version);
    let found = INTERPRETERS.iter().filter_map(|(language, paths, package)| {
        let (path, at) = paths.iter().find_map(|path| Some((path, find(path)?)))?;
        let by_link =
            || entries.get(at)?.target.as_deref()?.rsplit_once("python").map(|(_, version)| version);
        let laid_over = path.strip_prefix("usr/local/bin/").and_then(|name| {
            added.iter().find(|package| package.name == name && package.language == *language)
        });
        let version = match laid_over {
            Some(package) => package.version.as_deref(),
            None => version_of(package).map(upstream).or_else(by_link),
        };
        let version = version.filter(|version| !version.is_empty());
        Some(Interpreter {
            language: (*language).to_owned(),
            path: format!("/{path}"),
            version: version.map(str::to_owned),
        })
    });
    found.collect()
}

/// The upstream part of a Debian version: no epoch before it, no revision behind it.
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    version.rsplit_once('-').map_or(version, |(upstream, _)| upstream)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str, target: Option<&str>) -> Entry {
        let target = target.map(str::to_owned);
        Entry {
            path: path.to_owned(),
            kind: EntryKind::File,
            mode: 0o755,
            size: 0,
            sha256: None,
            target,
            modified: None,
        }
    }

    #[test]
    fn versions_come_from_packages_or_else_from_the_name_that_a_link_has() {
        let entries = [at("usr/bin/bash", None), at("usr/bin/python3", Some("python3.11"))];
        let package = PackageRecord {
            name: "bash".into(),
            version: "1:5.2.15-2+b8".into(),
            architecture: "amd64".into(),
        };
        let found = interpreters(&entries, &[package], &[]);
        let versions: Vec<_> =
            found.iter().map(|found| (found.path.as_str(), found.version.as_deref())).collect();
        assert_eq!(versions, [("/usr/bin/bash", Some("5.2.15")), ("/usr/bin/python3", Some("3.11"))]);
    }

    #[test]
    fn what_is_missing_comes_with_the_command_that_adds_it() {
        let entries = [at("usr/lib/python3/dist-packages/numpy/__init__.py", None)];
        let missing = missing(&entries);
        assert_eq!(missing.packages, ["python3-pandas", "python3-matplotlib"]);
        assert_eq!(
            missing.command.as_deref(),
            Some("apt-get install --no-install-recommends python3-pandas python3-matplotlib")
        );
    }
}
