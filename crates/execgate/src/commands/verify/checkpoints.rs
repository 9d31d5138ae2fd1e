//! Two checkpoints of a log: whether the older one is the beginning of the newer one. The path comes from the gateway
//! (`GET /log/consistency/{older}`), or is made here of the tiles of a copy.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use execgate_model::Digest;
use execgate_receipt::{Checkpoint, Consistency, Node, Reading, SignedNote, Tile, VerifierKey};

use super::place::told;

/// Bytes of a hash in a tile.
const HASH: usize = 32;

/// Where the newer checkpoint and the path to it come from.
pub(super) enum Newer<'a> {
    /// From one file that has both.
    Proof(&'a Path),
    /// From a copy of the log (`execgate log export`).
    Copy(&'a Path),
}

/// Checks the pair. The outer error is of the way, the inner what does not hold.
pub(super) fn check(
    older: &Path,
    newer: &Newer<'_>,
    keys: &[VerifierKey],
) -> anyhow::Result<anyhow::Result<String>> {
    if keys.is_empty() {
        bail!("no key to trust: give the log's verifier key by --log-key, or the --data-dir of its gateway");
    }
    let note = match SignedNote::parse(&read(older)?) {
        Ok(note) => note,
        Err(error) => return Ok(Err(told(&error))),
    };
    let consistency = match newer {
        Newer::Proof(path) => Consistency::parse(&read(path)?).map_err(|error| told(&error)),
        Newer::Copy(folder) => of_copy(&note, folder)?,
    };
    let verified = consistency.and_then(|proof| proof.verify(&note, keys).map_err(|error| told(&error)));
    Ok(verified.map(|(older, newer)| {
        format!(
            "the {} entries of the older checkpoint are the first of the {} of {}",
            older.size, newer.size, newer.origin
        )
    }))
}

/// The proof to the checkpoint of a copy, from its tiles.
fn of_copy(older: &SignedNote, folder: &Path) -> anyhow::Result<anyhow::Result<Consistency>> {
    let newer = match SignedNote::parse(&read(&folder.join("checkpoint"))?) {
        Ok(newer) => newer,
        Err(error) => return Ok(Err(told(&error))),
    };
    let size = |note: &SignedNote| note.unverified_text().parse::<Checkpoint>().map(|head| head.size);
    let (first, second) = match (size(older), size(&newer)) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(error), _) | (_, Err(error)) => return Ok(Err(told(&error))),
    };
    // A log that has shrunk needs no path to be told so.
    let path = match Reading::consistency(first, second) {
        Ok(reading) => {
            let mut tiles = Tiles { folder, size: second, read: HashMap::new() };
            let hashes: Vec<_> =
                reading.nodes().iter().map(|node| tiles.hash(*node)).collect::<Result<_, _>>()?;
            reading.make(&hashes)?
        }
        Err(_) => Vec::new(),
    };
    Ok(Ok(Consistency { older: first, path, newer }))
}

/// The tiles of a copy.
struct Tiles<'a> {
    folder: &'a Path,
    size: u64,
    read: HashMap<Tile, Vec<Digest>>,
}

impl Tiles<'_> {
    fn hash(&mut self, node: Node) -> anyhow::Result<Digest> {
        let missing = || anyhow!("the log has no such hash");
        let (tile, start, count) = Tile::holding(node, self.size).ok_or_else(missing)?;
        if !self.read.contains_key(&tile) {
            let bytes = read(&self.folder.join("tile").join(tile.to_string()))?;
            let hashes: Vec<_> = bytes
                .chunks(HASH)
                .map(|hash| hash.try_into().map(Digest::from_bytes))
                .collect::<Result<_, _>>()
                .context("a tile holds something other than hashes")?;
            self.read.insert(tile, hashes);
        }
        let hashes = self.read.get(&tile).and_then(|hashes| hashes.get(start..start + count));
        hashes.and_then(Tile::node).ok_or_else(|| anyhow!("the tile {tile} is not as wide as its name says"))
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("failed to read {}", path.display()))
}

/// The files that a command line names.
pub(super) fn newer<'a>(
    consistency: Option<&'a PathBuf>,
    copy: Option<&'a PathBuf>,
) -> anyhow::Result<Newer<'a>> {
    match (consistency, copy) {
        (Some(path), None) => Ok(Newer::Proof(path)),
        (None, Some(folder)) => Ok(Newer::Copy(folder)),
        (None, None) | (Some(_), Some(_)) => {
            bail!("--checkpoint is held against a newer one: give --consistency FILE, or --log-copy DIR")
        }
    }
}
