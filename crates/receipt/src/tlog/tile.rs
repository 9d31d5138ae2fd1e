//! Tiles: the log as files of one size, which any cache may keep for ever (C2SP tlog-tiles).
//!
//! A tile is 256 hashes of one level in a row, where the level above has one hash for each tile below. Entries come in
//! bundles that match the tiles of level 0. A path has one spelling, and only what is of it names a tile.

use core::fmt;
use core::str::FromStr;

use execgate_model::Digest;

use super::hash::node_hash;
use super::tree::Node;

/// How many hashes a whole tile has.
const WIDTH: u16 = 256;

/// How many levels of the tree a tile spans.
const HEIGHT: u8 = 8;

/// The tallest level of tiles that a tree of 2^64 leaves has.
const TALLEST: u8 = 7;

/// Digits in one element of a path.
const DIGITS: usize = 3;

/// Why a path names no tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tile is <L>/<N>[.p/<W>] or entries/<N>[.p/<W>], as C2SP tlog-tiles spells it")]
pub struct TileError;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TileKind {
    /// Hashes of a level of tiles, from 0 for those of the leaves.
    Hashes(u8),
    /// Entries, each with its length before it.
    Entries,
}

/// One tile of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tile {
    kind: TileKind,
    index: u64,
    width: u16,
}

impl Tile {
    /// The tiles that a log of so many entries consists of: hashes level by level, then entries.
    pub fn all(size: u64) -> impl Iterator<Item = Self> {
        let kinds = (0..=TALLEST).map(TileKind::Hashes).chain([TileKind::Entries]);
        kinds.flat_map(move |kind| {
            let hashes = kind.hashes(size);
            let tiles = hashes.div_ceil(WIDTH.into());
            (0..tiles).map(move |index| Self { kind, index, width: width(hashes, index) })
        })
    }

    /// The tile of a log of so many entries that holds a node, and where in it the node's hashes begin and how many they
    /// are: [`Self::node`] makes the one hash of them. None where the log has no such node.
    #[must_use]
    pub fn holding(node: Node, size: u64) -> Option<(Self, usize, usize)> {
        let kind = TileKind::Hashes(node.level / HEIGHT);
        let hashes = 1_u64 << (node.level % HEIGHT);
        let first = node.index.checked_mul(hashes)?;
        let stored = kind.hashes(size);
        if first.checked_add(hashes)? > stored {
            return None;
        }
        let (index, offset) = (first / u64::from(WIDTH), first % u64::from(WIDTH));
        let tile = Self { kind, index, width: width(stored, index) };
        Some((tile, usize::try_from(offset).ok()?, usize::try_from(hashes).ok()?))
    }

    /// The hash of a whole subtree from its lowest hashes in a tile; their number is a power of two.
    #[must_use]
    pub fn node(hashes: &[Digest]) -> Option<Digest> {
        let mut level = hashes.to_vec();
        while level.len() > 1 {
            level =
                level.chunks(2).map(|pair| pair.iter().copied().reduce(node_hash)).collect::<Option<_>>()?;
        }
        level.first().copied()
    }

    /// What it holds.
    #[must_use]
    pub const fn kind(&self) -> TileKind {
        self.kind
    }

    /// The first of its nodes, or of its entries.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.index * u64::from(WIDTH)
    }

    /// How many hashes or entries it holds: 1 to 256.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// The nodes whose hashes it holds; for a bundle those of its entries.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        let level = self.kind.level();
        (self.start()..self.start() + u64::from(self.width)).map(move |index| Node { level, index })
    }

    /// Whether a log of so many entries has all of it.
    #[must_use]
    pub fn is_within(&self, size: u64) -> bool {
        self.start() + u64::from(self.width) <= self.kind.hashes(size)
    }
}

/// How wide the tile at an index is where there are so many hashes.
fn width(hashes: u64, index: u64) -> u16 {
    let left = hashes - index * u64::from(WIDTH);
    u16::try_from(left).map_or(WIDTH, |left| left.min(WIDTH))
}

impl TileKind {
    /// The level of its nodes.
    const fn level(self) -> u8 {
        match self {
            Self::Hashes(level) => level * HEIGHT,
            Self::Entries => 0,
        }
    }

    /// How many hashes of its level a log of so many entries has.
    fn hashes(self, size: u64) -> u64 {
        size.checked_shr(self.level().into()).unwrap_or(0)
    }
}

impl FromStr for Tile {
    type Err = TileError;

