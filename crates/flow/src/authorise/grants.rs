//! Who holds which grant: the keys that callers show, held against the record. Every change here needs a second reader.
//!
//! All standing grants are in memory. What was read at most [`FRESH_US`] ago is taken for true; after that one number is
//! read from the record, and the grants only if it has changed. So a flood of wrong keys costs the record ten small reads
//! a second, and a revoked grant is refused [`FRESH_US`] after the revocation was answered, at the latest. Where the
//! record cannot be read, nobody is recognised.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use execgate_model::{Caller, Clock, Digest, GrantId, Identity, Role, UnixMs};
use execgate_store::{Grant, Store, StoreError};
use subtle::ConstantTimeEq as _;
use tokio::sync::Mutex as Turn;

use super::{GrantKey, OwnRules, Uses};

/// How long what was read of grants is taken for true, in microseconds.
const FRESH_US: u64 = 100_000;

/// What a key is held against where there is none. No key that anybody can find has it.
const NO_DIGEST: Digest = Digest::from_bytes([0; 32]);

/// Why a key opens nothing.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No standing grant has it. That a grant was revoked is not told apart.
    #[error("this key is of no grant")]
    Unknown,
    /// It was right, and its grant is past its time.
    #[error("the grant of this key has expired")]
    Expired,
    /// It was right until a new key took its place.
    #[error("this key was replaced by a newer one")]
    Replaced,
    /// Nobody can tell.
    #[error("the grants cannot be read")]
    Record(#[source] StoreError),
    /// The grant has rules of its own that cannot be read, so that nothing may pass.
    #[error("the rules of this grant cannot be read")]
    Rules,
}

/// Somebody who has shown the key of a grant. Only [`Grants`] makes one.
#[derive(Debug, Clone)]
pub struct Holder(Arc<Grant>);

impl Holder {
    /// The grant.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.0
    }

    /// The holder as a caller.
    #[must_use]
    pub fn caller(&self) -> Caller {
        let identity = Identity::Grant {
            id: self.0.id.clone(),
            internal: self.0.internal,
            labels: Arc::new(self.0.labels.clone()),
        };
        Caller { tenant: self.0.tenant.clone(), identity }
    }

    /// Whether the grant has a role.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.0.roles.contains(&role)
    }
}

/// A grant, and its own rules once somebody has asked for them.
struct Standing {
    grant: Arc<Grant>,
    own: OnceLock<Option<Arc<OwnRules>>>,
}

impl Standing {
    /// What was compiled is taken over where the text is the same.
    fn new(grant: Grant, before: Option<&Self>) -> Self {
        let same = before.filter(|before| before.grant.policy == grant.policy);
        let own = same.map(|before| before.own.clone()).unwrap_or_default();
        Self { grant: Arc::new(grant), own }
    }

    /// The rules, compiled the first time. The inner none: there is a text, and it cannot be read.
    fn own(&self) -> Option<Option<Arc<OwnRules>>> {
        let text = self.grant.policy.as_ref()?;
        let read = || match OwnRules::read(text) {
            Ok(rules) => Some(Arc::new(rules)),
            Err(error) => {
                tracing::error!(grant = %self.grant.id, %error, "the rules of a grant are wrong: it is refused");
                None
            }
        };
        Some(self.own.get_or_init(read).clone())
    }
}

type Standings = Arc<HashMap<GrantId, Arc<Standing>>>;

/// What was read of the record.
struct Seen {
    at_us: u64,
    /// Whether it is not to be taken for true any more, however fresh.
    is_stale: bool,
    changes: u64,
    grants: Standings,
}

/// The grants of a record, as one process sees them.
pub struct Grants {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    seen: Mutex<Option<Seen>>,
    reading: Turn<()>,
    uses: Uses,
}

