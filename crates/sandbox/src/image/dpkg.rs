//! Reads dpkg's `status` file and works out which installed packages a set of wanted ones needs.
//!
//! A parser of its own, because the file is small and no process may be started outside the sandbox. Version
//! constraints are not evaluated: what dpkg calls installed is taken as consistent. Must never write to the
//! database or trust its file lists (`rules` and `source` judge those).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::manifest::PackageRecord;

/// Where dpkg keeps its database, below a root.
pub(super) const STATUS_PATH: &str = "var/lib/dpkg/status";

/// One installed package, as slices of the status file's text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Package<'a> {
    /// Its name, such as `python3-minimal`.
    pub(super) name: &'a str,
    /// Its full version with epoch and revision.
    pub(super) version: &'a str,
    /// Its architecture, `all` included.
    pub(super) architecture: &'a str,
    /// The relations of `Pre-Depends`.
    pre_depends: &'a str,
    /// The relations of `Depends`.
    depends: &'a str,
    /// The virtual packages of `Provides`.
    provides: &'a str,
}

impl Package<'_> {
    /// The form that the manifest keeps.
    pub(super) fn record(&self) -> PackageRecord {
        PackageRecord {
            name: self.name.to_owned(),
            version: self.version.to_owned(),
            architecture: self.architecture.to_owned(),
        }
    }
}

/// Every installed package of one system.
#[derive(Debug)]
pub(super) struct Database<'a> {
    packages: Vec<Package<'a>>,
    /// Positions in `packages`, by real name (more than one with foreign architectures).
    named: HashMap<&'a str, Vec<usize>>,
    /// Positions in `packages`, by provided name.
    provided: HashMap<&'a str, Vec<usize>>,
    native: &'a str,
}

/// The packages that an image takes.
#[derive(Debug)]
pub(super) struct Selection<'a> {
    /// By name, so that the order is always the same.
    pub(super) packages: BTreeMap<&'a str, Package<'a>>,
    /// Wanted names that are not installed, sorted.
    pub(super) absent: Vec<String>,
}

impl<'a> Database<'a> {
    /// Parses a whole status file; stanzas that are not installed packages are passed over.
    pub(super) fn parse(text: &'a str) -> Self {
        let mut packages: Vec<Package<'a>> = text.split("\n\n").filter_map(parse_stanza).collect();
        packages.sort_by(|a, b| (a.name, a.architecture).cmp(&(b.name, b.architecture)));
        let mut named: HashMap<&'a str, Vec<usize>> = HashMap::new();
        let mut provided: HashMap<&'a str, Vec<usize>> = HashMap::new();
        for (position, package) in packages.iter().enumerate() {
            named.entry(package.name).or_default().push(position);
            for name in alternatives_of(package.provides).flatten() {
                provided.entry(name).or_default().push(position);
            }
        }
        let native = native_architecture(&packages);
        Self { packages, named, provided, native }
    }

    /// Every installed package, by name and architecture.
    pub(super) fn records(&self) -> Vec<PackageRecord> {
        self.packages.iter().map(Package::record).collect()
    }

    /// Whether a package of this machine's own architecture is installed.
    pub(super) fn has(&self, name: &str) -> bool {
        self.named.get(name).is_some_and(|found| self.native_of(found).is_some())
    }

    /// The wanted packages that are installed, and everything that they need, without what is left out.
    ///
    /// A left-out package is not descended into, so what only it needs stays out too.
    pub(super) fn select(&self, wanted: &[String], left_out: &[String]) -> Selection<'a> {
        let left_out: BTreeSet<&str> = left_out.iter().map(String::as_str).collect();
        let mut packages = BTreeMap::new();
        let mut absent = BTreeSet::new();
        let mut queue = Vec::new();
        for name in wanted {
            match self.named.get(name.as_str()).and_then(|found| self.native_of(found)) {
                Some(package) => queue.push(package),
                None => drop(absent.insert(name.clone())),
            }
        }
        while let Some(package) = queue.pop() {
            if left_out.contains(package.name) || packages.contains_key(package.name) {
                continue;
            }
            packages.insert(package.name, package.clone());
            let relations = [package.pre_depends, package.depends];
            for group in relations.into_iter().flat_map(alternatives_of) {
                queue.extend(self.first_installed(group));
            }
        }
        Selection { packages, absent: absent.into_iter().collect() }
    }

    /// The first alternative that is installed under its own name or provided by an installed package.
    fn first_installed(&self, group: impl Iterator<Item = &'a str>) -> Option<&Package<'a>> {
        let mut group = group;
        group.find_map(|name| {
            let real = self.named.get(name).and_then(|found| self.native_of(found));
            real.or_else(|| self.provided.get(name).and_then(|found| self.native_of(found)))
        })
    }

    /// The package of this machine's own architecture among several of one name; foreign ones never go in.
    fn native_of(&self, positions: &[usize]) -> Option<&Package<'a>> {
        let mut found = positions.iter().filter_map(|position| self.packages.get(*position));
        found.find(|package| package.architecture == self.native || package.architecture == "all")
    }
}

