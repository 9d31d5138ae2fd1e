//! What can be administered. Every change here needs a second reader.

use core::time::Duration;
use std::sync::Arc;

use execgate_model::{Clock, Entropy, GrantId, RunId, Stage, TenantId};
use execgate_receipt::{KeyName, Timestamp};
use execgate_store::{Changed, Grant, Granted, NewKey, Record, Store, StoreError};
use serde_json::json;

use super::grant::{about, about_rules, ask_operator, ask_operator_of_rules, new_id, rules};
use super::said::said;
use super::{AdministerError, By, End, Keyring, NewGrant};
use crate::authorise::{GrantKey, Grants};
use crate::log::Log;
use crate::witness::Witness;

/// The administration of one record.
pub struct Administer {
    /// The record.
    pub store: Arc<dyn Store>,
    /// The grants as this process sees them: what is changed here is seen here at once.
    pub grants: Arc<Grants>,
    /// The tenant of grants that name none.
    pub tenant: TenantId,
    /// Who signs what became of a run; none where the receipt key is not at hand.
    pub witness: Option<Witness>,
    /// The log; none where its key is not at hand.
    pub log: Option<Arc<Log>>,
    /// The gateway's own keys; none where they are not at hand.
    pub keyring: Option<Keyring>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Keys, ids and salts.
    pub entropy: Arc<dyn Entropy>,
}

/// A grant and its new key, which is told this once.
#[derive(Debug)]
pub struct Keyed {
    /// The grant.
    pub grant: Grant,
    /// Its key.
    pub key: GrantKey,
}

/// A revoked grant.
#[derive(Debug)]
pub struct Revoked {
    /// The grant.
    pub grant: Grant,
    /// False where it was revoked before.
    pub now: bool,
}

impl Administer {
    /// Makes a grant.
    ///
    /// # Errors
    /// [`AdministerError`] says why there is none.
    pub async fn create(&self, by: &By, new: NewGrant) -> Result<Keyed, AdministerError> {
        let now = self.clock.now();
        let key = GrantKey::mint(new_id(&*self.entropy)?, &*self.entropy);
        let grant = new.into_grant(&key, &self.tenant, now)?;
        ask_operator(by, &grant)?;
        ask_operator_of_rules(by, grant.policy.as_deref())?;
        let change = said(by, "grant-created", &about(&grant), now, &*self.entropy)?;
        match self.store.add_grant(grant.clone(), change).await? {
            Granted::Made => {
                self.grants.look_again().await;
                Ok(Keyed { grant, key })
            }
            Granted::Taken => Err(AdministerError::Taken(grant.id)),
            Granted::Full => Err(AdministerError::Full),
        }
    }

    /// Gives a grant a new key; the one before is taken for so long.
    ///
    /// # Errors
    /// [`AdministerError`] says why it has none.
    pub async fn rotate(&self, by: &By, id: GrantId, overlap: Duration) -> Result<Keyed, AdministerError> {
        let now = self.clock.now();
        ask_operator(by, &self.grant(&id).await?)?;
        let key = GrantKey::mint(id.clone(), &*self.entropy);
        let old_expires = End::After(overlap).moment(now);
        let told = json!({
            "grant": id,
            "key": key.digest(),
            "old_key_until": Timestamp::new(old_expires).ok(),
        });
        let change = said(by, "grant-rotated", &told, now, &*self.entropy)?;
        let new = NewKey { digest: key.digest(), old_expires };
        match self.store.rotate_grant(id.clone(), new, change).await? {
            Changed::Done => {
                self.grants.look_again().await;
                Ok(Keyed { grant: self.grant(&id).await?, key })
            }
            Changed::Missing => Err(AdministerError::NoGrant(id)),
            Changed::Revoked => Err(AdministerError::Revoked(id)),
        }
    }

    /// Gives a grant rules of its own, the text of a policy file, or takes them away.
    ///
    /// # Errors
    /// [`AdministerError`] says why it has what it had.
    pub async fn set_policy(
        &self,
        by: &By,
        id: GrantId,
        policy: Option<String>,
    ) -> Result<Grant, AdministerError> {
        rules(policy.as_deref())?;
        let before = self.grant(&id).await?;
        ask_operator(by, &before)?;
        ask_operator_of_rules(by, before.policy.as_deref())?;
        ask_operator_of_rules(by, policy.as_deref())?;
        let told = json!({"grant": id, "policy": about_rules(policy.as_deref())});
        let change = said(by, "grant-policy-set", &told, self.clock.now(), &*self.entropy)?;
        match self.store.set_grant_policy(id.clone(), policy, change).await? {
            Changed::Done => {
                self.grants.look_again().await;
                self.grant(&id).await
            }
            Changed::Missing => Err(AdministerError::NoGrant(id)),
            Changed::Revoked => Err(AdministerError::Revoked(id)),
        }
    }

