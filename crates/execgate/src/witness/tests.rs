//! What a witness must never do: cosign two roots of one size, a log that lost an entry, or anything after it forgot.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::slice;
use std::sync::Arc;

use execgate_model::Digest;
use execgate_receipt::{
    Checkpoint, Consistency, Frontier, Node, NoteKey, Reading, SignedNote, SigningKey, VerifierKey,
    WitnessRefusal, cosignatures,
};
use execgate_web::{WitnessDesk as _, WitnessError};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
use tempfile::tempdir;

use super::{Desk, WitnessStore};
use crate::ports::{SystemClock, SystemEntropy};

const ORIGIN: &str = "example.com/log";

fn log() -> NoteKey {
    NoteKey::new(ORIGIN.parse().unwrap(), SigningKey::from_seed(&[42; 32]))
}

fn open(folder: &Path) -> anyhow::Result<(Desk, VerifierKey)> {
    let (store, key) = WitnessStore::open(folder, Some(&"w.example/1".parse()?), Arc::new(SystemEntropy))?;
    let verifier = key.verifier().clone();
    Ok((Desk::new(key, vec![log().verifier().clone()], store, Arc::new(SystemClock::new())), verifier))
}

/// A log that goes another way from some entry on.
struct Branch {
    entries: Vec<[u8; 2]>,
}

impl Branch {
    fn new(name: u8, fork: u8) -> Self {
        Self { entries: (0..32).map(|at| [if at < fork { 0 } else { name }, at]).collect() }
    }

    fn hashes(&self, size: usize) -> BTreeMap<Node, Digest> {
        let mut frontier = Frontier::EMPTY;
        let mut hashes = BTreeMap::new();
        for (index, entry) in (0_u64..).zip(&self.entries[..size]) {
            for (level, hash) in (0_u8..).zip(frontier.append(entry)) {
                hashes.insert(Node { level, index: index >> level }, hash);
            }
        }
        hashes
    }

    fn root(&self, size: u64) -> Digest {
        let mut frontier = Frontier::EMPTY;
        for entry in &self.entries[..usize::try_from(size).unwrap()] {
            frontier.append(entry);
        }
        frontier.root()
    }

    fn note(&self, size: u64) -> SignedNote {
        Checkpoint::new(ORIGIN.to_owned(), size, self.root(size)).sign(&log()).unwrap()
    }

    fn ask(&self, older: u64, size: u64) -> Vec<u8> {
        let hashes = self.hashes(usize::try_from(size).unwrap());
        let path = Reading::consistency(older, size).ok().and_then(|reading| {
            let found: Vec<_> = reading.nodes().iter().map(|node| hashes[node]).collect();
            reading.make(&found).ok()
        });
        Consistency { older, path: path.unwrap_or_default(), newer: self.note(size) }.to_string().into_bytes()
    }
}

#[test]
fn a_cosignature_is_of_the_witness_and_is_durable_first() {
    let folder = tempdir().unwrap();
    let branch = Branch::new(1, 0);
    let (desk, verifier) = open(folder.path()).unwrap();
    let lines = desk.add_checkpoint(&branch.ask(0, 3)).unwrap();
    let text = branch.note(3).unverified_text().to_owned();
    assert_eq!(cosignatures(&text, &lines, slice::from_ref(&verifier)).unwrap().len(), 1);
    assert_eq!(desk.verifier(), verifier.to_string());
    drop(desk);
    let (desk, again) = open(folder.path()).unwrap();
    assert_eq!(again, verifier);
    let stale = desk.add_checkpoint(&branch.ask(0, 5));
    assert!(matches!(stale, Err(WitnessError::Refused(WitnessRefusal::Stale { size: 3 }))));
    assert!(desk.add_checkpoint(&branch.ask(3, 5)).is_ok());
}

#[test]
fn what_cannot_be_kept_is_not_cosigned() {
    let folder = tempdir().unwrap();
    let (desk, _) = open(folder.path()).unwrap();
    // Nothing can be put in the place of a folder.
    fs::remove_file(folder.path().join("state.json")).unwrap();
    fs::create_dir(folder.path().join("state.json")).unwrap();
    let refused = desk.add_checkpoint(&Branch::new(1, 0).ask(0, 3));
    assert!(matches!(refused, Err(WitnessError::Unkept)));
}