/// The package of a stanza, if it is installed.
fn parse_stanza(stanza: &str) -> Option<Package<'_>> {
    let mut package = Package::default();
    let mut installed = false;
    for (field, value) in fields(stanza) {
        match field {
            "Package" => package.name = value.trim(),
            "Version" => package.version = value.trim(),
            "Architecture" => package.architecture = value.trim(),
            "Pre-Depends" => package.pre_depends = value,
            "Depends" => package.depends = value,
            "Provides" => package.provides = value,
            // want, error flag, state: a held or half-removed package still says `installed` when its files are there
            "Status" => installed = value.split_whitespace().nth(2) == Some("installed"),
            _ => {}
        }
    }
    (installed && !package.name.is_empty()).then_some(package)
}

/// Fields of an RFC 822 stanza; a folded value is one slice with its line breaks in it.
fn fields(stanza: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = stanza;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let end = end_of_field(rest);
            let (line, after) = rest.split_at(end);
            rest = after.strip_prefix('\n').unwrap_or(after);
            if let Some(pair) = line.split_once(':') {
                return Some(pair);
            }
        }
    })
}

/// Where the first field with its continuation lines ends.
fn end_of_field(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(found) = bytes.get(from..).and_then(|tail| tail.iter().position(|byte| *byte == b'\n')) {
        let end = from + found;
        if !matches!(bytes.get(end + 1), Some(b' ' | b'\t')) {
            return end;
        }
        from = end + 1;
    }
    text.len()
}

/// Splits `a (>= 1) | b:any, c [amd64]` into groups of bare names.
fn alternatives_of(relations: &str) -> impl Iterator<Item = impl Iterator<Item = &str>> {
    relations.split(',').map(|group| group.split('|').map(bare_name).filter(|name| !name.is_empty()))
}

/// The name of a relation without version, architecture qualifier or restriction.
fn bare_name(relation: &str) -> &str {
    let relation = relation.trim();
    let end = relation.find(|byte: char| byte.is_whitespace() || "(:[<".contains(byte));
    end.map_or(relation, |end| relation.split_at(end).0)
}

/// The architecture that `dpkg` itself was installed for, which is what dpkg calls native.
fn native_architecture<'a>(packages: &[Package<'a>]) -> &'a str {
    let of = |name: &str| packages.iter().find(|package| package.name == name);
    let concrete = || packages.iter().find(|package| package.architecture != "all");
    of("dpkg").or_else(|| of("base-files")).or_else(concrete).map_or("all", |package| package.architecture)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "\
Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1.21.22

Package: python3
Status: install ok installed
Architecture: amd64
Version: 3.11.2-1
Pre-Depends: python3-minimal (= 3.11.2-1)
Depends: libfoo:any (>= 2),
 libgone | libblas.so.3 | libother,
\tdpkg (>= 1.13)
Description: a language
 .
 Package: not-a-field

Package: python3-minimal
Status: install ok installed
Architecture: amd64
Version: 3.11.2-1

Package: libfoo
Status: install ok installed
Architecture: i386
Version: 2-1

Package: libfoo
Status: install ok installed
Architecture: amd64
Version: 2-2
Depends: python3

Package: libopenblas0
Status: hold ok installed
Architecture: amd64
Version: 0.3
Provides: libblas.so.3 (= 3), libblas

Package: libother
Status: install ok installed
Architecture: all
Version: 1

Package: leftover
Status: deinstall ok config-files
Architecture: all
Version: 1
";

    fn selected(wanted: &[&str], left_out: &[&str]) -> (Vec<String>, Vec<String>) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let selection = Database::parse(STATUS).select(&owned(wanted), &owned(left_out));
        let name =
            |package: &Package<'_>| format!("{}:{}={}", package.name, package.architecture, package.version);
        (selection.packages.values().map(name).collect(), selection.absent)
    }

    #[test]
    fn a_closure_follows_pre_depends_alternatives_provides_and_the_native_architecture() {
        let (packages, absent) = selected(&["python3", "leftover", "nodejs"], &["dpkg"]);
        assert_eq!(
            packages,
            [
                "libfoo:amd64=2-2",
                "libopenblas0:amd64=0.3",
                "python3:amd64=3.11.2-1",
                "python3-minimal:amd64=3.11.2-1"
            ]
        );
        assert_eq!(absent, ["leftover", "nodejs"]);
    }

    #[test]
    fn a_left_out_package_is_not_descended_into() {
        let (packages, _) = selected(&["libfoo"], &["python3"]);
        assert_eq!(packages, ["libfoo:amd64=2-2"]);
    }

    #[test]
    fn a_folded_field_is_one_value_and_prose_is_no_field() {
        let fields: Vec<_> = fields("A: 1,\n 2\nB: x\n .\n C: y\nD:\n").collect();
        assert_eq!(fields, [("A", " 1,\n 2"), ("B", " x\n .\n C: y"), ("D", "")]);
    }

    #[test]
    fn text_that_is_no_status_file_gives_no_packages() {
        for text in ["", "\n\n\n", "no colon here", ": \n:", "Package\nStatus: install ok installed"] {
            assert!(Database::parse(text).packages.is_empty(), "{text:?}");
        }
    }
}