    /// Reads the path below `tile/`.
    fn from_str(path: &str) -> Result<Self, TileError> {
        let (kind, rest) = path.split_once('/').ok_or(TileError)?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes(level.parse().ok().filter(|level| *level <= TALLEST).ok_or(TileError)?),
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => {
                (index, width.parse().ok().filter(|width| *width < WIDTH).ok_or(TileError)?)
            }
            None => (rest, WIDTH),
        };
        let mut number = 0_u64;
        for element in index.split('/') {
            let digits = element.strip_prefix('x').unwrap_or(element);
            let part = digits.parse::<u64>().ok().filter(|_| digits.len() == DIGITS).ok_or(TileError)?;
            number = number.checked_mul(1_000).and_then(|sum| sum.checked_add(part)).ok_or(TileError)?;
        }
        let tile = Self { kind, index: number, width };
        // No tile lies beyond what 64 bits count, and none has two names.
        let fits = number.checked_add(1).and_then(|end| end.checked_mul(WIDTH.into())).is_some();
        if width > 0 && fits && tile.to_string() == path { Ok(tile) } else { Err(TileError) }
    }
}

impl fmt::Display for Tile {
    /// The path below `tile/`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "{level}/")?,
            TileKind::Entries => f.write_str("entries/")?,
        }
        let digits = self.index.to_string();
        let elements = digits.len().div_ceil(DIGITS);
        let padded = format!("{digits:0>width$}", width = elements * DIGITS);
        for (element, start) in (0..padded.len()).step_by(DIGITS).enumerate() {
            let lead = if element + 1 < elements { "x" } else { "" };
            let trail = if element + 1 < elements { "/" } else { "" };
            write!(f, "{lead}{}{trail}", padded.get(start..start + DIGITS).unwrap_or_default())?;
        }
        if self.width < WIDTH { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

/// A bundle of entries that are digests: each has its length before it, as two bytes, the larger first.
#[must_use]
pub fn entry_bundle(entries: &[Digest]) -> Vec<u8> {
    entries.iter().flat_map(|entry| [0, 32].into_iter().chain(*entry.as_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::{Tile, TileKind};
    use crate::tlog::Node;

    #[test]
    fn a_path_names_one_tile_and_a_tile_has_one_path() {
        for path in [
            "0/000",
            "0/x001/x234/067",
            "7/000.p/1",
            "entries/999.p/255",
            "entries/x001/000",
            "1/x018/446/744",
        ] {
            let read = path.parse::<Tile>();
            assert_eq!(
                read.map(|tile| tile.to_string()).ok().as_deref(),
                (path != "1/x018/446/744").then_some(path)
            );
        }
        let tile: Tile = "0/x001/x234/067.p/9".parse().unwrap();
        assert_eq!((tile.kind(), tile.start(), tile.width()), (TileKind::Hashes(0), 1_234_067 * 256, 9));
    }

    #[test]
    fn other_spellings_name_nothing() {
        for path in [
            "",
            "0",
            "0/",
            "0/0",
            "0/00",
            "00/000",
            "+0/000",
            "8/000",
            "64/000",
            "0/000/000",
            "0/x000/000",
            "0/x001",
            "0/001/000",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/01",
            "0/000.p/+1",
            "0/+00",
            "0/000.p/",
            "0/000.p/1/",
            "entries",
            "entries/0x1",
            "data/000",
            "0/x099/x999/x999/x999/x999/x999/999",
            "0/000 ",
            "0/..",
        ] {
            assert!(path.parse::<Tile>().is_err(), "{path}");
        }
    }

    #[test]
    fn a_log_of_70_000_has_the_tiles_of_the_specification() {
        let tiles: Vec<_> = Tile::all(70_000).collect();
        let count = |kind| tiles.iter().filter(|tile| tile.kind() == kind).count();
        assert_eq!(
            (count(TileKind::Hashes(0)), count(TileKind::Hashes(1)), count(TileKind::Hashes(2))),
            (274, 2, 1)
        );
        assert_eq!((count(TileKind::Hashes(3)), count(TileKind::Entries)), (0, 274));
        let named = |path: &str| tiles.contains(&path.parse().unwrap());
        assert!(
            named("0/273.p/112") && named("1/001.p/17") && named("2/000.p/1") && named("entries/273.p/112")
        );
        assert!(tiles.iter().all(|tile| tile.is_within(70_000)));
        assert!(!"0/273".parse::<Tile>().unwrap().is_within(70_000));
        assert!(!"1/001.p/18".parse::<Tile>().unwrap().is_within(70_000));
    }

    #[test]
    fn a_node_is_found_in_the_tile_that_has_its_lowest_hashes() {
        let found = Tile::holding(Node { level: 10, index: 3 }, 70_000)
            .map(|(tile, at, count)| (tile.to_string(), at, count));
        assert_eq!(found, Some(("1/000".to_owned(), 12, 4)));
        assert_eq!(Tile::holding(Node { level: 16, index: 1 }, 70_000), None);
        assert_eq!(Tile::holding(Node { level: 200, index: 0 }, 70_000), None);
    }
}
