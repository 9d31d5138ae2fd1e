//! The log against a tree that is made the way the definition reads (RFC 6962, section 2.1), and what tampering does.

use std::collections::HashMap;

use execgate_model::Digest;
use execgate_receipt::{
    Checkpoint, Consistency, ConsistencyError, Frontier, LogProof, Node, NoteError, NoteKey, PathError,
    ProofError, Reading, SigningKey, Tile, check_consistency, check_inclusion, empty_root, entry_bundle,
    leaf_hash, node_hash, sha256,
};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::Index;

const ORIGIN: &str = "log.example/gateway";

fn entry(index: u64) -> Digest {
    sha256(&index.to_be_bytes())
}

/// The root of a run of entries, by its definition.
fn naive(entries: &[Digest]) -> Digest {
    match entries {
        [] => empty_root(),
        [one] => leaf_hash(one.as_bytes()),
        many => {
            let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
            node_hash(naive(left), naive(right))
        }
    }
}

/// A log: its entries, and the hashes that a store keeps of them.
#[derive(Default)]
struct Log {
    entries: Vec<Digest>,
    stored: HashMap<(u64, u8), Digest>,
    frontier: Frontier,
}

impl Log {
    fn of(entries: impl Iterator<Item = Digest>) -> Self {
        let mut log = Self::default();
        for entry in entries {
            let leaf = log.frontier.size();
            for (level, hash) in (0..).zip(log.frontier.append(entry.as_bytes())) {
                log.stored.insert((leaf, level), hash);
            }
            log.entries.push(entry);
        }
        log
    }

    fn sized(size: u64) -> Self {
        Self::of((0..size).map(entry))
    }

    fn hash(&self, node: Node) -> Digest {
        self.stored[&(node.completed_by().unwrap(), node.level)]
    }

    fn make(&self, reading: &Reading) -> Vec<Digest> {
        let hashes: Vec<_> = reading.nodes().iter().map(|node| self.hash(*node)).collect();
        reading.make(&hashes).unwrap()
    }

    fn root(&self, size: u64) -> Digest {
        self.make(&Reading::root(size))[0]
    }

    fn head(&self, size: u64) -> Checkpoint {
        Checkpoint::new(ORIGIN.to_owned(), size, self.root(size))
    }

    fn proof(&self, index: u64, size: u64) -> LogProof {
        let path = self.make(&Reading::inclusion(index, size).unwrap());
        LogProof { extra: None, index, path, checkpoint: self.head(size).sign(&key()).unwrap() }
    }

    fn consistency(&self, older: u64, size: u64) -> Consistency {
        let path = self.make(&Reading::consistency(older, size).unwrap());
        Consistency { older, path, newer: self.head(size).sign(&key()).unwrap() }
    }
}

fn key() -> NoteKey {
    NoteKey::new(ORIGIN.parse().unwrap(), SigningKey::from_seed(&[3; 32]))
}

