//! The key ring: every public key that a gateway has ever signed with, and how far each counts.
//!
//! A retired key may be anybody's by now. So a receipt under it must never count by its signature alone: it does with
//! proof that its leaf stood in the log before the key was retired. Read on in `verify`, which judges the receipt.

use execgate_model::{Digest, KeyPurpose};
use serde::{Deserialize, Serialize};

use crate::file::ReceiptFile;
use crate::key::{KeyError, KeyId, VerifyingKey};
use crate::note::{NoteAlgorithm, VerifierKey, VerifierKeyError};
use crate::strict::{StrictError, parse_strict};
use crate::time::Timestamp;
use crate::verified::Verified;
use crate::verify::{VerifyError, verify};

/// How many keys a ring may hold.
pub const MAX_RING_KEYS: usize = 1_000;

/// The version of the document.
const VERSION: u32 = 1;

/// Why a document is no ring, or a receipt does not count under one.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The document is no strict JSON.
    #[error("the key ring is not strict JSON")]
    Json(#[source] StrictError),
    /// A field is missing, or not of its form.
    #[error("the key ring is not of its form")]
    Form(#[source] serde_json::Error),
    /// The document is of a version that this reader does not know.
    #[error("the key ring is not of version 1")]
    Version,
    /// There are more than [`MAX_RING_KEYS`] keys.
    #[error("the key ring holds more than {max} keys")]
    TooMany {
        /// The bound.
        max: usize,
    },
    /// The public key of an entry cannot be read.
    #[error("the key ring holds a public key that cannot be read")]
    Key(#[source] KeyError),
    /// The verifier key of an entry cannot be read.
    #[error("the key ring holds a verifier key that cannot be read")]
    VerifierKey(#[source] VerifierKeyError),
    /// The parts of an entry contradict each other.
    #[error("what the key ring says of the key {key_id} contradicts itself")]
    Contradiction {
        /// The id that the entry names.
        key_id: KeyId,
    },
    /// The receipt itself is not good.
    #[error(transparent)]
    Receipt(#[from] VerifyError),
    /// The proof is about another leaf.
    #[error("the inclusion proof is not about this receipt")]
    OtherLeaf,
    /// The key is retired, and nothing proves that the receipt is older.
    #[error(
        "the key {key_id} was retired at size {size} of the log: the receipt counts with an inclusion proof only"
    )]
    Unproven {
        /// The key that signed.
        key_id: KeyId,
        /// How many leaves the log had.
        size: u64,
    },
    /// The key was retired before the receipt came into the log.
    #[error(
        "the key {key_id} was retired at size {size} of the log, and the receipt stands at {index}: it does not count"
    )]
    Retired {
        /// The key that signed.
        key_id: KeyId,
        /// How many leaves the log had.
        size: u64,
        /// Where the receipt's leaf stands, from 0.
        index: u64,
    },
}

/// How far a key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It signs.
    Active,
    /// Another signs in its place; what it has signed counts.
    Accepted,
    /// Only what stood in the log before it was retired counts.
    Retired {
        /// When.
        at: Timestamp,
        /// How many leaves the log had then: a leaf counts whose index, from 0, is below.
        size: u64,
    },
}

impl KeyState {
    /// The state in one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Accepted => "accepted",
            Self::Retired { .. } => "retired",
        }
    }
}

/// One key of a ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingKey {
    /// What it signs.
    pub purpose: KeyPurpose,
    /// The public half.
    pub key: VerifyingKey,
    /// The key as readers of notes know it: with the name of the log. None for a receipt key, and before the log has
    /// a name.
    pub verifier: Option<VerifierKey>,
    /// The same with the names that the log had before, oldest first: proofs that were made then name them.
    pub earlier: Vec<VerifierKey>,
    /// How far it counts.
    pub state: KeyState,
    /// Since when there is an entry for it.
    pub added: Timestamp,
}

impl RingKey {
    /// The key under every name of the log, the newest first.
    fn verifiers(&self) -> impl Iterator<Item = &VerifierKey> {
        self.verifier.iter().chain(&self.earlier)
    }
}

/// An inclusion proof that held: this leaf stands there in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Included {
    /// The leaf ([`Verified::leaf`]).
    pub leaf: Digest,
    /// Where it stands, from 0.
    pub index: u64,
}

/// Every key of a gateway, as its operator publishes them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyRing {
    keys: Vec<RingKey>,
}

