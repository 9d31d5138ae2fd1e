//! The list of everything in an image: what the digest is over, and what `verify` checks against.
//!
//! The digest covers path, kind, mode, size, content and link target of every entry. Modification times are kept
//! beside it, because Python's compiled files are valid only while their source keeps its own, but a tree that
//! differs in nothing else is the same image.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::ImageError;
use super::overlay::OverlayRecord;
use super::recipe::{AddedPackage, Base};
use super::summary::Interpreter;

/// The version of the manifest's form that this build writes and reads.
pub(super) const MANIFEST_VERSION: u32 = 2;

/// The manifest's name beside the image's root.
pub(super) const MANIFEST_NAME: &str = "manifest.json";

/// Most lines of notes, so that a strange tree cannot make a manifest of nothing else.
const MAX_NOTES: usize = 200;

/// What is in an image, and what stayed out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this form.
    pub version: u32,
    /// SHA-256 over the entries, as 64 hexadecimal digits.
    pub digest: String,
    /// What it begins with.
    pub base: Base,
    /// What was laid over it.
    pub overlays: Vec<OverlayRecord>,
    /// Packages of languages that came with the overlays.
    pub added: Vec<AddedPackage>,
    /// The packages that were taken, by name.
    pub packages: Vec<PackageRecord>,
    /// Wanted packages that were not installed, by name.
    pub absent: Vec<String>,
    /// The interpreters found in the tree.
    pub interpreters: Vec<Interpreter>,
    /// What was left out or altered and an operator may want to know, one line each.
    pub notes: Vec<String>,
    /// Every directory, file and link, sorted by path.
    pub entries: Vec<Entry>,
}

/// One package that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageRecord {
    /// Its name.
    pub name: String,
    /// Its full version with epoch and revision.
    pub version: String,
    /// Its architecture, or `all`.
    pub architecture: String,
}

/// One directory, file or symbolic link of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Path below the root, without a leading slash.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits; 0 for a link, which has none of its own.
    pub mode: u32,
    /// Length in bytes of a file's content; 0 for anything else.
    pub size: u64,
    /// SHA-256 of a file's content, as 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Where a link leads, word for word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// When a file's content was last modified, as on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<ModifiedTime>,
}

/// What an entry is; an image holds nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file with one name.
    File,
    /// A symbolic link.
    Link,
}

/// A modification time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModifiedTime {
    /// Whole seconds since 1970, negative before.
    pub seconds: i64,
    /// Nanoseconds into the second.
    pub nanos: i64,
}

impl ModifiedTime {
    /// The time that a file carries.
    pub(super) fn of(found: &Metadata) -> Self {
        Self { seconds: found.mtime(), nanos: found.mtime_nsec() }
    }
}

impl Manifest {
    /// Parses a manifest and checks its version and its own digest.
    pub(super) fn parse(digest: &str, bytes: &[u8]) -> Result<Self, ImageError> {
        /// Read before the rest, so that another version is named rather than called damaged.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let damaged = |source| ImageError::ParseManifest { digest: digest.to_owned(), source };
        let Versioned { version: found } = serde_json::from_slice(bytes).map_err(damaged)?;
        if found != MANIFEST_VERSION {
            return Err(ImageError::ManifestVersion {
                digest: digest.to_owned(),
                found,
                known: MANIFEST_VERSION,
            });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(damaged)?;
        if manifest.digest != digest || digest_of(&manifest.entries) != digest {
            return Err(ImageError::ManifestMismatch { digest: digest.to_owned() });
        }
        Ok(manifest)
    }
}

/// The digest of an image with these entries, which must be sorted by path.
pub(super) fn digest_of(entries: &[Entry]) -> String {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    };
    add(b"execgate image 2");
    for entry in entries {
        let kind = match entry.kind {
            EntryKind::Directory => b"d",
            EntryKind::File => b"f",
            EntryKind::Link => b"l",
        };
        add(entry.path.as_bytes());
        add(kind);
        add(&entry.mode.to_le_bytes());
        add(&entry.size.to_le_bytes());
        add(entry.sha256.as_deref().unwrap_or_default().as_bytes());
        add(entry.target.as_deref().unwrap_or_default().as_bytes());
    }
    hex(&hash.finalize())
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Collects what an operator may want to know, up to a limit.
#[derive(Debug, Default)]
pub(super) struct Notes {
    lines: Vec<String>,
    more: usize,
}

impl Notes {
    /// Adds a line, or counts it when there are too many already.
    pub(super) fn add(&mut self, line: String) {
        if self.lines.len() < MAX_NOTES { self.lines.push(line) } else { self.more += 1 }
    }

    /// The lines, with a last one about those that had no room.
    pub(super) fn into_lines(mut self) -> Vec<String> {
        if self.more > 0 {
            self.lines.push(format!("and {} more notes of this kind", self.more));
        }
        self.lines
    }
}
