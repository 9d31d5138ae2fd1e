//! Sole reader of paths in a workspace. Every change here needs a second reader.

use core::fmt;

/// The longest path, in bytes.
const PATH_BYTES_MAX: usize = 512;

/// The longest name in it, in bytes: that of the file system.
const NAME_BYTES_MAX: usize = 255;

/// The most names in it.
const DEPTH_MAX: usize = 16;

/// A path in a workspace: relative, in its normal form, never out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspacePath(String);

/// Why a text is no path in a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// It is too long, or has too many names.
    #[error(
        "has 1 to {PATH_BYTES_MAX} bytes, at most {DEPTH_MAX} names, and at most {NAME_BYTES_MAX} bytes in each"
    )]
    Length,
    /// It begins at a root, or has an empty name.
    #[error("is relative, with one `/` between two names and none at an end")]
    Form,
    /// It leads elsewhere.
    #[error("has no name `.` or `..`")]
    Dots,
    /// It has a character that nobody sees.
    #[error("has no control characters")]
    Characters,
}

impl WorkspacePath {
    /// Reads a path.
    ///
    /// # Errors
    /// [`BadPath`] names the rule.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        let names: Vec<_> = text.split('/').collect();
        let is_long = names.iter().any(|name| name.len() > NAME_BYTES_MAX);
        if text.is_empty() || text.len() > PATH_BYTES_MAX || names.len() > DEPTH_MAX || is_long {
            return Err(BadPath::Length);
        }
        if names.iter().any(|name| name.is_empty()) {
            return Err(BadPath::Form);
        }
        if names.iter().any(|name| matches!(*name, "." | "..")) {
            return Err(BadPath::Dots);
        }
        if text.chars().any(char::is_control) {
            return Err(BadPath::Characters);
        }
        Ok(Self(text.to_owned()))
    }

    /// The path as it came.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder that the file is in, empty for the workspace itself, and its name.
    pub(super) fn parts(&self) -> (&str, &str) {
        self.0.rsplit_once('/').unwrap_or(("", &self.0))
    }

    /// The folders on the way, the outermost first, each with its whole path.
    pub(super) fn folders(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(at, _)| &self.0[..at])
    }
}

impl fmt::Display for WorkspacePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{BadPath, WorkspacePath};

    #[test]
    fn a_path_is_relative_and_never_leads_out() {
        for good in ["a", "a/b.txt", "…/ü", "a b", ".hidden", "...", "a/..b"] {
            assert_eq!(WorkspacePath::parse(good).map(|path| path.to_string()), Ok(good.to_owned()));
        }
        for (bad, why) in [
            ("", BadPath::Length),
            ("/a", BadPath::Form),
            ("a/", BadPath::Form),
            ("a//b", BadPath::Form),
            ("..", BadPath::Dots),
            ("a/../b", BadPath::Dots),
            ("./a", BadPath::Dots),
            ("a\0b", BadPath::Characters),
            ("a\nb", BadPath::Characters),
            (&"x".repeat(256), BadPath::Length),
            (&"x/".repeat(16).to_string(), BadPath::Length),
            (&"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx/".repeat(14), BadPath::Length),
        ] {
            assert_eq!(WorkspacePath::parse(bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn the_folders_on_the_way_are_told_from_outside_in() {
        let path = WorkspacePath::parse("a/b/c").unwrap();
        assert_eq!(path.folders().collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(path.parts(), ("a/b", "c"));
        assert_eq!(WorkspacePath::parse("c").unwrap().parts(), ("", "c"));
    }
}
