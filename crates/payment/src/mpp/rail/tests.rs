//! A credential pays for one call, of one body, at one price, in time; and whoever has shown that it is theirs is known.

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use execgate_model::{ActionName, Amount, BoxFuture, Clock, Credential, Digest, Entropy, Resource, UnixMs};
use k256::ecdsa::SigningKey;
use proptest::prelude::{any, prop_assert, proptest};
use serde_json::{Value, json};

use super::{Mpp, is_realm, realm};
use crate::evm::{Address, Authorization, ChainId, KnownToken, Means, Signature, Token, U256, to_hex};
use crate::mpp::{
    Challenge, CredentialHeader, EvmCharge, InForce, Receipt, Secret, Secrets, charge, find, instant,
};
use crate::{
    Asked, CaptureError, Facilitator, Flow, HoldError, LookError, Rail as _, SettleError, Settled,
    SettlementState, Terms, TxHash, Unreachable, Whereabouts,
};

/// The key of an account that every development chain has.
const KEY: [u8; 32] = [
    0x5d, 0xe4, 0x11, 0x1a, 0xfa, 0x1a, 0x4b, 0x94, 0x90, 0x8f, 0x83, 0x10, 0x3e, 0xb1, 0xf1, 0x70, 0x63,
    0x67, 0xc2, 0xe6, 0x8c, 0xa8, 0x70, 0xfc, 0x3f, 0xb9, 0xa8, 0x04, 0xcd, 0xab, 0x36, 0x5a,
];
const PAYER: &str = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
const SELLER: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";
const START_S: u64 = 1_795_305_600;
const LIVES_S: u64 = 90;

struct Hands(AtomicU64);

impl Hands {
    fn set(&self, seconds: u64) {
        self.0.store(seconds * 1000, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> UnixMs {
        UnixMs(self.0.load(Ordering::SeqCst))
    }

    fn monotonic_us(&self) -> u64 {
        0
    }
}

#[derive(Default)]
struct Settler(Mutex<Vec<Authorization>>);

impl Facilitator for Settler {
    fn name(&self) -> &'static str {
        "test"
    }

    fn settle<'a>(&'a self, authorization: &'a Authorization) -> BoxFuture<'a, Result<TxHash, SettleError>> {
        self.0.lock().unwrap().push(authorization.clone());
        Box::pin(async { Ok(TxHash::from_bytes([7; 32])) })
    }

    fn whereabouts<'a>(&'a self, _: &'a Authorization) -> BoxFuture<'a, Result<Whereabouts, Unreachable>> {
        Box::pin(async { Ok(Whereabouts::Unused) })
    }

    fn verify<'a>(&'a self, _: &'a Authorization) -> BoxFuture<'a, Result<Option<U256>, LookError>> {
        Box::pin(async { Ok(Some(U256::from(5))) })
    }

    fn balance<'a>(&'a self, _: &'a Token, _: Address) -> BoxFuture<'a, Result<U256, Unreachable>> {
        Box::pin(async { Ok(U256::from(5)) })
    }
}

struct World {
    rail: Mpp,
    hands: Arc<Hands>,
    secrets: Arc<InForce>,
    settler: Arc<Settler>,
}

fn secrets(bytes: &[u8]) -> Secrets {
    Secrets::new(bytes.iter().map(|byte| Secret::new([*byte; 32]).unwrap()).collect()).unwrap()
}

fn usdc() -> Token {
    KnownToken::find("USDC", ChainId::BASE_SEPOLIA).unwrap()
}

fn world() -> World {
    let hands = Arc::new(Hands(AtomicU64::new(START_S * 1000)));
    let in_force = Arc::new(InForce::new(secrets(&[1])));
    let settler = Arc::new(Settler::default());
    let charge = EvmCharge::new(usdc(), SELLER.parse().unwrap(), Arc::clone(&settler) as _);
    let (method, clock) = (Arc::new(charge) as _, Arc::clone(&hands) as _);
    let rail = Mpp::new(vec![method], CredentialHeader::Authorization, Arc::clone(&in_force), clock);
    World { rail, hands, secrets: in_force, settler }
}

fn resource() -> Resource {
    Resource {
        url: "https://gw.example:8443/api/code-run?x=1".to_owned(),
        description: "one run".to_owned(),
        mime: "application/json".to_owned(),
        method: "POST".to_owned(),
        body_digest: Some(Digest::from_bytes([5; 32])),
        ..Resource::default()
    }
}

fn cents(micros: u64) -> Amount {
    Amount::from_micros(micros)
}

fn terms(micros: u64) -> Terms {
    Terms {
        amount: cents(micros),
        action: ActionName::new("python").unwrap(),
        fingerprint: Digest::from_bytes([9; 32]),
        flow: Flow::Authorization,
        lives_at_least_s: LIVES_S,
    }
}

fn asked(micros: u64, refused: Option<&str>) -> Asked {
    let refused = refused.map(str::to_owned);
    Asked {
        amount: cents(micros),
        flow: Flow::Authorization,
        lives_at_least_s: LIVES_S,
        refused,
        accepts: None,
    }
}

fn now<T>(mut future: BoxFuture<'_, T>) -> T {
    match Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here waits"),
    }
}