impl KeyRing {
    /// A ring of keys.
    #[must_use]
    pub const fn new(keys: Vec<RingKey>) -> Self {
        Self { keys }
    }

    /// The keys, in the order in which they were added.
    #[must_use]
    pub fn keys(&self) -> &[RingKey] {
        &self.keys
    }

    /// Checks a receipt file under the keys of this ring.
    ///
    /// `included` is needed where the key that signed is retired, and is checked wherever it is given.
    ///
    /// # Errors
    /// [`RingError`] says why the receipt does not count.
    pub fn verify(&self, file: &ReceiptFile, included: Option<Included>) -> Result<Verified, RingError> {
        let verified = verify(file, &self.receipt_keys())?;
        self.judge(&verified, included)?;
        Ok(verified)
    }

    /// The receipt keys, whether they count or not: what they say of a receipt is to be judged.
    #[must_use]
    pub fn receipt_keys(&self) -> Vec<VerifyingKey> {
        self.of_receipts().map(|key| key.key.clone()).collect()
    }

    /// The keys of the log that count, under every name that it has had.
    #[must_use]
    pub fn log_keys(&self) -> Vec<VerifierKey> {
        let counts = |key: &&RingKey| !matches!(key.state, KeyState::Retired { .. });
        self.keys.iter().filter(counts).flat_map(RingKey::verifiers).cloned().collect()
    }

    /// The keys of the log that are retired, under every name, each with how many leaves the log had then. Whoever has one
    /// by now can sign whatever tree they like, also a smaller one: alone it proves nothing.
    #[must_use]
    pub fn retired_log_keys(&self) -> Vec<(VerifierKey, u64)> {
        let mut retired = Vec::new();
        for key in &self.keys {
            if let KeyState::Retired { size, .. } = key.state {
                retired.extend(key.verifiers().map(|verifier| (verifier.clone(), size)));
            }
        }
        retired
    }

    /// Says whether a receipt counts that was verified under [`KeyRing::receipt_keys`].
    ///
    /// # Errors
    /// [`RingError::OtherLeaf`], [`RingError::Unproven`] and [`RingError::Retired`].
    pub fn judge(&self, verified: &Verified, included: Option<Included>) -> Result<(), RingError> {
        if included.is_some_and(|included| included.leaf != verified.leaf()) {
            return Err(RingError::OtherLeaf);
        }
        let key_id = verified.key_id();
        // Two keys may share an id by somebody's labour; the one that is retired decides.
        let retired =
            self.of_receipts().filter(|key| key.key.key_id() == key_id).find_map(|key| match key.state {
                KeyState::Retired { size, .. } => Some(size),
                KeyState::Active | KeyState::Accepted => None,
            });
        match (retired, included) {
            (None, _) => Ok(()),
            (Some(size), Some(Included { index, .. })) if index < size => Ok(()),
            (Some(size), Some(Included { index, .. })) => Err(RingError::Retired { key_id, size, index }),
            (Some(size), None) => Err(RingError::Unproven { key_id, size }),
        }
    }

    fn of_receipts(&self) -> impl Iterator<Item = &RingKey> {
        self.keys.iter().filter(|key| key.purpose == KeyPurpose::Receipt)
    }

    /// Reads a published ring.
    ///
    /// # Errors
    /// [`RingError`] says what is wrong with it.
    pub fn from_json(bytes: &[u8]) -> Result<Self, RingError> {
        let value = parse_strict(bytes).map_err(RingError::Json)?;
        if value.get("version").and_then(serde_json::Value::as_u64) != Some(VERSION.into()) {
            return Err(RingError::Version);
        }
        let wire: WireRing = serde_json::from_value(value).map_err(RingError::Form)?;
        if wire.keys.len() > MAX_RING_KEYS {
            return Err(RingError::TooMany { max: MAX_RING_KEYS });
        }
        let keys = wire.keys.into_iter().map(WireKey::into_key).collect::<Result<_, _>>()?;
        Ok(Self { keys })
    }

    /// Writes the ring as it is published.
    ///
    /// # Errors
    /// [`RingError::Key`] and [`RingError::Form`].
    pub fn to_json(&self) -> Result<String, RingError> {
        let keys = self.keys.iter().map(WireKey::of).collect::<Result<_, _>>()?;
        serde_json::to_string(&WireRing { version: VERSION, keys }).map_err(RingError::Form)
    }
}

