//! Holds what a fuzz target holds, on the compiler that everybody has: on the target's seeds, on bytes near them, and
//! on bytes from nowhere. Taken in by path where the parsers are, and never shipped.

use std::fs;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};

/// One change of a seed's bytes.
#[derive(Debug, Clone)]
enum Change {
    Replace(u8),
    Insert(Vec<u8>),
    Remove(Index),
    Repeat(Index),
}

/// Calls the body of a target with many bytes; a failure is told with the smallest bytes that show it.
#[track_caller]
pub(crate) fn holds(target: &str, body: fn(&[u8])) {
    let seeds = seeds(target);
    seeds.iter().for_each(|seed| body(seed));
    let any_bytes = prop_oneof![4 => near(seeds), 1 => vec(any::<u8>(), 0..256)];
    let config = Config { failure_persistence: None, ..Config::default() };
    let held = TestRunner::new(config).run(&any_bytes, |bytes| {
        body(&bytes);
        Ok(())
    });
    assert!(held.is_ok(), "{target}: {}", held.unwrap_err());
}

/// The seeds, of which every target has one at least.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = format!("{}/../../fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no seeds");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn near(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = prop_oneof![
        any::<u8>().prop_map(Change::Replace),
        prop_oneof![vec(any::<u8>(), 1..5), Just(b"\"".to_vec()), Just(b"{}".to_vec()), Just(b"\n".to_vec())]
            .prop_map(Change::Insert),
        any::<Index>().prop_map(Change::Remove),
        any::<Index>().prop_map(Change::Repeat),
    ];
    (select(seeds), vec((any::<Index>(), change), 0..6)).prop_map(|(seed, changes)| {
        changes.into_iter().fold(seed, |mut bytes, (at, change)| {
            let at = at.index(bytes.len() + 1);
            let until = |length: Index, bytes: &[u8]| at + length.index((bytes.len() - at).min(16) + 1);
            match change {
                Change::Replace(byte) => {
                    if let Some(place) = bytes.get_mut(at) {
                        *place = byte;
                    }
                }
                Change::Insert(more) => drop(bytes.splice(at..at, more)),
                Change::Remove(length) => {
                    let until = until(length, &bytes);
                    bytes.drain(at..until);
                }
                Change::Repeat(length) => {
                    let again = bytes[at..until(length, &bytes)].to_vec();
                    bytes.splice(at..at, again);
                }
            }
            bytes
        })
    })
}