    /// Revokes a grant for ever.
    ///
    /// # Errors
    /// [`AdministerError`] says why it stands.
    pub async fn revoke(&self, by: &By, id: GrantId) -> Result<Revoked, AdministerError> {
        let now = self.clock.now();
        let change = said(by, "grant-revoked", &json!({"grant": id}), now, &*self.entropy)?;
        let changed = self.store.revoke_grant(id.clone(), now, change).await?;
        self.grants.look_again().await;
        match changed {
            Changed::Missing => Err(AdministerError::NoGrant(id)),
            Changed::Done => Ok(Revoked { grant: self.grant(&id).await?, now: true }),
            Changed::Revoked => Ok(Revoked { grant: self.grant(&id).await?, now: false }),
        }
    }

    /// One grant, revoked or not.
    ///
    /// # Errors
    /// [`AdministerError::NoGrant`], or a record that failed.
    pub async fn grant(&self, id: &GrantId) -> Result<Grant, AdministerError> {
        self.store.grant(id.clone()).await?.ok_or_else(|| AdministerError::NoGrant(id.clone()))
    }

    /// Pauses or resumes all claims; false where that is so already.
    ///
    /// # Errors
    /// A record that failed.
    pub async fn pause(&self, by: &By, paused: bool) -> Result<bool, AdministerError> {
        let word = if paused { "paused" } else { "resumed" };
        let change = said(by, word, &json!({}), self.clock.now(), &*self.entropy)?;
        Ok(self.store.set_paused(paused, change).await?)
    }

    /// Says what became of a run whose end is unknown. Beside the leaf of the signed statement one says who said it.
    ///
    /// # Errors
    /// [`AdministerError`] says why nothing is to be said of it.
    pub async fn resolve(&self, by: &By, run: RunId, note: &str) -> Result<Record, AdministerError> {
        let record = self.run(run).await?;
        if record.stage != Stage::Unknown {
            return Err(AdministerError::Known { run, stage: record.stage.as_str() });
        }
        let witness = self.witness.as_ref().ok_or(AdministerError::NoKey)?;
        let change = said(by, "run-resolved", &json!({"run": run}), self.clock.now(), &*self.entropy)?;
        let said = || witness.resolve(&record, note).map_err(AdministerError::Statement);
        let mut resolved = self.store.resolve(said()?, change.clone()).await;
        if let (Err(StoreError::KeyRetired), Some(keyring)) = (&resolved, &self.keyring) {
            keyring.look().await?;
            resolved = self.store.resolve(said()?, change).await;
        }
        if resolved? { self.run(run).await } else { Err(AdministerError::Resolved(run)) }
    }

    /// Gives the log a new name, and with it the record as it is a new beginning: what was signed under the names before
    /// stays true of the record that it was signed for. Returns the name.
    ///
    /// # Errors
    /// [`AdministerError`] says why it keeps the name that it has.
    pub async fn new_origin(&self, by: &By, origin: Option<String>) -> Result<String, AdministerError> {
        let By::Operator { .. } = by else {
            let what = "a new name of the log";
            return Err(AdministerError::OperatorOnly { rule: "operator-only/log", what });
        };
        let log = self.log.as_ref().ok_or(AdministerError::NoLog)?;
        if let Some(fault) = log.fault().filter(|fault| !fault.is_of_the_outside()) {
            return Err(AdministerError::LogDamaged(fault));
        }
        let now = self.clock.now();
        let origin = origin.unwrap_or_else(|| log.next_origin(now));
        let named: KeyName = origin.parse().map_err(|_| AdministerError::LogName)?;
        let epochs = self.store.log_epochs().await?;
        if epochs.iter().any(|epoch| epoch.origin == named.as_str()) {
            return Err(AdministerError::LogNamed(origin));
        }
        // A record that was restored has forgotten names, too.
        if let Some(place) = log.seen_name(&origin).await.map_err(AdministerError::Log)? {
            return Err(AdministerError::LogNameSeen { origin, place });
        }
        let told = json!({
            "origin": origin,
            "before": epochs.last().map(|epoch| &epoch.origin),
            "because": log.fault().map(|fault| fault.to_string()),
        });
        let change = said(by, "log-new-origin", &told, now, &*self.entropy)?;
        let after = epochs.last().map_or(0, |epoch| epoch.number);
        if !log.rename(after, &origin, change).await.map_err(AdministerError::Log)? {
            return Err(AdministerError::LogNamed(origin));
        }
        if let Some(keyring) = &self.keyring {
            keyring.publish().await?;
        }
        Ok(origin)
    }

    /// The gateway's own keys.
    ///
    /// # Errors
    /// [`AdministerError::NoKey`] where they are not at hand.
    pub fn keyring(&self) -> Result<&Keyring, AdministerError> {
        self.keyring.as_ref().ok_or(AdministerError::NoKey)
    }

    /// One run.
    ///
    /// # Errors
    /// [`AdministerError::NoRun`], or a record that failed.
    pub async fn run(&self, run: RunId) -> Result<Record, AdministerError> {
        self.store.run(run).await?.ok_or(AdministerError::NoRun(run))
    }
}