/// The document. Readers pass over fields that they do not know.
#[derive(Serialize, Deserialize)]
struct WireRing {
    version: u32,
    keys: Vec<WireKey>,
}

#[derive(Serialize, Deserialize)]
struct WireKey {
    purpose: KeyPurpose,
    key_id: KeyId,
    state: String,
    public_key: String,
    verifier_key: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier_verifier_keys: Vec<String>,
    added_at: Timestamp,
    retired_at: Option<Timestamp>,
    retired_size: Option<u64>,
}

impl WireKey {
    fn of(key: &RingKey) -> Result<Self, RingError> {
        let retired = match key.state {
            KeyState::Retired { at, size } => Some((at, size)),
            KeyState::Active | KeyState::Accepted => None,
        };
        Ok(Self {
            purpose: key.purpose,
            key_id: key.key.key_id(),
            state: key.state.as_str().to_owned(),
            public_key: key.key.to_spki_pem().map_err(RingError::Key)?,
            verifier_key: key.verifier.as_ref().map(ToString::to_string),
            earlier_verifier_keys: key.earlier.iter().map(ToString::to_string).collect(),
            added_at: key.added,
            retired_at: retired.map(|(at, _)| at),
            retired_size: retired.map(|(_, size)| size),
        })
    }

    fn into_key(self) -> Result<RingKey, RingError> {
        let key = VerifyingKey::from_spki_pem(&self.public_key).map_err(RingError::Key)?;
        let contradiction = RingError::Contradiction { key_id: self.key_id };
        if self.earlier_verifier_keys.len() > MAX_RING_KEYS {
            return Err(RingError::TooMany { max: MAX_RING_KEYS });
        }
        let texts = self.verifier_key.iter().chain(&self.earlier_verifier_keys);
        let mut verifiers: Vec<VerifierKey> =
            texts.map(|text| text.parse()).collect::<Result<_, _>>().map_err(RingError::VerifierKey)?;
        let same =
            |verifier: &VerifierKey| *verifier.key() == key && verifier.algorithm() == NoteAlgorithm::Ed25519;
        let fits = verifiers.iter().all(same) && (verifiers.is_empty() || self.purpose == KeyPurpose::Log);
        // There are no earlier names without a newest one.
        if key.key_id() != self.key_id || !fits || (self.verifier_key.is_none() && !verifiers.is_empty()) {
            return Err(contradiction);
        }
        let verifier = (!verifiers.is_empty()).then(|| verifiers.remove(0));
        let state = match (self.state.as_str(), self.retired_at, self.retired_size) {
            ("active", None, None) => KeyState::Active,
            ("accepted", None, None) => KeyState::Accepted,
            ("retired", Some(at), Some(size)) => KeyState::Retired { at, size },
            _ => return Err(contradiction),
        };
        Ok(RingKey { purpose: self.purpose, key, verifier, earlier: verifiers, state, added: self.added_at })
    }
}

#[cfg(test)]
mod tests {
    use execgate_model::{KeyPurpose, UnixMs};
    use serde_json::{Value, json};

    use super::{Included, KeyRing, KeyState, RingError, RingKey};
    use crate::digest::sha256;
    use crate::file::ReceiptFile;
    use crate::key::{SigningKey, VerifyingKey};
    use crate::note::{NoteKey, VerifierKey};
    use crate::time::Timestamp;
    use crate::verify::verify;

    const RECEIPT: &[u8] = include_bytes!("../tests/data/receipt-v1.json");
    const PUBLIC: &str = include_str!("../tests/data/receipt-v1.pub.pem");

    fn at() -> Timestamp {
        Timestamp::new(UnixMs(1_800_000_000_000)).unwrap()
    }

    fn receipt_key(state: KeyState) -> RingKey {
        let key = VerifyingKey::from_spki_pem(PUBLIC).unwrap();
        RingKey { purpose: KeyPurpose::Receipt, key, verifier: None, earlier: Vec::new(), state, added: at() }
    }

    fn named(origin: &str) -> VerifierKey {
        NoteKey::new(origin.parse().unwrap(), SigningKey::from_seed(&[7; 32])).verifier().clone()
    }

    fn log_key() -> RingKey {
        let verifier = named("example.com/log");
        let key = verifier.key().clone();
        RingKey {
            purpose: KeyPurpose::Log,
            key,
            verifier: Some(verifier),
            earlier: vec![named("example.com/before")],
            state: KeyState::Active,
            added: at(),
        }
    }

