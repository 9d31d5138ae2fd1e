//! How long it takes to say whose an authorization is: `cargo run --release -p execgate-payment --example verify`.
//! It should stay below 150 µs for half of them.

use std::io::{Write as _, stdout};
use std::time::{Duration, Instant};

use execgate_payment::evm::{Authorization, ChainId, KnownToken, Signature, U256, to_hex};
use k256::ecdsa::SigningKey;

/// How many are measured: enough for one in a hundred to be a number.
const ROUNDS: usize = 5000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let token = KnownToken::find("USDC", ChainId::BASE).ok_or("USDC is known on Base")?;
    let key = SigningKey::from_slice(&[7; 32])?;
    let blank = Signature::parse(&to_hex(&[&[1; 64][..], &[27]].concat()))?;
    let mut authorization = Authorization {
        token,
        from: "0x0000000000000000000000000000000000000001".parse()?,
        to: "0x0000000000000000000000000000000000000002".parse()?,
        value: U256::from(20_000),
        valid_after: U256::ZERO,
        valid_before: U256::from(u64::MAX),
        nonce: [9; 32],
        signature: blank,
    };
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let (numbers, parity) = key.sign_prehash_recoverable(&authorization.digest());
        authorization.signature =
            Signature::parse(&to_hex(&[&numbers.to_bytes()[..], &[parity.to_byte()]].concat()))?;
        authorization.from = authorization.recover()?;
        // The payer is part of what is signed.
        let (numbers, parity) = key.sign_prehash_recoverable(&authorization.digest());
        authorization.signature =
            Signature::parse(&to_hex(&[&numbers.to_bytes()[..], &[parity.to_byte()]].concat()))?;
        let begun = Instant::now();
        authorization.verify()?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let micros = |time: Duration| time.as_nanos() / 1000;
    let (half, most) = (micros(times[ROUNDS / 2]), micros(times[ROUNDS * 99 / 100]));
    writeln!(
        stdout(),
        "EIP-712 digest, recovery, comparison: p50 {half} µs, p99 {most} µs ({ROUNDS} rounds)"
    )?;
    Ok(())
}