#[test]
fn the_roots_are_those_of_the_test_vectors_of_certificate_transparency() {
    // From the reference implementation of RFC 6962: eight entries, and the roots of their first 1, 2, 3 and 8.
    let entries: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let mut frontier = Frontier::EMPTY;
    let roots: Vec<_> = entries
        .iter()
        .map(|entry| {
            frontier.append(entry);
            frontier.root().to_hex()
        })
        .collect();
    assert_eq!(empty_root().to_hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(roots[0], "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    assert_eq!(roots[1], "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125");
    assert_eq!(roots[2], "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77");
    assert_eq!(roots[7], "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
}

#[test]
fn every_entry_of_every_small_log_has_a_proof_and_every_size_is_the_beginning_of_every_larger_one() {
    let log = Log::sized(65);
    for size in 0..=65 {
        let entries = &log.entries[..usize::try_from(size).unwrap()];
        let root = naive(entries);
        assert_eq!(log.root(size), root);
        let peaks = Frontier::nodes(size).into_iter().map(|node| log.hash(node)).collect();
        assert_eq!(Frontier::new(size, peaks).map(|frontier| frontier.root()), Some(root));
        for index in 0..size {
            let path = log.make(&Reading::inclusion(index, size).unwrap());
            assert_eq!(check_inclusion(leaf_hash(entry(index).as_bytes()), index, size, &path, root), Ok(()));
        }
        for older in 0..=size {
            let path = log.make(&Reading::consistency(older, size).unwrap());
            assert_eq!(check_consistency((older, log.root(older)), (size, root), &path), Ok(()));
        }
        assert!(Reading::inclusion(size, size).is_err() && Reading::consistency(size + 1, size).is_err());
    }
}

#[test]
fn a_proof_needs_about_as_many_hashes_as_the_tree_is_tall() {
    let size = (1 << 40) + 12_345;
    for index in [0, 1 << 20, size - 1] {
        assert!(Reading::inclusion(index, size).unwrap().nodes().len() <= 2 * 41);
    }
    assert!(Reading::consistency(size - 7, size).unwrap().nodes().len() <= 2 * 41);
    // Nothing overflows at the end of what can be counted.
    assert!(Reading::inclusion(u64::MAX - 1, u64::MAX).unwrap().nodes().len() <= 128);
    assert!(Reading::consistency(u64::MAX - 1, u64::MAX).unwrap().nodes().len() <= 128);
}

#[test]
fn tiles_hold_the_tree() {
    let log = Log::sized(600);
    let bundles = Tile::all(600).filter(|tile| tile.to_string().starts_with("entries/"));
    let read: Vec<u8> = bundles
        .flat_map(|tile| {
            let start = usize::try_from(tile.start()).unwrap();
            entry_bundle(&log.entries[start..start + usize::from(tile.width())])
        })
        .collect();
    assert_eq!(read.len(), 600 * 34);
    assert!(
        read.chunks(34)
            .zip(&log.entries)
            .all(|(read, entry)| read[..2] == [0, 32] && read[2..] == *entry.as_bytes())
    );
    for level in 0..10 {
        for index in 0..(600 >> level) {
            let node = Node { level, index };
            let (tile, start, count) = Tile::holding(node, 600).unwrap();
            let hashes: Vec<_> = tile.nodes().map(|node| log.hash(node)).collect();
            assert_eq!(hashes.len(), usize::from(tile.width()));
            assert_eq!(Tile::node(&hashes[start..start + count]), Some(log.hash(node)));
        }
    }
}

#[test]
fn a_proof_file_reads_back_and_verifies_under_the_key_of_its_log_alone() {
    let log = Log::sized(9);
    let proof = log.proof(4, 9);
    let text = proof.to_string();
    assert_eq!(LogProof::parse(text.as_bytes()), Ok(proof.clone()));
    let known = [key().verifier().clone()];
    assert_eq!(proof.verify(entry(4).as_bytes(), &known).map(|(head, _)| head), Ok(log.head(9)));
    let stranger = NoteKey::new(ORIGIN.parse().unwrap(), SigningKey::from_seed(&[4; 32]));
    let others = [stranger.verifier().clone()];
    let refused = proof.verify(entry(4).as_bytes(), &others);
    assert_eq!(refused, Err(ProofError::Checkpoint(NoteError::Untrusted.into())));
    let with_extra = LogProof { extra: Some(b"more".to_vec()), ..proof };
    assert_eq!(with_extra.to_string().parse(), Ok(with_extra));
}

#[test]
fn other_texts_are_no_proof() {
    let text = Log::sized(9).proof(4, 9).to_string();
    for bad in [
        text.replace("@v1", "@v2"),
        text.replace("index 4", "index 04"),
        text.replace("index 4", "index +4"),
        text.replace("index 4\n", ""),
        text.replace("index 4\n", "index 4\nAAAA\n"),
        text.replace("index 4\n", "extra \u{2014}\nindex 4\n"),
        text.replace(
            "index 4\n",
            &format!("index 4\n{}", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n".repeat(64)),
        ),
        text.replace("\n\n", "\n"),
        String::new(),
    ] {
        assert!(LogProof::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn each_kind_of_tampering_has_its_name() {
    let log = Log::sized(20);
    let known = [key().verifier().clone()];
    let open = |proof: &LogProof, index: u64| proof.verify(entry(index).as_bytes(), &known).map(|_| ());

    // Another entry, or another place.
    assert_eq!(open(&log.proof(7, 20), 8), Err(PathError::Root.into()));
    let moved = LogProof { index: 6, ..log.proof(7, 20) };
    assert_eq!(open(&moved, 7), Err(PathError::Root.into()));
    let beyond = LogProof { index: 20, ..log.proof(7, 20) };
    assert_eq!(open(&beyond, 7), Err(PathError::Beyond { wanted: 20, size: 20 }.into()));
    let mut short = log.proof(7, 20);
    short.path.pop();
    assert_eq!(open(&short, 7), Err(PathError::Length.into()));

    // Two entries swapped, or a tail dropped and others appended: another log under the same name.
    let mut swapped: Vec<_> = (0..20).map(entry).collect();
    swapped.swap(2, 3);
    let swapped = Log::of(swapped.into_iter());
    let forked = Log::of((0..15).map(entry).chain((100..110).map(entry)));
    let older = log.head(20).sign(&key()).unwrap();
    let judged = |log: &Log, from, size| log.consistency(from, size).verify(&older, &known).map(|_| ());
    assert_eq!(judged(&swapped, 20, 20), Err(PathError::Forked { size: 20 }.into()));
    assert_eq!(judged(&forked, 20, 25), Err(PathError::OlderRoot.into()));
    // The end is gone, or an old checkpoint is shown as a new one.
    assert_eq!(judged(&log, 10, 10), Err(ConsistencyError::Shrunk { older: 20, newer: 10 }));
    assert_eq!(judged(&Log::sized(25), 19, 25), Err(ConsistencyError::Size { proved: 19, older: 20 }));
    assert_eq!(judged(&Log::sized(25), 20, 25), Ok(()));
    let text = Log::sized(25).consistency(20, 25).to_string();
    assert_eq!(Consistency::parse(text.as_bytes()), Ok(Log::sized(25).consistency(20, 25)));
}

proptest! {
    #[test]
    fn any_entry_of_any_log_has_a_proof(size in 1_u64..3_000, pick in any::<Index>(), older in any::<Index>()) {
        let log = Log::sized(size);
        let root = naive(&log.entries);
        prop_assert_eq!(log.root(size), root);
        let index = pick.index(log.entries.len()) as u64;
        let path = log.make(&Reading::inclusion(index, size).unwrap());
        prop_assert_eq!(check_inclusion(leaf_hash(entry(index).as_bytes()), index, size, &path, root), Ok(()));
        let older = older.index(log.entries.len() + 1);
        let path = log.make(&Reading::consistency(older as u64, size).unwrap());
        let first = (older as u64, naive(&log.entries[..older]));
        prop_assert_eq!(check_consistency(first, (size, root), &path), Ok(()));
    }

    #[test]
    fn a_flipped_bit_breaks_any_proof(
        size in 2_u64..300, pick in any::<Index>(), place in any::<Index>(), bit in 0_u8..8,
    ) {
        let log = Log::sized(size);
        let index = pick.index(log.entries.len()) as u64;
        let mut bytes = log.proof(index, size).to_string().into_bytes();
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        let known = [key().verifier().clone()];
        let verified = LogProof::parse(&bytes).and_then(|proof| proof.verify(entry(index).as_bytes(), &known).map(|_| ()));
        prop_assert!(verified.is_err());
    }

    #[test]
    fn a_flipped_bit_breaks_any_consistency(
        size in 3_u64..300, older in any::<Index>(), place in any::<Index>(), bit in 0_u8..8,
    ) {
        let log = Log::sized(size);
        let older = 1 + older.index(log.entries.len() - 2) as u64;
        let first = log.head(older).sign(&key()).unwrap();
        let known = [key().verifier().clone()];
        let mut bytes = log.consistency(older, size).to_string().into_bytes();
        prop_assert!(Consistency::parse(&bytes).unwrap().verify(&first, &known).is_ok());
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        let verified = Consistency::parse(&bytes).and_then(|proof| proof.verify(&first, &known).map(|_| ()));
        prop_assert!(verified.is_err());
    }
}