impl Grants {
    /// The grants of a record. Nothing is read before somebody shows a key.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        let uses = Uses::new(Arc::clone(&store));
        Self { store, clock, seen: Mutex::new(None), reading: Turn::new(()), uses }
    }

    /// Tells who shows a key. The work is the same for a wrong secret and for a grant that is not there.
    ///
    /// # Errors
    /// [`KeyError`] says more than "unknown" only to those whose key was right once.
    pub async fn recognise(&self, key: &GrantKey) -> Result<Holder, KeyError> {
        let shown = key.digest();
        let standing = self.standing().await?;
        let grant = standing.get(key.id()).map(|standing| &standing.grant);
        let old = grant.and_then(|grant| grant.old_key);
        let is_new = matches(grant.map(|grant| grant.key), shown);
        let is_old = matches(old.map(|old| old.digest), shown);
        let Some(grant) = grant.filter(|_| is_new | is_old) else { return Err(KeyError::Unknown) };
        let now = self.clock.now();
        if is_past(grant.expires, now) {
            return Err(KeyError::Expired);
        }
        if !is_new && is_past(old.map(|old| old.expires), now) {
            return Err(KeyError::Replaced);
        }
        self.uses.note(&grant.id, now);
        Ok(Holder(Arc::clone(grant)))
    }

    /// Takes nothing of what was read for true any more: something has changed just now.
    pub async fn look_again(&self) {
        // Whoever reads now may have read what was before.
        let _turn = self.reading.lock().await;
        if let Some(seen) = self.lock().as_mut() {
            seen.is_stale = true;
        }
    }

    /// The rules of a caller's own grant, where it has some, as the grant stands now. A caller without a grant has none.
    ///
    /// # Errors
    /// [`KeyError`] where the grant does not stand any more, or its rules cannot be read.
    pub async fn own_rules(&self, caller: &Caller) -> Result<Option<Arc<OwnRules>>, KeyError> {
        let Identity::Grant { id, .. } = &caller.identity else { return Ok(None) };
        let grants = self.standing().await?;
        let standing = grants.get(id).ok_or(KeyError::Unknown)?;
        if is_past(standing.grant.expires, self.clock.now()) {
            return Err(KeyError::Expired);
        }
        match standing.own() {
            None => Ok(None),
            Some(rules) => rules.map(Some).ok_or(KeyError::Rules),
        }
    }

    /// A caller as its grant stands now, with the labels of today; one without a grant is what it was.
    ///
    /// # Errors
    /// [`KeyError`] where the grant does not stand any more.
    pub async fn as_of_now(&self, caller: &Caller) -> Result<Caller, KeyError> {
        let Identity::Grant { id, .. } = &caller.identity else { return Ok(caller.clone()) };
        let grants = self.standing().await?;
        let grant = &grants.get(id).ok_or(KeyError::Unknown)?.grant;
        if is_past(grant.expires, self.clock.now()) {
            return Err(KeyError::Expired);
        }
        Ok(Holder(Arc::clone(grant)).caller())
    }

    async fn standing(&self) -> Result<Standings, KeyError> {
        if let Some(grants) = self.fresh() {
            return Ok(grants);
        }
        // One reads, and all who come meanwhile take what it has read.
        let _turn = self.reading.lock().await;
        if let Some(grants) = self.fresh() {
            return Ok(grants);
        }
        let at_us = self.clock.monotonic_us();
        let changes = self.store.grant_changes().await.map_err(KeyError::Record)?;
        if let Some(seen) = self.lock().as_mut().filter(|seen| seen.changes == changes) {
            (seen.at_us, seen.is_stale) = (at_us, false);
            return Ok(Arc::clone(&seen.grants));
        }
        let read = self.store.standing_grants().await.map_err(KeyError::Record)?;
        let before = self.lock().as_ref().map(|seen| Arc::clone(&seen.grants)).unwrap_or_default();
        let by_id = |grant: Grant| {
            let id = grant.id.clone();
            let standing = Standing::new(grant, before.get(&id).map(AsRef::as_ref));
            (id, Arc::new(standing))
        };
        let grants: Standings = Arc::new(read.grants.into_iter().map(by_id).collect());
        *self.lock() =
            Some(Seen { at_us, is_stale: false, changes: read.changes, grants: Arc::clone(&grants) });
        Ok(grants)
    }

    fn fresh(&self) -> Option<Standings> {
        let now_us = self.clock.monotonic_us();
        let seen = self.lock();
        let seen =
            seen.as_ref().filter(|seen| !seen.is_stale && now_us.saturating_sub(seen.at_us) < FRESH_US);
        seen.map(|seen| Arc::clone(&seen.grants))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compares in a time that says nothing of where two digests differ, or whether there was one.
fn matches(kept: Option<Digest>, shown: Digest) -> bool {
    let same = kept.unwrap_or(NO_DIGEST).as_bytes().ct_eq(shown.as_bytes());
    bool::from(same) & kept.is_some()
}

fn is_past(expires: Option<UnixMs>, now: UnixMs) -> bool {
    expires.is_some_and(|expires| expires <= now)
}
