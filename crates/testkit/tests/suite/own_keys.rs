//! The gateway's own keys: adopted, replaced and retired, each with its leaf; and how far what they signed counts.

use core::time::Duration;
use std::sync::{Arc, Mutex};

use execgate_flow::administer::{AdministerError, By, KeySafe, SafeError};
use execgate_model::{GrantId, KeyPurpose};
use execgate_receipt::{
    KeyId, KeyRing, KeyState, ReceiptFile, SigningKey, VerifyingKey, parse_strict, salted,
};
use execgate_store::OwnKey;
use execgate_testkit::{OPERATOR_UID, World, ask, get, temporary_folder, until_idle};

const OPERATOR: By = By::Operator { uid: OPERATOR_UID };

/// Secrets in memory.
#[derive(Default)]
struct Pocket {
    secrets: Mutex<Vec<(KeyPurpose, VerifyingKey)>>,
    signing: Mutex<Vec<VerifyingKey>>,
    published: Mutex<String>,
    /// The receipt key that is there already.
    found: Option<VerifyingKey>,
}

impl Pocket {
    fn make(&self, purpose: KeyPurpose) -> VerifyingKey {
        let mut secrets = self.secrets.lock().unwrap();
        let seed = [u8::try_from(secrets.len()).unwrap() + 100; 32];
        let key = SigningKey::from_seed(&seed).verifying_key();
        secrets.push((purpose, key.clone()));
        key
    }

    fn has(&self, key: &VerifyingKey) -> bool {
        self.secrets.lock().unwrap().iter().any(|(_, secret)| secret == key)
    }
}

impl KeySafe for Pocket {
    fn first(&self, purpose: KeyPurpose) -> Result<VerifyingKey, SafeError> {
        let found = self.found.clone().filter(|_| purpose == KeyPurpose::Receipt);
        Ok(found.unwrap_or_else(|| self.make(purpose)))
    }

    fn mint(&self, purpose: KeyPurpose) -> Result<VerifyingKey, SafeError> {
        Ok(self.make(purpose))
    }

    fn take_up(&self, keys: &[OwnKey]) -> Result<(), SafeError> {
        let keys = keys.iter().map(|key| VerifyingKey::from_bytes(&key.public).unwrap());
        *self.signing.lock().unwrap() = keys.collect();
        Ok(())
    }

    fn publish(&self, ring: &str) -> Result<(), SafeError> {
        ring.clone_into(&mut self.published.lock().unwrap());
        Ok(())
    }

    fn destroy(&self, _purpose: KeyPurpose, key: &VerifyingKey) -> Result<(), SafeError> {
        self.secrets.lock().unwrap().retain(|(_, secret)| secret != key);
        Ok(())
    }
}

fn states(ring: &KeyRing, purpose: KeyPurpose) -> Vec<&'static str> {
    ring.keys().iter().filter(|key| key.purpose == purpose).map(|key| key.state.as_str()).collect()
}

#[tokio::test]
async fn a_record_without_keys_adopts_one_of_each_purpose_once() {
    let world = World::free();
    let pocket = Arc::new(Pocket::default());
    let ring = world.keyring(pocket.clone());
    ring.open(&OPERATOR).await.unwrap();
    ring.open(&OPERATOR).await.unwrap();
    let keys = ring.ring().await.unwrap();
    assert_eq!(states(&keys, KeyPurpose::Receipt), ["active"]);
    assert_eq!(states(&keys, KeyPurpose::Log), ["active"]);
    assert_eq!(world.store().changes(None, 10).await.unwrap().len(), 2);
    assert_eq!(*pocket.published.lock().unwrap(), keys.to_json().unwrap());
}

#[tokio::test]
async fn a_key_that_was_replaced_counts_until_it_is_retired_and_then_only_below_that_size() {
    let world = World::free();
    let pocket = Arc::new(Pocket::default());
    let ring = world.keyring(pocket.clone());
    ring.open(&OPERATOR).await.unwrap();
    let first = ring.ring().await.unwrap().keys()[0].key.clone();
    let refused = ring.retire(&OPERATOR, first.key_id()).await.unwrap_err();
    assert!(matches!(refused, AdministerError::KeySigns { .. }), "{refused:?}");
    let second = ring.rotate(&OPERATOR, KeyPurpose::Receipt).await.unwrap();
    assert_eq!(states(&ring.ring().await.unwrap(), KeyPurpose::Receipt), ["accepted", "active"]);
    assert!(pocket.signing.lock().unwrap().contains(&second.key));

    let refused = ring.retire(&OPERATOR, first.key_id()).await.unwrap_err();
    assert!(matches!(refused, AdministerError::KeyTooNew { seconds: 10, .. }), "{refused:?}");
    world.clock().advance_ms(10_000);
    let retired = ring.retire(&OPERATOR, first.key_id()).await.unwrap();
    // Three keys were added before.
    assert!(matches!(retired.state, KeyState::Retired { size: 3, .. }), "{retired:?}");
    assert!(!pocket.has(&first) && pocket.has(&second.key));
    assert!(!pocket.signing.lock().unwrap().contains(&first));
    let again = ring.retire(&OPERATOR, first.key_id()).await.unwrap_err();
    assert!(matches!(again, AdministerError::KeyRetired { size: 3, .. }), "{again:?}");
    let unknown = SigningKey::from_seed(&[1; 32]).key_id();
    let missing = ring.retire(&OPERATOR, unknown).await.unwrap_err();
    assert!(matches!(missing, AdministerError::NoOwnKey(_)), "{missing:?}");
}

