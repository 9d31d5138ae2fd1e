//! Trees that are laid over an image's base: fetched packages, an operator's own library.
//!
//! They go through the same rules as everything else. What is hashed is what goes in, so that the same content gives
//! the same image wherever the folder lies and whenever it was made.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::ImageError;
use super::gather;
use super::manifest::hex;
use super::plan::{Item, Plan};
use super::recipe::add;
use super::rules::{self, Verdict};
use super::source::{BASE, SourceTree};

/// Read and hashed at once.
const CHUNK_BYTES: usize = 256 << 10;

/// A folder that is laid over an image's base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// The folder on the host.
    pub from: PathBuf,
    /// Where its content goes: below the image's root, without a leading slash.
    pub to: String,
}

/// What a manifest says of an overlay: never where it lay on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverlayRecord {
    /// Where its content is, below the image's root.
    pub to: String,
    /// SHA-256 over names, kinds, executability and content, as 64 hexadecimal digits.
    pub sha256: String,
}

/// An overlay that was walked through.
#[derive(Debug)]
pub(super) struct Layer {
    /// Where its content goes.
    pub(super) to: String,
    /// The folder, numbered.
    pub(super) tree: SourceTree,
    /// What of it goes in.
    pub(super) plan: Plan,
}

impl Layer {
    /// Walks through every overlay of a recipe, in the order in which they are laid.
    pub(super) fn all(overlays: &[Overlay]) -> Result<Vec<Self>, ImageError> {
        let numbered = overlays.iter().zip(BASE + 1..);
        numbered.map(|(overlay, number)| Self::open(overlay, number)).collect()
    }

    fn open(overlay: &Overlay, number: usize) -> Result<Self, ImageError> {
        let to = overlay.to.clone();
        let is_canonical = to.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if !is_canonical || rules::judge(&to) != Verdict::Keep {
            return Err(ImageError::OverlayPlace { to });
        }
        let tree = SourceTree::open_numbered(&overlay.from, number)?;
        let plan = gather::overlay(&tree, &to)?;
        Ok(Self { to, tree, plan })
    }

    /// What the manifest and the input key say of it.
    pub(super) fn record(&self) -> Result<OverlayRecord, ImageError> {
        let mut hash = Sha256::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        for (path, item) in self.plan.items() {
            add(&mut hash, path.as_bytes());
            match item {
                Item::Directory => add(&mut hash, b"d"),
                Item::Link(target) => {
                    add(&mut hash, b"l");
                    add(&mut hash, target.as_bytes());
                }
                Item::Made(content) => add(&mut hash, content),
                Item::Copy { from, .. } => {
                    let unread = |source| ImageError::ReadSource { path: from.clone(), source };
                    let (executable, digest) = self.content(from, &mut chunk).map_err(unread)?;
                    add(&mut hash, if executable { b"x" } else { b"f" });
                    add(&mut hash, &digest);
                }
            }
        }
        Ok(OverlayRecord { to: self.to.clone(), sha256: hex(&hash.finalize()) })
    }

    fn content(&self, path: &str, chunk: &mut [u8]) -> io::Result<(bool, Vec<u8>)> {
        let mut file = self.tree.open_file(path)?;
        let executable = file.metadata()?.mode() & 0o111 != 0;
        let mut hash = Sha256::new();
        loop {
            match file.read(chunk) {
                Ok(0) => return Ok((executable, hash.finalize().to_vec())),
                Ok(read) => hash.update(chunk.split_at(read).0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The records of several layers.
pub(super) fn records(layers: &[Layer]) -> Result<Vec<OverlayRecord>, ImageError> {
    layers.iter().map(Layer::record).collect()
}
