//! Grants: the standing of identified callers, as the record keeps it. No key is here, only what checks one.

use std::collections::{BTreeMap, BTreeSet};

use execgate_model::{Digest, GrantId, Role, TenantId, UnixMs};

/// Grants that are not revoked, at most: a gateway holds all of them in memory.
pub const GRANTS_MAX: u32 = 10_000;

/// Bytes of a grant's own rules, at most: all grants are read into memory together.
pub const GRANT_POLICY_BYTES_MAX: usize = 8 * 1_024;

/// A key that was replaced and is still taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldKey {
    /// What checks it.
    pub digest: Digest,
    /// From when on it is refused.
    pub expires: UnixMs,
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its id, never used again.
    pub id: GrantId,
    /// Whose it is, in the operator's words.
    pub name: String,
    /// The tenant that its holder belongs to.
    pub tenant: TenantId,
    /// What else the operator says of it.
    pub labels: BTreeMap<String, String>,
    /// What its holder may do.
    pub roles: BTreeSet<Role>,
    /// True where its holder does not pay.
    pub internal: bool,
    /// Runs of one domain may share an isolation; those of two never do. None: the tenant's.
    pub isolation: Option<String>,
    /// The wallets that its holder pays from (CAIP-10).
    pub wallets: Vec<String>,
    /// From when on it is refused.
    pub expires: Option<UnixMs>,
    /// When it was made.
    pub created: UnixMs,
    /// When it was revoked.
    pub revoked: Option<UnixMs>,
    /// What checks its key: SHA-256 over the key, whose 32 random bytes nobody can search.
    pub key: Digest,
    /// The key before, while both are taken.
    pub old_key: Option<OldKey>,
    /// When it was last seen, to the minute.
    pub last_used: Option<UnixMs>,
    /// Its own rules, the text of a policy file of at most [`GRANT_POLICY_BYTES_MAX`] bytes.
    pub policy: Option<String>,
}

/// A new key for a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewKey {
    /// What checks it.
    pub digest: Digest,
    /// Until when the one before is taken too. One that was before that one is not taken any more.
    pub old_expires: UnixMs,
}

/// The answer to a new grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granted {
    /// It is recorded.
    Made,
    /// There is, or was, one of this id.
    Taken,
    /// There are [`GRANTS_MAX`] already.
    Full,
}

/// The answer to a change of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It is changed.
    Done,
    /// There is no such grant.
    Missing,
    /// It is revoked already, which nothing takes back.
    Revoked,
}

/// The grants that are not revoked, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// How many changes were made before. As long as this number stands, so do the grants.
    pub changes: u64,
    /// The grants. When they were last used may be out of date.
    pub grants: Vec<Grant>,
}
