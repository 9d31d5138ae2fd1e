//! The gateway's own keys: made, put in force, retired. Every change here needs a second reader.
//!
//! The record says which keys there are, and which of them signs: the newest of its purpose that is not retired. The
//! secrets are behind a port and never come through here. A secret is durable before the record names its key, so that
//! a crash between the two leaves a secret that signs nothing, and never a key that nobody can sign with.

use core::error::Error;
use std::sync::Arc;

use execgate_model::{Clock, Entropy, KeyPurpose, UnixMs};
use execgate_receipt::{
    KeyId, KeyName, KeyRing, KeyState, NoteAlgorithm, RingKey, Timestamp, VerifierKey, VerifyingKey,
};
use execgate_store::{Change, KeyAdded, KeyRetired, OwnKey, Retirement, Store};
use serde_json::json;
use tokio::task::spawn_blocking;

use super::said::said;
use super::{AdministerError, By};

/// How long a key stays that signed before: gateways of the same record sign with the new one by then.
const TAKEN_UP_MS: u64 = 10_000;

/// Why the secrets did not do what they were asked for. Paths may stand in the source, and secrets never.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct SafeError {
    /// What cannot be had.
    pub what: String,
    /// Why.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

/// Where the secrets are. It may wait for a disk.
pub trait KeySafe: Send + Sync {
    /// The key of a purpose from before the record knew of keys, or else a new one.
    ///
    /// # Errors
    /// [`SafeError`].
    fn first(&self, purpose: KeyPurpose) -> Result<VerifyingKey, SafeError>;

    /// Makes a key. Its secret is durable when this returns.
    ///
    /// # Errors
    /// [`SafeError`].
    fn mint(&self, purpose: KeyPurpose) -> Result<VerifyingKey, SafeError>;

    /// Has the keys of the record that are not retired sign from now on: of the receipt keys the last, of the log keys
    /// all.
    ///
    /// # Errors
    /// [`SafeError`] where the secret of one that must sign is not there.
    fn take_up(&self, keys: &[OwnKey]) -> Result<(), SafeError>;

    /// Puts the ring of all public keys where readers on this machine find it.
    ///
    /// # Errors
    /// [`SafeError`].
    fn publish(&self, ring: &str) -> Result<(), SafeError>;

    /// Destroys the secret of a key that is retired.
    ///
    /// # Errors
    /// [`SafeError`].
    fn destroy(&self, purpose: KeyPurpose, key: &VerifyingKey) -> Result<(), SafeError>;
}

/// The keys of one record.
#[derive(Clone)]
pub struct Keyring {
    /// The record.
    pub store: Arc<dyn Store>,
    /// The secrets.
    pub safe: Arc<dyn KeySafe>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Salts.
    pub entropy: Arc<dyn Entropy>,
}

impl Keyring {
    /// Sees to it that there is a key of each purpose, and has them sign. Of two processes that do so at once for the
    /// first time, both go on with what came first.
    ///
    /// # Errors
    /// [`AdministerError`] where the record fails, or a secret that it asks for is not there.
    pub async fn open(&self, by: &By) -> Result<(), AdministerError> {
        for purpose in KeyPurpose::ALL {
            if !self.store.own_keys().await?.iter().any(|key| key.purpose == purpose) {
                let key = self.ask_safe(move |safe| safe.first(purpose)).await?;
                self.add(by, purpose, &key).await?;
            }
        }
        // A crash may have come between the retirement of a key and the end of its secret.
        for own in self.store.own_keys().await?.into_iter().filter(|own| own.retired.is_some()) {
            let key = VerifyingKey::from_bytes(&own.public).map_err(|_| unreadable(&own))?;
            self.ask_safe(move |safe| safe.destroy(own.purpose, &key)).await?;
        }
        self.take_up().await
    }

    /// Has those keys sign that the record says.
    ///
    /// # Errors
    /// [`AdministerError`] as for [`Keyring::open`].
    pub async fn look(&self) -> Result<(), AdministerError> {
        let mut keys = self.store.own_keys().await?;
        keys.retain(|key| key.retired.is_none());
        self.ask_safe(move |safe| safe.take_up(&keys)).await
    }