/// What a test changes before it is signed.
type Change<'a> = &'a dyn Fn(&mut Wallet);

/// What a client signs, and what of it a test lets it sign otherwise.
struct Wallet {
    challenge: (String, Challenge),
    payment: Authorization,
    source: Option<String>,
}

impl Wallet {
    /// As clients do it.
    fn faced_with(offer: &str) -> Self {
        let challenge = Challenge::read_all(offer).unwrap().remove(0);
        let request = URL_SAFE_NO_PAD.decode(&challenge.1.request).unwrap();
        let request: Value = serde_json::from_slice(&request).unwrap();
        let ends = instant::read(challenge.1.expires.as_ref().unwrap()).unwrap().0 / 1000;
        let payment = Authorization {
            token: usdc(),
            from: PAYER.parse().unwrap(),
            to: request["recipient"].as_str().unwrap().parse().unwrap(),
            value: request["amount"].as_str().unwrap().parse().unwrap(),
            valid_after: U256::ZERO,
            valid_before: U256::from(ends),
            nonce: charge::nonces(&challenge.0, &challenge.1.realm)[0],
            by: Means::Token,
            signature: Signature::parse(&format!("0x{}1b", "01".repeat(64))).unwrap(),
        };
        let source = Some(charge::source(ChainId::BASE_SEPOLIA, payment.from));
        Self { challenge, payment, source }
    }

    fn sign(self, resource: Resource) -> Credential {
        let key = SigningKey::from_slice(&KEY).unwrap();
        let (numbers, parity) = key.sign_prehash_recoverable(&self.payment.digest());
        let signature = to_hex(&[numbers.to_bytes().as_slice(), &[parity.to_byte()]].concat());
        let (id, echo) = self.challenge;
        let challenge = json!({
            "id": id, "realm": echo.realm, "method": echo.method, "intent": echo.intent, "request": echo.request,
            "expires": echo.expires, "digest": echo.digest, "header": echo.header, "opaque": echo.opaque,
            "description": echo.description,
        });
        let payment = self.payment;
        let payload = json!({
            "type": "authorization", "from": payment.from, "to": payment.to, "value": payment.value,
            "validAfter": payment.valid_after, "validBefore": payment.valid_before,
            "nonce": to_hex(&payment.nonce), "signature": signature,
        });
        let credential = json!({"challenge": challenge, "payload": payload, "source": self.source});
        let text = URL_SAFE_NO_PAD.encode(credential.to_string());
        Credential { rail: Mpp::NAME.to_owned(), bytes: text.into_bytes(), resource }
    }
}

impl World {
    fn offer(&self, micros: u64) -> String {
        self.rail.offer(&asked(micros, None), &resource()).headers.remove(0).value
    }

    fn wallet(&self) -> Wallet {
        Wallet::faced_with(&self.offer(20_000))
    }

    /// Whether a credential buys what is sold.
    fn pays(&self, credential: &Credential) -> bool {
        now(self.rail.verify(&terms(20_000), Some(credential))).unwrap().lapsed.is_none()
    }

    /// Why a credential buys nothing though it is its payer's: the part before the colon.
    fn stale(&self, credential: &Credential) -> String {
        let paid = now(self.rail.verify(&terms(20_000), Some(credential))).unwrap();
        assert!(paid.claim.unwrap().payer.starts_with("eip155:84532:0x3c44"));
        paid.lapsed.unwrap().split_once(": ").unwrap().0.to_owned()
    }
}

