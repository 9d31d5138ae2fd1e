//! How long a typical receipt takes. Run with `--release --nocapture` to read the numbers.

use std::hint::black_box;
use std::time::{Duration, Instant};

use execgate_receipt::{ReceiptFile, canonical, seal, sha256, verify};

use super::fixture::{Run, key};

const ROUNDS: u32 = 200;

/// Far above the 80 microseconds that a release build may take, so that a slow machine never fails by chance.
const BOUND: Duration = Duration::from_millis(20);

fn mean(what: &str, mut work: impl FnMut()) {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        work();
    }
    let mean = start.elapsed() / ROUNDS;
    println!("{what}: {mean:?}");
    assert!(mean < BOUND, "{what} took {mean:?}");
}

#[test]
fn a_typical_receipt_is_sealed_and_verified_quickly() {
    let (run, key) = (Run::default(), key());
    let (statement, sealed, file) = (run.statement(), run.seal(), run.file());
    let value = serde_json::to_value(&statement).unwrap();
    let (text, trusted) = (file.to_json().unwrap(), [key.verifying_key()]);
    println!("payload: {} bytes, file: {} bytes", sealed.payload().len(), text.len());
    mean("canonical", || drop(black_box(canonical(&value))));
    mean("sha256", || {
        black_box(sha256(sealed.payload()));
    });
    mean("facts to statement", || drop(black_box(run.statement())));
    mean("seal", || drop(black_box(seal(&key, &statement, &run.salt))));
    mean("read file", || drop(black_box(ReceiptFile::from_json(text.as_bytes()))));
    mean("verify", || drop(black_box(verify(&file, &trusted))));
}