    /// Has the right keys sign, and tells readers on this machine of all of them.
    async fn take_up(&self) -> Result<(), AdministerError> {
        self.look().await?;
        self.publish().await
    }

    /// Tells readers on this machine of all keys, and of the names of the log: to be done again when it has another.
    ///
    /// # Errors
    /// [`AdministerError`] where the record fails, or the ring cannot be written.
    pub async fn publish(&self) -> Result<(), AdministerError> {
        let unwritten = |error| SafeError {
            what: "the key ring could not be written".to_owned(),
            source: Some(Box::new(error)),
        };
        let ring = self.ring().await?.to_json().map_err(unwritten)?;
        self.ask_safe(move |safe| safe.publish(&ring)).await
    }

    /// Every key, as it is published.
    ///
    /// # Errors
    /// [`AdministerError`] where the record fails.
    pub async fn ring(&self) -> Result<KeyRing, AdministerError> {
        ring(&self.store.own_keys().await?, &log_names(&*self.store).await?)
    }

    /// Makes a new key of a purpose, which signs from now on. Those before it still count.
    ///
    /// # Errors
    /// [`AdministerError`] says why it does not.
    pub async fn rotate(&self, by: &By, purpose: KeyPurpose) -> Result<RingKey, AdministerError> {
        ask_operator(by)?;
        let key = self.ask_safe(move |safe| safe.mint(purpose)).await?;
        match self.add(by, purpose, &key).await? {
            KeyAdded::Done | KeyAdded::Known => {}
            KeyAdded::Full => return Err(AdministerError::KeysFull),
        }
        self.take_up().await?;
        self.find(purpose, &key).await
    }

    /// Retires a key for ever. What it signed counts where it stood in the log before.
    ///
    /// # Errors
    /// [`AdministerError`] says why it stands.
    pub async fn retire(&self, by: &By, id: KeyId) -> Result<RingKey, AdministerError> {
        ask_operator(by)?;
        let ring = self.ring().await?;
        let key = ring.keys().iter().find(|key| key.key.key_id() == id);
        let key = key.ok_or(AdministerError::NoOwnKey(id))?;
        let (purpose, public) = (key.purpose, key.key.clone());
        let now = self.clock.now();
        self.ask_overlap(&ring, key, now)?;
        let change = self.said(by, "key-retired", purpose, &public, now)?;
        match self.store.retire_own_key(purpose, *public.as_bytes(), change).await? {
            KeyRetired::Done(_) => {}
            KeyRetired::Missing => return Err(AdministerError::NoOwnKey(id)),
            KeyRetired::Signs => return Err(AdministerError::KeySigns { id, purpose }),
            KeyRetired::Before(Retirement { size, .. }) => {
                return Err(AdministerError::KeyRetired { id, size });
            }
        }
        self.take_up().await?;
        let secret = public.clone();
        if let Err(error) = self.ask_safe(move |safe| safe.destroy(purpose, &secret)).await {
            // It is retired all the same; what lies there signs nothing that counts.
            tracing::warn!(key = %id, %error, "the secret of a retired key could not be destroyed");
        }
        self.find(purpose, &public).await
    }

    async fn add(
        &self,
        by: &By,
        purpose: KeyPurpose,
        key: &VerifyingKey,
    ) -> Result<KeyAdded, AdministerError> {
        let added = self.clock.now();
        let own = OwnKey { purpose, public: *key.as_bytes(), added, retired: None };
        let change = self.said(by, "key-added", purpose, key, added)?;
        Ok(self.store.add_own_key(own, change).await?)
    }

    fn said(
        &self,
        by: &By,
        change: &str,
        purpose: KeyPurpose,
        key: &VerifyingKey,
        at: UnixMs,
    ) -> Result<Change, AdministerError> {
        let about = json!({"purpose": purpose, "key": key.key_id(), "public_key": key.to_spki_pem().ok()});
        said(by, change, &about, at, &*self.entropy)
    }