#[test]
fn a_fork_is_refused_and_the_proof_of_it_is_kept() {
    let folder = tempdir().unwrap();
    let (ours, theirs) = (Branch::new(1, 2), Branch::new(2, 2));
    let (desk, _) = open(folder.path()).unwrap();
    desk.add_checkpoint(&ours.ask(0, 4)).unwrap();
    let longer = desk.add_checkpoint(&theirs.ask(4, 6));
    assert!(matches!(longer, Err(WitnessError::Refused(WitnessRefusal::Inconsistent(_)))));
    let forked = desk.add_checkpoint(&theirs.ask(4, 4));
    assert!(matches!(forked, Err(WitnessError::Refused(WitnessRefusal::Forked { size: 4 }))));
    drop(desk);
    let name = "w.example/1".parse().unwrap();
    let (store, _) = WitnessStore::open(folder.path(), Some(&name), Arc::new(SystemEntropy)).unwrap();
    assert_eq!(store.forked().collect::<Vec<_>>(), [ORIGIN]);
    let kept = fs::read_to_string(folder.path().join("state.json")).unwrap();
    assert!(kept.contains(&theirs.note(4).to_string().replace('\n', "\\n")));
}

#[test]
fn a_witness_that_has_lost_its_memory_its_key_or_its_name_does_not_start() {
    let folder = tempdir().unwrap();
    let none = WitnessStore::open(folder.path(), None, Arc::new(SystemEntropy)).err().unwrap();
    assert!(none.to_string().contains("--name"), "{none}");
    let (desk, _) = open(folder.path()).unwrap();
    let second = open(folder.path()).err().unwrap();
    assert!(second.to_string().contains("another witness works"), "{second}");
    desk.add_checkpoint(&Branch::new(1, 0).ask(0, 3)).unwrap();
    drop(desk);
    let other = WitnessStore::open(folder.path(), Some(&"w2".parse().unwrap()), Arc::new(SystemEntropy));
    assert!(other.err().unwrap().to_string().contains("`w.example/1`"));
    let (state, key) = (folder.path().join("state.json"), folder.path().join("witness.key"));
    let (kept, secret) = (fs::read(&state).unwrap(), fs::read(&key).unwrap());
    fs::remove_file(&key).unwrap();
    assert!(open(folder.path()).err().unwrap().to_string().contains("is gone"));
    drop(secret);
    fs::write(&state, &kept[..kept.len() / 2]).unwrap();
    assert!(open(folder.path()).err().unwrap().to_string().contains("is not what a witness has written"));
}

#[test]
fn a_key_without_its_memory_is_refused() {
    let folder = tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    fs::remove_file(folder.path().join("state.json")).unwrap();
    assert!(open(folder.path()).err().unwrap().to_string().contains("could cosign a fork"));
}

proptest! {
    // Each case syncs files, so that there are few.
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_size_is_ever_cosigned_with_two_roots_whatever_comes_and_whenever_it_dies(
        fork in 0_u8..12,
        asks in vec((any::<bool>(), 0_u64..20, 0_u64..20, any::<bool>()), 1..24),
    ) {
        let folder = tempdir().unwrap();
        let branches = [Branch::new(1, fork), Branch::new(2, fork)];
        let mut desk = Some(open(folder.path()).unwrap().0);
        let mut cosigned: BTreeMap<u64, Digest> = BTreeMap::new();
        let mut last = 0;
        for (which, older, size, dies) in asks {
            let branch = &branches[usize::from(which)];
            // Half of them ask as an honest log would: from what was cosigned last.
            let older = if older % 2 == 0 { last } else { older };
            if let Ok(lines) = desk.as_ref().unwrap().add_checkpoint(&branch.ask(older, size)) {
                prop_assert!(lines.ends_with('\n'));
                prop_assert!(size >= last, "a log that shrank from {} to {}", last, size);
                prop_assert_eq!(*cosigned.entry(size).or_insert(branch.root(size)), branch.root(size));
                // All that was cosigned is of one story: that of this branch.
                for (older, root) in &cosigned {
                    prop_assert_eq!(branch.root(*older), *root);
                }
                last = size;
            }
            if dies {
                drop(desk.take());
                desk = Some(open(folder.path()).unwrap().0);
            }
        }
    }
}