    #[test]
    fn a_ring_reads_back_what_it_writes() {
        let retired = KeyState::Retired { at: at(), size: 9 };
        for state in [KeyState::Active, KeyState::Accepted, retired] {
            let ring = KeyRing::new(vec![receipt_key(state), log_key()]);
            assert_eq!(KeyRing::from_json(ring.to_json().unwrap().as_bytes()).unwrap(), ring);
        }
    }

    #[test]
    fn a_receipt_under_a_retired_key_counts_only_with_inclusion_before_the_retiring_size() {
        let file = ReceiptFile::from_json(RECEIPT).unwrap();
        let leaf = verify(&file, &[VerifyingKey::from_spki_pem(PUBLIC).unwrap()]).unwrap().leaf();
        let included = |index| Some(Included { leaf, index });
        let standing = KeyRing::new(vec![receipt_key(KeyState::Accepted)]);
        assert!(standing.verify(&file, None).is_ok() && standing.verify(&file, included(99)).is_ok());
        let retired = KeyRing::new(vec![receipt_key(KeyState::Retired { at: at(), size: 9 })]);
        assert!(matches!(retired.verify(&file, None), Err(RingError::Unproven { size: 9, .. })));
        assert!(retired.verify(&file, included(8)).is_ok());
        let late = retired.verify(&file, included(9));
        assert!(matches!(late, Err(RingError::Retired { size: 9, index: 9, .. })));
        let other = Some(Included { leaf: sha256(b"another"), index: 1 });
        assert!(matches!(retired.verify(&file, other), Err(RingError::OtherLeaf)));
        assert!(matches!(standing.verify(&file, other), Err(RingError::OtherLeaf)));
    }

    #[test]
    fn a_log_key_counts_under_every_name_that_the_log_has_had_until_it_is_retired() {
        let both = vec![named("example.com/log"), named("example.com/before")];
        let standing = KeyRing::new(vec![receipt_key(KeyState::Active), log_key()]);
        assert_eq!((standing.log_keys(), standing.retired_log_keys()), (both.clone(), vec![]));
        let retired = RingKey { state: KeyState::Retired { at: at(), size: 9 }, ..log_key() };
        let retired = KeyRing::new(vec![retired]);
        let with_size = both.into_iter().map(|key| (key, 9)).collect();
        assert_eq!((retired.log_keys(), retired.retired_log_keys()), (vec![], with_size));
    }

    #[test]
    fn a_log_key_signs_no_receipt() {
        let file = ReceiptFile::from_json(RECEIPT).unwrap();
        let key = RingKey { purpose: KeyPurpose::Log, ..receipt_key(KeyState::Active) };
        let refused = KeyRing::new(vec![key]).verify(&file, None);
        assert!(matches!(refused, Err(RingError::Receipt(_))));
    }

    #[test]
    fn a_ring_that_contradicts_itself_is_refused() {
        let ring = KeyRing::new(vec![receipt_key(KeyState::Active), log_key()]).to_json().unwrap();
        let with = |pointer: &str, value: Value| {
            let mut ring: Value = serde_json::from_str(&ring).unwrap();
            *ring.pointer_mut(pointer).unwrap() = value;
            KeyRing::from_json(ring.to_string().as_bytes())
        };
        let log: Value = serde_json::from_str::<Value>(&ring).unwrap()["keys"][1].clone();
        for (pointer, value) in [
            ("/keys/0/state", json!("retired")),
            ("/keys/0/state", json!("trusted")),
            ("/keys/0/retired_size", json!(3)),
            ("/keys/0/key_id", json!("0000000000000000")),
            ("/keys/0/public_key", log["public_key"].clone()),
            ("/keys/0/verifier_key", log["verifier_key"].clone()),
            ("/keys/1/purpose", json!("receipt")),
            ("/keys/1/verifier_key", json!(null)),
        ] {
            let refused = with(pointer, value.clone());
            assert!(
                matches!(refused, Err(RingError::Contradiction { .. })),
                "{pointer} {value}: {refused:?}"
            );
        }
        assert!(matches!(with("/version", json!(2)), Err(RingError::Version)));
        assert!(matches!(with("/keys", json!({})), Err(RingError::Form(_))));
        assert!(matches!(KeyRing::from_json(b"{}"), Err(RingError::Version)));
        assert!(matches!(KeyRing::from_json(b"{\"a\":1,\"a\":2}"), Err(RingError::Json(_))));
    }
}