    /// The one that signed before must not be retired while another gateway may still sign with it.
    fn ask_overlap(&self, ring: &KeyRing, key: &RingKey, now: UnixMs) -> Result<(), AdministerError> {
        let active = ring.keys().iter().rfind(|other| {
            other.purpose == key.purpose && other.state == KeyState::Active && other.key != key.key
        });
        let since = active.map_or(0, |active| active.added.unix_ms().0).saturating_add(TAKEN_UP_MS);
        if key.state == KeyState::Accepted && now.0 < since {
            let seconds = since.saturating_sub(now.0).div_ceil(1_000);
            return Err(AdministerError::KeyTooNew { id: key.key.key_id(), seconds });
        }
        Ok(())
    }

    async fn find(&self, purpose: KeyPurpose, public: &VerifyingKey) -> Result<RingKey, AdministerError> {
        let ring = self.ring().await?;
        let found = ring.keys().iter().find(|key| key.purpose == purpose && key.key == *public);
        found.cloned().ok_or(AdministerError::NoOwnKey(public.key_id()))
    }

    async fn ask_safe<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn KeySafe) -> Result<T, SafeError> + Send + 'static,
    ) -> Result<T, AdministerError> {
        let safe = Arc::clone(&self.safe);
        let asked = spawn_blocking(move || ask(&*safe)).await;
        let lost = |_| SafeError { what: "the keys could not be reached".to_owned(), source: None };
        Ok(asked.map_err(lost).flatten()?)
    }
}

/// The names that the log of a record has had, oldest first.
///
/// # Errors
/// [`AdministerError`] where the record fails, or one of them is none.
pub async fn log_names(store: &dyn Store) -> Result<Vec<KeyName>, AdministerError> {
    let names = store.log_epochs().await?.into_iter().map(|epoch| epoch.origin.parse::<KeyName>());
    let unreadable = |error| SafeError {
        what: "a name of the log cannot be read".to_owned(),
        source: Some(Box::new(error)),
    };
    Ok(names.collect::<Result<_, _>>().map_err(unreadable)?)
}

/// The ring of the keys of a record, whose log has had these names.
///
/// # Errors
/// [`AdministerError`] where one of them cannot be read.
pub fn ring(keys: &[OwnKey], names: &[KeyName]) -> Result<KeyRing, AdministerError> {
    let signs = |key: &OwnKey| {
        let newest = keys.iter().rfind(|other| other.purpose == key.purpose && other.retired.is_none());
        newest == Some(key)
    };
    let state = |key: &OwnKey| match key.retired {
        Some(Retirement { at, size }) => {
            Timestamp::new(at).map(|at| KeyState::Retired { at, size }).map_err(|_| unreadable(key))
        }
        None if signs(key) => Ok(KeyState::Active),
        None => Ok(KeyState::Accepted),
    };
    let keys = keys.iter().map(|key| ring_key(key, state(key)?, names)).collect::<Result<_, _>>()?;
    Ok(KeyRing::new(keys))
}

/// What everything that is signed hangs on, no key of a grant may change.
const fn ask_operator(by: &By) -> Result<(), AdministerError> {
    match by {
        By::Operator { .. } => Ok(()),
        By::Grant(_) => Err(AdministerError::OperatorOnly {
            rule: "operator-only/keys",
            what: "changing the gateway's own keys",
        }),
    }
}

fn ring_key(own: &OwnKey, state: KeyState, names: &[KeyName]) -> Result<RingKey, AdministerError> {
    let key = VerifyingKey::from_bytes(&own.public).map_err(|_| unreadable(own))?;
    let names = if own.purpose == KeyPurpose::Log { names } else { &[] };
    let mut earlier: Vec<_> = names
        .iter()
        .map(|name| VerifierKey::new(name.clone(), NoteAlgorithm::Ed25519, key.clone()))
        .collect();
    let verifier = earlier.pop();
    let added = Timestamp::new(own.added).map_err(|_| unreadable(own))?;
    Ok(RingKey { purpose: own.purpose, key, verifier, earlier, state, added })
}

fn unreadable(own: &OwnKey) -> AdministerError {
    let what = format!("a {} key of the record cannot be read", own.purpose.as_str());
    SafeError { what, source: None }.into()
}
