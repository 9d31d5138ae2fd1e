//! How long each step of a typical receipt takes. Run it by `cargo run --release --package execgate-receipt --example cost`.

#[path = "../tests/suite/fixture.rs"]
#[expect(dead_code, clippy::panic, clippy::unwrap_used, reason = "it is of the tests, which need more of it")]
mod fixture;

use std::hint::black_box;
use std::time::Instant;

use execgate_receipt::{ReceiptFile, canonical, seal, sha256, verify};

use fixture::{Run, key};

const ROUNDS: u32 = 10_000;

#[expect(clippy::print_stdout, reason = "it tells what it measured")]
fn mean(what: &str, mut work: impl FnMut()) {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        work();
    }
    println!("{what}: {:?}", start.elapsed() / ROUNDS);
}

fn main() {
    let (run, key) = (Run::default(), key());
    let (statement, file) = (run.statement(), run.file());
    let (sealed, trusted) = (run.seal(), [key.verifying_key()]);
    let value = serde_json::to_value(&statement).unwrap_or_default();
    let text = file.to_json().unwrap_or_default();
    mean("canonical", || drop(black_box(canonical(&value))));
    mean("sha256", || {
        black_box(sha256(sealed.payload()));
    });
    mean("facts to statement", || drop(black_box(run.statement())));
    mean("seal", || drop(black_box(seal(&key, &statement, &run.salt))));
    mean("read file", || drop(black_box(ReceiptFile::from_json(text.as_bytes()))));
    mean("verify", || drop(black_box(verify(&file, &trusted))));
}