#[tokio::test]
async fn what_is_added_and_retired_leaves_leaves_that_say_which_key() {
    let world = World::free();
    let ring = world.keyring(Arc::new(Pocket::default()));
    ring.open(&OPERATOR).await.unwrap();
    let first = ring.ring().await.unwrap().keys()[0].key.key_id();
    ring.rotate(&OPERATOR, KeyPurpose::Receipt).await.unwrap();
    world.clock().advance_ms(10_000);
    ring.retire(&OPERATOR, first).await.unwrap();
    let changes = world.store().changes(None, 10).await.unwrap();
    let mut said = Vec::new();
    for recorded in changes.iter().rev() {
        assert_eq!(salted(&recorded.change.salt, &recorded.change.statement), recorded.change.leaf.digest);
        let statement = parse_strict(&recorded.change.statement).unwrap();
        let of = |pointer: &str| statement.pointer(pointer).unwrap().as_str().unwrap().to_owned();
        said.push((of("/change"), of("/about/purpose")));
        assert_eq!(of("/by"), "operator:1000");
    }
    let pair = |change: &str, purpose: &str| (change.to_owned(), purpose.to_owned());
    assert_eq!(
        said,
        [
            pair("key-added", "receipt"),
            pair("key-added", "log"),
            pair("key-added", "receipt"),
            pair("key-retired", "receipt")
        ]
    );
    // And what checks the record finds each of them.
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn the_key_of_a_grant_changes_no_key_of_the_gateway() {
    let world = World::free();
    let ring = world.keyring(Arc::new(Pocket::default()));
    ring.open(&OPERATOR).await.unwrap();
    let by = By::Grant(GrantId::new("boss").unwrap());
    let refused = ring.rotate(&by, KeyPurpose::Receipt).await.unwrap_err();
    assert!(
        matches!(refused, AdministerError::OperatorOnly { rule: "operator-only/keys", .. }),
        "{refused:?}"
    );
}

#[tokio::test]
async fn every_public_key_is_published_with_its_state() {
    let world = World::free();
    let ring = world.keyring(Arc::new(Pocket::default()));
    ring.open(&OPERATOR).await.unwrap();
    ring.rotate(&OPERATOR, KeyPurpose::Receipt).await.unwrap();
    let reply = world.http(get("/.well-known/execgate-keys.json")).await;
    assert_eq!(reply.status, 200);
    let published = KeyRing::from_json(reply.json().to_string().as_bytes()).unwrap();
    assert_eq!(published, ring.ring().await.unwrap());
}

/// The id of the key that a run's receipt is signed with.
fn signer(receipt: &[u8]) -> KeyId {
    ReceiptFile::from_json(receipt).unwrap().envelope.signatures[0].keyid
}

#[tokio::test(start_paused = true)]
async fn a_process_that_slept_through_the_end_of_its_key_signs_with_the_next_one() {
    let folder = temporary_folder();
    let before = World::builder().in_folder(folder.path()).open();
    let pocket = Pocket { found: Some(before.key()), ..Pocket::default() };
    let ring = before.keyring(Arc::new(pocket));
    ring.open(&OPERATOR).await.unwrap();
    let next = ring.rotate(&OPERATOR, KeyPurpose::Receipt).await.unwrap().key;
    before.clock().advance_ms(10_000);
    ring.retire(&OPERATOR, before.key().key_id()).await.unwrap();
    before.kill().await;

    let world = World::builder().seed(2).in_turns().in_folder(folder.path()).open();
    let gate = world.gate();
    let walk = tokio::spawn(async move { gate.walk(ask("gives").nonce("n")).await.passage() });
    let turns = world.turns().unwrap();
    let mut refused = false;
    while !walk.is_finished() {
        until_idle().await;
        if turns.waiting() == 0 {
            tokio::time::advance(Duration::from_millis(250)).await;
        } else if turns.go(0) == "finish" && !refused {
            refused = true;
            until_idle().await;
            let seed = SigningKey::from_seed(&[101; 32]);
            assert_eq!((turns.waiting(), seed.verifying_key()), (0, next.clone()), "it was refused");
            world.receipt_key().replace(seed);
        }
    }
    let passage = walk.await.unwrap();
    world.kill().await;
    let world = World::builder().seed(3).in_folder(folder.path()).open();
    let record = world.record(passage.run).await;
    assert_eq!(signer(&record.receipt.unwrap()), next.key_id());
    world.receipt_key().replace(SigningKey::from_seed(&[101; 32]));
    assert_eq!(world.fsck().await.0, []);
}
