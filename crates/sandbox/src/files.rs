//! Files that go into a run and files that come out of it: their paths, their bounds, why one is left out.
//!
//! A path is the guest's: relative to `/home/user`, or absolute below it or below `/tmp`. This module looks at
//! names only. Files are put in place by the jail's own init, and collected under the guest's own user id.

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

/// Where relative paths start.
const HOME: &str = "/home/user/";

/// The other place where a guest may have files.
const TMP: &str = "/tmp/";

/// The longest path, in bytes; the kernel's own bound is 4096.
const PATH_BYTES_MAX: usize = 1024;

/// The longest part of a path, in bytes, as every file system has it.
const PART_BYTES_MAX: usize = 255;

/// The most parts of a path.
pub(crate) const PARTS_MAX: usize = 32;

/// A file that is there when the code starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedFile {
    path: String,
    content: Vec<u8>,
}

/// Why a path cannot be that of a placed file. The text is for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// It is empty, or names a folder.
    #[error("a file needs a name")]
    NoName,
    /// A part is `..`, `.`, or empty.
    #[error("a path has no empty parts and no `.` or `..`")]
    Dots,
    /// It is absolute and elsewhere.
    #[error("a path is relative to /home/user, or absolute below /home/user or /tmp")]
    Elsewhere,
    /// It holds NUL or another control character.
    #[error("a path has no control characters")]
    Control,
    /// It is too long, or has too many parts.
    #[error("a path has at most 1024 bytes and 32 parts of at most 255 bytes")]
    TooLong,
}

impl PlacedFile {
    /// A file of this path and content.
    ///
    /// # Errors
    /// [`BadPath`] names the rule that the path breaks.
    pub fn new(path: &str, content: Vec<u8>) -> Result<Self, BadPath> {
        let (root, rest) = match path.strip_prefix('/') {
            None => (HOME, path),
            Some(_) => [HOME, TMP]
                .into_iter()
                .find_map(|root| path.strip_prefix(root).map(|rest| (root, rest)))
                .ok_or(BadPath::Elsewhere)?,
        };
        if rest.is_empty() || rest.ends_with('/') {
            return Err(BadPath::NoName);
        }
        if rest.chars().any(char::is_control) {
            return Err(BadPath::Control);
        }
        let mut parts = 0;
        for part in rest.split('/') {
            parts += 1;
            match part {
                "" | "." | ".." => return Err(BadPath::Dots),
                _ if part.len() > PART_BYTES_MAX => return Err(BadPath::TooLong),
                _ => {}
            }
        }
        if parts > PARTS_MAX || rest.len() > PATH_BYTES_MAX {
            return Err(BadPath::TooLong);
        }
        Ok(Self { path: format!("{root}{rest}"), content })
    }

    /// The whole path, as the guest sees it.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is in it.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.content
    }
}

/// Which files to bring back when a run has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collect {
    /// Patterns with `*`, `?`, `[…]` and `**`, relative to `/home/user` or absolute below `/tmp`.
    pub patterns: Vec<String>,
    /// The largest file.
    pub file_bytes_max: u64,
    /// All files together.
    pub total_bytes_max: u64,
    /// How many.
    pub files_max: u32,
}

/// What decides whether a path is meant by a pattern, in a time that grows with the path alone: patterns are a
/// caller's and paths a guest's. `*` and `?` end at a `/`, `**` does not.
pub(crate) fn matcher(pattern: &str) -> Option<GlobMatcher> {
    let pattern = pattern.strip_prefix(HOME).unwrap_or(pattern);
    let glob = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build();
    glob.ok().map(|glob| glob.compile_matcher())
}

impl Collect {
    /// Whether a text is a pattern that a file can match: below `/home/user` or `/tmp`, without detours.
    #[must_use]
    pub fn is_pattern(text: &str) -> bool {
        let below = match text.strip_prefix('/') {
            None => Some(text),
            Some(_) => [HOME, TMP].iter().find_map(|root| text.strip_prefix(root)),
        };
        let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
        below.is_some_and(|below| below.split('/').all(plain)) && matcher(text).is_some()
    }
}

/// A file that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectedFile {
    /// Relative to `/home/user`, or absolute below `/tmp`. The guest's own words.
    pub path: String,
    /// What is in it, or why it was left behind.
    pub content: Result<Vec<u8>, NotCollected>,
}

/// Why a file was left behind. The text is for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCollected {
    /// A link, a folder, a FIFO, a socket, a file with a second name.
    #[error("not a regular file with one name")]
    Kind,
    /// It could not be opened or read.
    #[error("cannot be read")]
    Unreadable,
    /// Larger than a file may be.
    #[error("larger than a file may be")]
    Large,
    /// No room is left beside the files before it.
    #[error("more than all files together may be")]
    Total,
    /// More files than may be.
    #[error("more files than may be brought back")]
    Many,
    /// Collecting broke off.
    #[error("collecting files broke off")]
    BrokeOff,
}

impl NotCollected {
    const ALL: [Self; 6] =
        [Self::Kind, Self::Unreadable, Self::Large, Self::Total, Self::Many, Self::BrokeOff];

    pub(crate) fn number(self) -> u8 {
        Self::ALL.iter().zip(1..).find(|(why, _)| **why == self).map_or(0, |(_, number)| number)
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::{BadPath, NotCollected, PlacedFile};

    #[test]
    fn a_path_is_below_the_home_or_tmp() {
        let path = |text: &str| PlacedFile::new(text, Vec::new()).map(|file| file.path().to_owned());
        assert_eq!(path("a/b.txt").as_deref(), Ok("/home/user/a/b.txt"));
        assert_eq!(path("/home/user/c").as_deref(), Ok("/home/user/c"));
        assert_eq!(path("/tmp/ä b").as_deref(), Ok("/tmp/ä b"));
        let long = "x".repeat(256);
        let deep = "d/".repeat(32) + "f";
        for (text, why) in [
            ("", BadPath::NoName),
            ("a/", BadPath::NoName),
            ("/home/user/", BadPath::NoName),
            ("../a", BadPath::Dots),
            ("a//b", BadPath::Dots),
            ("a/./b", BadPath::Dots),
            ("/etc/passwd", BadPath::Elsewhere),
            ("/tmp/../etc/passwd", BadPath::Dots),
            ("/home/userx", BadPath::Elsewhere),
            ("a\0b", BadPath::Control),
            ("a\nb", BadPath::Control),
            (long.as_str(), BadPath::TooLong),
            (deep.as_str(), BadPath::TooLong),
        ] {
            assert_eq!(path(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn every_reason_has_a_number_that_leads_back() {
        for why in NotCollected::ALL {
            assert_eq!(NotCollected::from_number(why.number()), Some(why));
        }
        assert_eq!(NotCollected::from_number(0), None);
        assert_eq!(NotCollected::from_number(7), None);
    }
}
