//! What every handler of the administration door shares.

use std::sync::Arc;

use execgate_flow::authorise::Grants;
use execgate_model::{Clock, Digest, TenantId};
use execgate_store::Store;

use crate::body::Bodies;
use crate::doors::DoorRules;

/// What the administration of a gateway is made of.
pub struct OfficeParts {
    /// The version of the binary.
    pub version: &'static str,
    /// The record.
    pub store: Arc<dyn Store>,
    /// Which record it is, for whoever means another: a digest of its URL.
    pub record: Digest,
    /// The grants as this process sees them.
    pub grants: Arc<Grants>,
    /// The tenant of the gateway itself.
    pub tenant: TenantId,
    /// Whose process this is: with root the only one that the socket lets in.
    pub operator_uid: u32,
    /// Host names beside `localhost` and addresses.
    pub hosts: Vec<String>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The administration of one gateway, as its handlers see it.
pub struct Office {
    pub(crate) parts: OfficeParts,
    pub(crate) doors: DoorRules,
    #[expect(dead_code, reason = "for what is changed by a body")]
    pub(crate) bodies: Bodies,
}

impl Office {
    /// An administration of these parts.
    #[must_use]
    pub fn new(parts: OfficeParts) -> Self {
        let doors = DoorRules { hosts: parts.hosts.clone(), ..DoorRules::default() };
        Self { parts, doors, bodies: Bodies::default() }
    }
}
