//! Grants, written as a test thinks of them.

use std::collections::{BTreeMap, BTreeSet};

use execgate_flow::authorise::GrantKey;
use execgate_model::{Clock as _, Digest, GrantId, Role, UnixMs};
use execgate_store::{Change, Changed, Grant, Granted, Leaf, LeafKind, NewKey};
use serde_json::Value;

use crate::World;

/// A grant of a caller in the tenant of every world.
///
/// # Panics
/// If no grant can have such an id.
#[must_use]
pub fn holder(id: &str) -> Grant {
    Grant {
        id: GrantId::new(id).expect("the id of a grant"),
        name: id.to_owned(),
        tenant: crate::ask::tenant(),
        labels: BTreeMap::new(),
        roles: BTreeSet::from([Role::Caller]),
        internal: false,
        isolation: None,
        wallets: Vec::new(),
        expires: None,
        created: UnixMs(0),
        revoked: None,
        key: Digest::from_bytes([0; 32]),
        old_key: None,
        last_used: None,
        policy: None,
    }
}

/// What is said of a change that a test makes past the administration.
#[must_use]
pub fn change() -> Change {
    let leaf = Leaf { kind: LeafKind::Change, digest: Digest::from_bytes([0; 32]) };
    Change { statement: b"{}".to_vec(), salt: [0; 32], leaf, at: UnixMs(0) }
}

impl World {
    /// Records a grant, and gives its key.
    ///
    /// # Panics
    /// If it cannot be recorded.
    pub async fn give(&self, grant: Grant) -> String {
        let key = GrantKey::mint(grant.id.clone(), self.entropy());
        let made = self.store().add_grant(Grant { key: key.digest(), ..grant }, change()).await;
        assert_eq!(made.expect("a grant can be recorded"), Granted::Made);
        self.see_grants();
        key.expose()
    }

    /// Gives a grant a new key; the one before is taken for so long.
    ///
    /// # Panics
    /// If it cannot be recorded.
    pub async fn rotate(&self, id: &str, overlap_ms: u64) -> String {
        let id = GrantId::new(id).expect("the id of a grant");
        let key = GrantKey::mint(id.clone(), self.entropy());
        let old_expires = UnixMs(self.clock().now().0 + overlap_ms);
        let new = NewKey { digest: key.digest(), old_expires };
        self.store().rotate_grant(id, new, change()).await.expect("a key can be rotated");
        self.see_grants();
        key.expose()
    }

    /// Gives a grant rules of its own, or takes them away.
    ///
    /// # Panics
    /// If it cannot be recorded.
    pub async fn rule(&self, id: &str, policy: Option<Value>) {
        let id = GrantId::new(id).expect("the id of a grant");
        let policy = policy.map(|policy| policy.to_string());
        let changed = self.store().set_grant_policy(id, policy, change()).await;
        assert_eq!(changed.expect("rules can be recorded"), Changed::Done);
        self.see_grants();
    }

    /// Turns the clock on until what was changed of grants is seen.
    pub fn see_grants(&self) {
        self.clock().advance_ms(100);
    }
}
