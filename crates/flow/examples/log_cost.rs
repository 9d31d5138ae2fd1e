//! Measures what a log costs as it grows: appending, and proofs from the record.
//!
//! `cargo run --release -p execgate-flow --example log_cost -- FOLDER [LEAVES]`; the folder must exist and hold no
//! `log_cost.db`. About two hashes are stored for each leaf: five million leaves are a log of ten million hashes.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool for the bench, not a part of the product"
)]

use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use execgate_model::{InstanceId, UnixMs};
use execgate_receipt::{Frontier, Reading, check_inclusion, leaf_hash, sha256};
use execgate_store::{LogHead, LogNode, LogStep, OpenOptions, Store, open};
use tokio::runtime::Builder;

/// Leaves of one step, as a gateway appends them under load.
const STEP: u64 = 256;

/// Steps between two lines.
const LINE: u64 = 2_048;

/// Proofs that are timed.
const PROOFS: u64 = 20_000;

fn main() {
    let mut arguments = env::args().skip(1);
    let data_dir = PathBuf::from(arguments.next().unwrap());
    let leaves: u64 = arguments.next().map_or(5_000_000, |leaves| leaves.parse().unwrap());
    let url = "sqlite://log_cost.db".to_owned();
    let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let instance = InstanceId::from_stored([7; 16]);
        let store = open(&OpenOptions { url, data_dir, instance, at: UnixMs(1) }).unwrap();
        assert!(store.log_begin(0, "log.example".to_owned(), UnixMs(1), None).await.unwrap());
        let head = grow(&store, leaves).await;
        prove(&store, head).await;
        store.close().await;
    });
}

/// Appends leaves, and tells what a step cost on the way.
async fn grow(store: &Arc<dyn Store>, leaves: u64) -> LogHead {
    let mut frontier = Frontier::EMPTY;
    let mut head = LogHead { epoch: 1, size: 0, root: frontier.root() };
    let (mut hashed, mut written) = (0, 0);
    for step in 1..=leaves.div_ceil(STEP) {
        let start = Instant::now();
        let after = frontier.size();
        let hashes = (after..after + STEP)
            .map(|leaf| frontier.append(sha256(&leaf.to_be_bytes()).as_bytes()))
            .collect();
        head = LogHead { epoch: 1, size: frontier.size(), root: frontier.root() };
        let ready = Instant::now();
        assert!(store.log_extend(LogStep { after, hashes, head }).await.unwrap());
        hashed += (ready - start).as_nanos();
        written += ready.elapsed().as_nanos();
        if step % LINE == 0 {
            let each = u128::from(STEP * LINE);
            println!(
                "{:>9} leaves: {} ns to hash, {} ns to write, each",
                head.size,
                hashed / each,
                written / each
            );
            (hashed, written) = (0, 0);
        }
    }
    head
}

/// Proves entries all over the log, and tells how long it took from the record to the path.
async fn prove(store: &Arc<dyn Store>, head: LogHead) {
    let mut took: Vec<u128> = Vec::new();
    for number in 0..PROOFS {
        // All over the log, in no order that a cache could like.
        let index = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % head.size;
        let start = Instant::now();
        let reading = Reading::inclusion(index, head.size).unwrap();
        let nodes =
            reading.nodes().iter().map(|node| LogNode { level: node.level, index: node.index }).collect();
        let path = reading.make(&store.log_hashes(nodes).await.unwrap()).unwrap();
        took.push(start.elapsed().as_nanos());
        let leaf = leaf_hash(sha256(&index.to_be_bytes()).as_bytes());
        check_inclusion(leaf, index, head.size, &path, head.root).unwrap();
    }
    took.sort_unstable();
    let at = |percent: usize| took[took.len() * percent / 100] / 1_000;
    println!("{PROOFS} proofs in a log of {}: p50 {} us, p99 {} us", head.size, at(50), at(99));
}
