//! Measures claims, ends and reads on a real disk.
//!
//! `cargo run --release -p execgate-store --example measure -- FOLDER [SECONDS]`; the folder must exist, and the
//! file in it is kept. Numbers depend on the disk's flush, so compare only runs of one machine.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool for the bench, not a part of the product"
)]

use std::env;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use execgate_model::{ActionName, Amount, Digest, Effect, InstanceId, RunId, Stage, UnixMs};
use execgate_store::{
    Answer, Claim, Claimed, Finish, Finished, Leaf, LeafKind, NewPayment, OpenOptions, Store, open,
};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

/// Callers at once, and whether their runs are paid.
const LOADS: [(usize, bool); 5] = [(1, false), (1, true), (64, false), (64, true), (256, false)];

/// Point reads in a row.
const READS: u64 = 20_000;

fn main() {
    let mut arguments = env::args().skip(1);
    let data_dir = PathBuf::from(arguments.next().unwrap());
    let time = Duration::from_secs(arguments.next().map_or(3, |seconds| seconds.parse().unwrap()));
    let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    // A number of its own for each process, so that a second one goes on in the same file.
    let first = u64::from(process::id()) << 32;
    let instance = InstanceId::from_stored(u128::from(first).to_be_bytes());
    let url = "sqlite://measure.db".to_owned();
    runtime.block_on(async {
        let store = open(&OpenOptions { url, data_dir, instance, at: UnixMs(1) }).unwrap();
        let next = Arc::new(AtomicU64::new(first));
        for (callers, paid) in LOADS {
            let waits = load(&store, &next, callers, paid, time).await;
            let rate = waits.len() as u128 * 1_000_000 / time.as_micros();
            println!(
                "{callers} callers, {}: {rate} runs/s, {}",
                if paid { "paid" } else { "free" },
                spread(waits)
            );
        }
        let runs = next.load(Ordering::Relaxed) - first;
        println!("reads: {}", spread(reads(&store, first, runs).await));
        store.close().await;
    });
}

async fn load(
    store: &Arc<dyn Store>,
    next: &Arc<AtomicU64>,
    callers: usize,
    paid: bool,
    time: Duration,
) -> Vec<Duration> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (store, next) = (Arc::clone(store), Arc::clone(next));
        tasks.spawn(async move {
            let mut waits = Vec::new();
            while start.elapsed() < time {
                let began = Instant::now();
                run(&*store, next.fetch_add(1, Ordering::Relaxed), paid).await;
                waits.push(began.elapsed());
            }
            waits
        });
    }
    tasks.join_all().await.concat()
}

async fn reads(store: &Arc<dyn Store>, first: u64, runs: u64) -> Vec<Duration> {
    let store = Arc::clone(store);
    let task = tokio::spawn(async move {
        let mut waits = Vec::new();
        for step in 0..READS {
            let nonce = digest(1, first + step * 7_919 % runs);
            let began = Instant::now();
            assert!(store.by_nonce(nonce).await.unwrap().is_some());
            waits.push(began.elapsed());
        }
        waits
    });
    task.await.unwrap()
}

async fn run(store: &dyn Store, number: u64, paid: bool) {
    let at = UnixMs(1_700_000_000_000 + number % 1_000_000_000);
    let mut id = [0; 16];
    id.copy_from_slice(&digest(9, number).as_bytes()[..16]);
    let (run, instance) = (RunId::from_entropy(id), store.instance());
    let payment = NewPayment {
        key: digest(4, number),
        payer: "0x1234567890123456789012345678901234567890".to_owned(),
        state: vec![7; 600],
        rail: "x402".to_owned(),
        amount: Amount::from_micros(20_000),
        upfront: false,
        most: None,
        funds: None,
        holds_max: 16,
        at,
        batch: false,
    };
    let claim = Claim {
        run,
        instance,
        nonce_key: Some(digest(1, number)),
        session_nonce: None,
        fingerprint: digest(2, number),
        owner: Some(digest(3, number)),
        action: ActionName::new("python").unwrap(),
        effect: Effect::Live,
        caller: "grant:alice".to_owned(),
        rail: "x402".to_owned(),
        price: Amount::from_micros(20_000),
        payment: paid.then_some(payment),
        approval: None,
        limits: Vec::new(),
        salt: *digest(5, number).as_bytes(),
        intent: vec![1; 700],
        leaf: Leaf { kind: LeafKind::Intent, digest: digest(6, number) },
        at,
        tool_call: None,
    };
    assert_eq!(store.claim(claim).await.unwrap(), Claimed::Fresh);
    let finish = Finish {
        signer: [0; 32],
        run,
        instance,
        stage: Stage::Settled,
        outcome: "value".to_owned(),
        content: digest(7, number),
        receipt: vec![3; 1_500],
        answer: Answer { status: 200, content_type: "application/json".to_owned(), body: vec![4; 300] },
        leaf: Leaf { kind: LeafKind::Final, digest: digest(8, number) },
        charged: paid,
        metered: None,
        at,
    };
    assert_eq!(store.finish(finish).await.unwrap(), Finished::Recorded);
}

/// As scattered over the key space as a real digest, from a number.
fn digest(tag: u64, number: u64) -> Digest {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (tag << 56);
    let mut bytes = [0; 32];
    for word in bytes.chunks_exact_mut(8) {
        // The steps of SplitMix64.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word.copy_from_slice(&(mixed ^ (mixed >> 31)).to_be_bytes());
    }
    Digest::from_bytes(bytes)
}

fn spread(mut waits: Vec<Duration>) -> String {
    waits.sort_unstable();
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
    format!("p50 {:?}, p90 {:?}, p99 {:?}, max {:?}", at(50), at(90), at(99), at(100))
}
