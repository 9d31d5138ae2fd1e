//! Names of packages, judged before a program sees them: none of them can be an option, a path or an address.

use std::fmt;
use std::str::FromStr;

/// Longest name or version; no registry has longer ones.
const MAX_CHARS: usize = 214;

/// Why a text names no package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}")]
pub struct SpecError {
    text: String,
    what: &'static str,
}

/// A Python package, `NAME` or `NAME==VERSION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonPackage {
    name: String,
    version: Option<String>,
}

/// A package of npm's registry, `NAME` or `NAME@VERSION`, where the version may be a range or a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePackage {
    name: String,
    version: Option<String>,
}

/// An R package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RPackage(String);

/// A Debian package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebianPackage(String);

/// A release line of Node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeMajor(u8);

impl PythonPackage {
    /// The name in the form in which two spellings of one name are equal.
    pub(super) fn normal_name(&self) -> String {
        normal_python_name(&self.name)
    }
}

impl NodePackage {
    /// The name, with its scope.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The version that was asked for.
    pub(super) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }
}

impl RPackage {
    /// The name.
    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// What Debian calls the package when it comes from R's own archive, or from that of the biologists.
    pub(super) fn debian_names(&self) -> [String; 2] {
        let name = self.0.to_ascii_lowercase();
        [format!("r-cran-{name}"), format!("r-bioc-{name}")]
    }
}

impl DebianPackage {
    /// The name.
    pub(super) fn name(&self) -> &str {
        &self.0
    }
}

impl NodeMajor {
    /// The release lines that guests' code is tried on.
    const LINES: [u8; 3] = [20, 22, 24];

    /// The number of the line.
    pub(super) fn number(self) -> u8 {
        self.0
    }
}

/// A Python name in lower case, with `-` for every run of `-`, `_` and `.`, as the packaging rules compare them.
pub(super) fn normal_python_name(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

impl FromStr for PythonPackage {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (name, version) = match text.split_once("==") {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let versioned = version.is_none_or(|version| is_word(version, ".!+*_-"));
        let spec = Self { name: name.to_owned(), version: version.map(str::to_owned) };
        let ends_well = name.ends_with(|end: char| end.is_ascii_alphanumeric());
        judged(
            spec,
            is_word(name, "._-") && ends_well && versioned,
            text,
            "Python package (NAME or NAME==VERSION)",
        )
    }
}

impl FromStr for NodePackage {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        const WHAT: &str = "npm package (NAME or NAME@VERSION)";
        let (scope, rest) = match text.strip_prefix('@').and_then(|scoped| scoped.split_once('/')) {
            Some((scope, rest)) => (Some(scope), rest),
            None => (None, text),
        };
        let (name, version) = match rest.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (rest, None),
        };
        let versioned = version.is_none_or(|version| {
            let version = version.trim_start_matches(['^', '~']);
            is_word(version, ".+-")
        });
        let well = scope.is_none_or(|scope| is_word(scope, "._-~")) && is_word(name, "._-~") && versioned;
        let full = scope.map_or_else(|| name.to_owned(), |scope| format!("@{scope}/{name}"));
        judged(Self { name: full, version: version.map(str::to_owned) }, well, text, WHAT)
    }
}

impl FromStr for RPackage {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let well = is_word(text, ".") && text.starts_with(|first: char| first.is_ascii_alphabetic());
        judged(Self(text.to_owned()), well, text, "R package")
    }
}

impl FromStr for DebianPackage {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        judged(Self(text.to_owned()), is_word(text, "+.-"), text, "Debian package")
    }
}

impl FromStr for NodeMajor {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let line = text.parse().ok().filter(|line| Self::LINES.contains(line));
        line.map(Self).ok_or_else(|| SpecError { text: text.to_owned(), what: "line of Node (20, 22 or 24)" })
    }
}

impl fmt::Display for PythonPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}=={version}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl fmt::Display for NodePackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}@{version}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Says that a text begins with a letter or digit and has only those and `others`: so it is no option and no path.
fn is_word(text: &str, others: &str) -> bool {
    text.len() <= MAX_CHARS
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || others.contains(letter))
}

fn judged<T>(spec: T, is_well: bool, text: &str, what: &'static str) -> Result<T, SpecError> {
    if is_well { Ok(spec) } else { Err(SpecError { text: text.to_owned(), what }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_come_back_as_they_were_given() {
        for text in ["numpy", "numpy==2.1.0", "ruamel.yaml==0.18.6.post1+cu121", "Django==5.*"] {
            assert_eq!(text.parse::<PythonPackage>().map(|spec| spec.to_string()), Ok(text.to_owned()));
        }
        for text in ["lodash", "lodash@4.17.21", "@types/node@^22.1.0", "left-pad@latest", "@a/b"] {
            assert_eq!(text.parse::<NodePackage>().map(|spec| spec.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(
            "@a/b@~1".parse::<NodePackage>().map(|spec| spec.name().to_owned()),
            Ok("@a/b".to_owned())
        );
        let r = "data.table".parse::<RPackage>().unwrap();
        assert_eq!(r.debian_names(), ["r-cran-data.table", "r-bioc-data.table"]);
        assert_eq!("22".parse::<NodeMajor>().map(NodeMajor::number), Ok(22));
    }

    #[test]
    fn what_is_an_option_a_path_or_an_address_names_no_package() {
        for text in [
            "",
            "-r",
            "--index-url=x",
            "./local",
            "a/b",
            "https://example.org/a.whl",
            "a @ https://example.org/a.whl",
            "git+https://example.org/a",
            "a==",
            "a==-x",
            "a==1;os",
            "a>=1",
            "a b",
            "a-",
            "a\n",
        ] {
            assert!(text.parse::<PythonPackage>().is_err(), "{text:?}");
        }
        for text in [
            "",
            "-g",
            "../a",
            "a/b",
            "file:a",
            "git+ssh://example.org/a",
            "a@npm:b",
            "a@file:../b",
            "@a",
            "@/b",
            "@a/b/c",
            "a@https://example.org/a.tgz",
            "a@--x",
        ] {
            assert!(text.parse::<NodePackage>().is_err(), "{text:?}");
        }
        for text in ["", "../x", "-x", "1x", "a b", "r-cran-x"] {
            assert!(text.parse::<RPackage>().is_err(), "{text:?}");
        }
        for text in ["", "-y", "a/b", "a=1"] {
            assert!(text.parse::<DebianPackage>().is_err(), "{text:?}");
        }
        for text in ["", "18", "22.1", "x"] {
            assert!(text.parse::<NodeMajor>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn two_spellings_of_one_python_name_are_equal() {
        let names = ["Ruamel.YAML", "ruamel-yaml", "ruamel__yaml"].map(normal_python_name);
        assert!(names.iter().all(|name| name == "ruamel-yaml"), "{names:?}");
    }
}