#[test]
fn what_is_signed_for_a_challenge_pays_under_either_nonce_and_is_taken_once() {
    let world = world();
    for formula in 0..2 {
        let mut wallet = world.wallet();
        let (id, echo) = wallet.challenge.clone();
        wallet.payment.nonce = charge::nonces(&id, &echo.realm)[formula];
        let key = wallet.payment.claim_key();
        let paid = now(world.rail.verify(&terms(20_000), Some(&wallet.sign(resource())))).unwrap();
        assert_eq!((paid.claim.as_ref().map(|claim| claim.key), paid.lapsed), (Some(key), None));
        let reference = now(world.rail.capture(cents(20_000), &paid.state)).unwrap();
        assert_eq!(reference, TxHash::from_bytes([7; 32]).to_string());
        assert_eq!(world.settler.0.lock().unwrap()[formula].claim_key(), key);
        assert_eq!(now(world.rail.funds(&paid.state)), Ok(Some(cents(5))));
    }
}

#[test]
fn a_challenge_pays_for_what_it_was_made_for_and_for_nothing_else() {
    let world = world();
    let sign = |resource| world.wallet().sign(resource);
    let others = [
        Resource { url: "https://gw.example:8443/api/code-run-pro".to_owned(), ..resource() },
        Resource { url: "https://other.example/api/code-run?x=1".to_owned(), ..resource() },
        Resource { method: "PUT".to_owned(), ..resource() },
        Resource { body_digest: Some(Digest::from_bytes([6; 32])), ..resource() },
        Resource { body_digest: None, ..resource() },
    ];
    for other in others {
        assert_eq!(world.stale(&sign(other.clone())), "invalid-challenge", "{other:?}");
    }
    let described = Resource { description: "another sentence".to_owned(), ..resource() };
    assert!(world.pays(&sign(described)));
    let cheaper = Wallet::faced_with(&world.offer(10_000)).sign(resource());
    assert_eq!(world.stale(&cheaper), "invalid-challenge");
}

