//! What it costs to verify a payment in the process: from the bytes of a header to the money that is held, over payments that
//! are all different. Run it by `cargo run --release --package execgate-payment --example verify`.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use execgate_model::{ActionName, Amount, BoxFuture, Clock, Credential, Digest, Resource, UnixMs};
use execgate_payment::evm::{
    Address, Authorization, ChainId, KnownToken, Means, Signature, Token, U256, keccak256, to_hex,
};
use execgate_payment::x402::{Account, Transfer, X402};
use execgate_payment::{
    Facilitator, Flow, Hold, HoldError, LookError, SettleError, Terms, TxHash, Unreachable, Whereabouts, hold,
};
use k256::ecdsa::SigningKey;
use serde_json::json;

/// Payments, each verified once.
const PAYMENTS: u32 = 5_000;

/// The first of them do not count.
const WARM_UP: usize = 500;

/// What is paid, in units of USDC.
const UNITS: u32 = 20_000;

/// For how long a payment has to live, in seconds.
const LIVES_S: u64 = 120;

/// How long it is asked to live: a minute to sign besides.
const TIMEOUT_S: u64 = LIVES_S + 60;

/// The clock of the machine.
struct Wall;

impl Clock for Wall {
    fn now(&self) -> UnixMs {
        #[expect(clippy::disallowed_methods, reason = "it is the clock")]
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn monotonic_us(&self) -> u64 {
        0
    }
}

/// Moves nothing, and is asked for nothing here.
struct Nobody;

impl Facilitator for Nobody {
    fn name(&self) -> &'static str {
        "nobody"
    }

    fn settle<'a>(&'a self, _: &'a Authorization) -> BoxFuture<'a, Result<TxHash, SettleError>> {
        Box::pin(async { Err(SettleError::Unknown { transaction: None }) })
    }

    fn whereabouts<'a>(&'a self, _: &'a Authorization) -> BoxFuture<'a, Result<Whereabouts, Unreachable>> {
        Box::pin(async { Err(Unreachable(String::new())) })
    }

    fn verify<'a>(&'a self, _: &'a Authorization) -> BoxFuture<'a, Result<Option<U256>, LookError>> {
        Box::pin(async { Ok(None) })
    }

    fn balance<'a>(&'a self, _: &'a Token, _: Address) -> BoxFuture<'a, Result<U256, Unreachable>> {
        Box::pin(async { Err(Unreachable(String::new())) })
    }
}

/// A header's value that pays, by version 2 of x402.
fn payment(
    key: &SigningKey,
    account: &Account,
    number: u32,
    now_s: u64,
) -> Result<String, Box<dyn std::error::Error>> {
    let point = key.verifying_key().to_sec1_point(false);
    let hash = keccak256(&point.as_bytes()[1..]);
    let unsigned = Authorization {
        token: account.token.clone(),
        from: Address::from_bytes(core::array::from_fn(|at| hash[12 + at])),
        to: account.pay_to,
        value: U256::from(u64::from(UNITS)),
        valid_after: U256::ZERO,
        valid_before: U256::from(now_s + 3_600),
        nonce: keccak256(&number.to_be_bytes()),
        by: Means::Token,
        signature: Signature::parse(&format!("0x{}{}1b", "11".repeat(32), "22".repeat(32)))?,
    };
    let (numbers, parity) = key.sign_prehash_recoverable(&unsigned.digest());
    let mut signature = numbers.to_bytes().to_vec();
    signature.push(parity.to_byte());
    let Authorization { from, to, value, valid_after, valid_before, nonce, .. } = &unsigned;
    let payment = json!({
        "x402Version": 2,
        "accepted": {
            "scheme": "exact", "network": account.token.network, "amount": UNITS.to_string(), "asset": account.token.contract,
            "payTo": to, "maxTimeoutSeconds": TIMEOUT_S, "extra": {"name": account.token.name, "version": account.token.version},
        },
        "payload": {
            "signature": to_hex(&signature),
            "authorization": {
                "from": from, "to": to, "value": value, "validAfter": valid_after, "validBefore": valid_before,
                "nonce": to_hex(nonce),
            },
        },
    });
    Ok(STANDARD.encode(payment.to_string()))
}

/// Verification in the process waits for nobody: it is ready when it is first asked.
fn held(rail: &X402, terms: &Terms, credential: &Credential) -> Option<Result<Hold, HoldError>> {
    let mut verified = pin!(hold(rail, terms, Some(credential)));
    match verified.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(held) => Some(held),
        Poll::Pending => None,
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let token = KnownToken::find("USDC", ChainId::BASE).ok_or("USDC on Base is known")?;
    let account = Account {
        token,
        transfer: Transfer::Eip3009,
        pay_to: "0x90F79bf6EB2c4f870365E785982E1f101E93b906".parse()?,
    };
    let rail = X402::new(vec![account.clone()], Arc::new(Nobody), Arc::new(Wall));
    let terms = Terms {
        amount: Amount::from_micros(u64::from(UNITS)),
        action: ActionName::new("python")?,
        fingerprint: Digest::from_bytes([7; 32]),
        flow: Flow::Authorization,
        lives_at_least_s: LIVES_S,
    };
    let key = SigningKey::from_slice(&keccak256(b"a payer"))?;
    let now_s = Wall.now().0 / 1_000;
    let resource = Resource { url: "https://shop.example/api/code-run".to_owned(), ..Resource::default() };
    let mut took_us = Vec::new();
    for number in 0..PAYMENTS {
        let bytes = payment(&key, &account, number, now_s)?.into_bytes();
        let credential = Credential { rail: "x402".to_owned(), bytes, resource: resource.clone() };
        let begun = Instant::now();
        let held = held(&rail, &terms, &credential);
        took_us.push(begun.elapsed().as_secs_f64() * 1e6);
        let held = held.ok_or("verification waits for somebody")??;
        assert_eq!(held.paid().lapsed, None, "it pays");
    }
    let mut counted = took_us.split_off(WARM_UP);
    counted.sort_by(f64::total_cmp);
    let at = |permille: usize| counted[counted.len() * permille / 1_000];
    let (p50, p95, p99) = (at(500), at(950), at(990));
    #[expect(clippy::print_stdout, reason = "the figures are what it is for")]
    {
        println!("{} payments verified: p50 {p50:.0} us, p95 {p95:.0} us, p99 {p99:.0} us", counted.len());
    }
    Ok(())
}