#[test]
fn every_word_of_an_authorization_counts() {
    let world = world();
    let unit = U256::from;
    let changes: [(&str, Change<'_>); 9] = [
        ("verification-failed", &|wallet| wallet.payment.to = PAYER.parse().unwrap()),
        ("payment-insufficient", &|wallet| wallet.payment.value = unit(19_999)),
        ("verification-failed", &|wallet| wallet.payment.value = unit(20_001)),
        ("verification-failed", &|wallet| wallet.payment.valid_after = unit(START_S + 1)),
        ("payment-expired", &|wallet| wallet.payment.valid_before = unit(START_S)),
        ("payment-expired", &|wallet| wallet.payment.valid_before = unit(START_S + LIVES_S - 1)),
        ("verification-failed", &|wallet| wallet.payment.nonce = [3; 32]),
        ("verification-failed", &|wallet| wallet.source = Some("did:pkh:eip155:1:0x00".to_owned())),
        ("invalid-challenge", &|wallet| wallet.challenge.0 = "A".repeat(43)),
    ];
    for (slug, change) in changes {
        let mut wallet = world.wallet();
        change(&mut wallet);
        if slug == "invalid-challenge" {
            let (id, echo) = &wallet.challenge;
            wallet.payment.nonce = charge::nonces(id, &echo.realm)[0];
        }
        assert_eq!(world.stale(&wallet.sign(resource())), slug);
    }
    let mut silent = world.wallet();
    silent.source = None;
    assert!(world.pays(&silent.sign(resource())));
}

#[test]
fn what_was_signed_for_the_second_token_is_its_payers_when_the_price_is_another() {
    let second = Token { contract: "0x5FbDB2315678afecb367f032d93F642f64180aa3".parse().unwrap(), ..usdc() };
    let mut world = world();
    let charge = EvmCharge::new(second.clone(), SELLER.parse().unwrap(), Arc::clone(&world.settler) as _);
    world.rail.methods.push(Arc::new(charge));
    let offer = world.rail.offer(&asked(20_000, None), &resource()).headers.remove(1).value;
    let mut wallet = Wallet::faced_with(&offer);
    wallet.payment.token = second;
    let (key, credential) = (wallet.payment.claim_key(), wallet.sign(resource()));
    assert!(world.pays(&credential));
    let later = now(world.rail.verify(&terms(30_000), Some(&credential))).unwrap();
    assert_eq!(later.claim.map(|claim| claim.key), Some(key));
    assert!(later.lapsed.unwrap().starts_with("invalid-challenge: "));
}

#[test]
fn a_challenge_that_a_client_wrote_itself_is_nobodys() {
    let world = world();
    let changes: [&dyn Fn(&mut Challenge); 6] = [
        &|echo| echo.expires = Some("2099-01-01T00:00:00Z".to_owned()),
        &|echo| echo.expires = None,
        &|echo| echo.realm = "gw.example:1".to_owned(),
        &|echo| echo.request = "e30".to_owned(),
        &|echo| echo.opaque = None,
        &|echo| echo.header = CredentialHeader::PaymentAuthorization.parameter(),
    ];
    for change in changes {
        let mut wallet = world.wallet();
        change(&mut wallet.challenge.1);
        wallet.payment.nonce = charge::nonces(&wallet.challenge.0, &wallet.challenge.1.realm)[0];
        assert_eq!(world.stale(&wallet.sign(resource())), "invalid-challenge");
    }
}

#[test]
fn a_challenge_ends_and_one_of_an_older_secret_is_still_ours() {
    let world = world();
    let (early, late) = (world.wallet().sign(resource()), world.wallet().sign(resource()));
    world.secrets.replace(secrets(&[2, 1]));
    assert!(world.pays(&early));
    world.hands.set(START_S + 300);
    assert!(world.pays(&late));
    world.hands.set(START_S + 301);
    assert_eq!(world.stale(&late), "payment-expired");
    world.hands.set(START_S + 300 + LIVES_S);
    assert_eq!(world.stale(&late), "payment-expired");
    world.hands.set(START_S);
    world.secrets.replace(secrets(&[2]));
    assert_eq!(world.stale(&late), "invalid-challenge");
}

#[test]
fn what_is_nobodys_is_refused_by_its_kind() {
    let world = world();
    let refused = |bytes: &[u8]| {
        let credential =
            Credential { rail: Mpp::NAME.to_owned(), bytes: bytes.to_vec(), resource: resource() };
        match now(world.rail.verify(&terms(20_000), Some(&credential))) {
            Err(HoldError::Refused(reason)) => reason.split_once(": ").unwrap().0.to_owned(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(b"dGhpcyBpcyBnYXJiYWdl"), "malformed-credential");
    assert_eq!(refused(&[0xff]), "malformed-credential");
    let changed = |from: &str, to: &str| {
        let text = String::from_utf8(world.wallet().sign(resource()).bytes).unwrap();
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
        assert!(text.contains(from));
        refused(URL_SAFE_NO_PAD.encode(text.replace(from, to)).as_bytes())
    };
    assert_eq!(changed("\"evm\"", "\"solana\""), "method-unsupported");
    assert_eq!(changed("\"charge\"", "\"session\""), "method-unsupported");
    assert_eq!(changed("\"authorization\"", "\"permit2\""), "malformed-credential");
    assert_eq!(changed("\"20000\"", "\"1\""), "verification-failed");
    assert_eq!(now(world.rail.verify(&terms(20_000), None)), Err(HoldError::Required));
}

#[test]
fn a_402_names_its_problem_and_a_receipt_is_only_for_what_was_taken() {
    let world = world();
    let offer = world.rail.offer(&asked(20_000, Some("payment-expired: too late")), &resource());
    assert_eq!(offer.members["type"], "https://paymentauth.org/problems/payment-expired");
    assert_eq!(offer.headers.len(), 1);
    let bare = world.rail.offer(&asked(20_000, None), &resource());
    assert_eq!(bare.members["type"], "https://paymentauth.org/problems/payment-required");
    assert!(world.rail.offer(&asked(20_000, Some("invalid_payload")), &resource()).members.is_empty());

    let wallet = world.wallet();
    let id = wallet.challenge.0.clone();
    let state = now(world.rail.verify(&terms(20_000), Some(&wallet.sign(resource())))).unwrap().state;
    let settled = |state: SettlementState, reference, kept| Settled {
        amount: cents(20_000),
        state,
        reference,
        kept,
        at: UnixMs(START_S * 1000),
    };
    let told = world.rail.tell(&settled(SettlementState::Captured, Some("0xabc"), &state));
    assert_eq!(told[0].name, "payment-receipt");
    let plain = Receipt::new("evm", UnixMs(START_S * 1000), "0xabc");
    let mut named = plain.clone();
    named.challenge_id = Some(id);
    assert_eq!(Receipt::read(&told[0].value), Ok(named));
    // What an earlier release has kept names no challenge.
    let at = state.iter().position(|byte| *byte == b'{').unwrap();
    let told = world.rail.tell(&settled(SettlementState::Captured, Some("0xabc"), &state[at..]));
    assert_eq!(Receipt::read(&told[0].value), Ok(plain));
    for other in [SettlementState::Pending, SettlementState::Unpaid, SettlementState::Released] {
        assert!(world.rail.tell(&settled(other, Some("0xabc"), &state)).is_empty());
    }
    let lost = now(world.rail.capture(cents(20_000), b"{}"));
    assert!(matches!(lost, Err(CaptureError::Failed(_))));
}

#[test]
fn a_realm_is_a_host() {
    for (url, host) in [
        ("https://gw.example/a", "gw.example"),
        ("http://127.0.0.1:5091", "127.0.0.1"),
        ("http://[::1]:80/x", "[::1]"),
        ("https://u:p@gw.example:1/a", "gw.example"),
        ("https://a|b/", "execgate"),
        ("", "execgate"),
    ] {
        assert_eq!(realm(url), host, "{url}");
    }
}

proptest! {
    #[test]
    fn no_credential_breaks_the_rail(bytes in any::<Vec<u8>>(), url in any::<String>()) {
        let world = world();
        let resource = Resource { url, ..resource() };
        let credential = Credential { rail: Mpp::NAME.to_owned(), bytes, resource: resource.clone() };
        prop_assert!(now(world.rail.verify(&terms(20_000), Some(&credential))).is_err());
        let offer = world.rail.offer(&asked(20_000, None), &resource);
        prop_assert!(Challenge::read_all(&offer.headers[0].value).is_ok());
        prop_assert!(find([offer.headers[0].value.as_str()]).is_ok());
    }
}

/// Counts where others draw.
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        let drawn = self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        buffer[..drawn.len()].copy_from_slice(&drawn);
    }
}

#[test]
fn two_who_ask_for_the_same_at_once_are_given_two_challenges_and_both_pay() {
    let World { rail, hands, secrets, settler } = world();
    let rail = rail.drawing(Arc::new(Counting(AtomicU64::new(0))));
    let world = World { rail, hands, secrets, settler };
    let (one, two) = (world.wallet(), world.wallet());
    assert_ne!(one.challenge.0, two.challenge.0);
    assert_ne!(one.payment.nonce, two.payment.nonce);
    let other = Resource { url: "https://gw.example:8443/api/code-run-pro".to_owned(), ..resource() };
    assert_eq!(world.stale(&world.wallet().sign(other)), "invalid-challenge");
    let mut forged = world.wallet();
    forged.challenge.1.opaque = world.wallet().challenge.1.opaque;
    assert_eq!(world.stale(&forged.sign(resource())), "invalid-challenge", "what was drawn is bound");
    assert!(world.pays(&one.sign(resource())) && world.pays(&two.sign(resource())));
}

#[test]
fn a_realm_of_the_operator_s_and_another_time_are_in_the_challenge_and_a_402_and_a_receipt_name_it() {
    let World { rail, hands, secrets, settler } = world();
    let rail = rail.with_realm(Some("pay.example".to_owned())).with_pay_within_s(30);
    let world = World { rail, hands, secrets, settler };
    let told = world.rail.offer(&asked(20_000, None), &resource());
    let (id, challenge) = Challenge::read_all(&told.headers[0].value).unwrap().remove(0);
    assert_eq!(
        (challenge.realm.as_str(), told.members["challengeId"].as_str()),
        ("pay.example", Some(id.as_str()))
    );
    let ends_ms = instant::read(challenge.expires.as_ref().unwrap()).unwrap().0;
    assert_eq!(ends_ms, (START_S + LIVES_S + 30) * 1000);
    let paid = now(world.rail.verify(&terms(20_000), Some(&world.wallet().sign(resource())))).unwrap();
    let settled = Settled {
        amount: cents(20_000),
        state: SettlementState::Captured,
        reference: Some("0xab"),
        kept: &paid.state,
        at: UnixMs(0),
    };
    let receipt = Receipt::read(&world.rail.tell(&settled)[0].value).unwrap();
    assert_eq!(receipt.challenge_id, Some(id));
    // Without a scheme of its own to name the realm, the host does.
    let named = |realm: &str| is_realm(realm);
    assert!(named("api.example.com:8443") && named("[::1]") && !named("a b") && !named("") && !named("a|b"));
}
