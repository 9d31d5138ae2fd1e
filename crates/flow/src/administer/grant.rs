//! What a grant is to be, and what of it is the operator's alone to say (CONTRACTS 6). Every change here needs a second
//! reader.

use std::collections::{BTreeMap, BTreeSet};

use execgate_model::{Entropy, GrantId, Role, TenantId, UnixMs};
use execgate_receipt::{Timestamp, sha256};
use execgate_store::Grant;
use serde_json::{Value, json};

use super::{AdministerError, By, End, label, text, wallet};
use crate::authorise::{GrantKey, OwnRules, OwnRulesError};

/// Labels, wallets, of one grant at the most.
const LIST_MAX: usize = 16;

/// A grant that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGrant {
    /// Whose it is, in the operator's words.
    pub name: String,
    /// The tenant of its holder; none: the gateway's own.
    pub tenant: Option<TenantId>,
    /// What its holder may do.
    pub roles: BTreeSet<Role>,
    /// What rules and people can tell it by.
    pub labels: BTreeMap<String, String>,
    /// Its holder does not pay.
    pub internal: bool,
    /// What its sessions may share.
    pub isolation: Option<String>,
    /// The wallets that its holder pays from (CAIP-10).
    pub wallets: Vec<String>,
    /// When it ends.
    pub expires: Option<End>,
    /// Rules of its own beside the gateway's, the text of a policy file.
    pub policy: Option<String>,
}

impl NewGrant {
    /// The grant of a key, made now.
    pub(super) fn into_grant(
        self,
        key: &GrantKey,
        tenant: &TenantId,
        now: UnixMs,
    ) -> Result<Grant, AdministerError> {
        let bad = |field| move |what| AdministerError::BadGrant { field, what };
        text(&self.name).map_err(bad("name"))?;
        if self.labels.len() > LIST_MAX || self.wallets.len() > LIST_MAX {
            let what = format!("a grant has at most {LIST_MAX} labels and {LIST_MAX} wallets");
            return Err(bad("labels")(what));
        }
        for (name, value) in &self.labels {
            let read = label(&format!("{name}={value}")).map_err(bad("labels"))?;
            if read.0 != *name {
                return Err(bad("labels")("the name of a label has no `=`".to_owned()));
            }
        }
        for account in &self.wallets {
            wallet(account).map_err(bad("wallets"))?;
        }
        if let Some(domain) = &self.isolation {
            text(domain).map_err(bad("isolation"))?;
        }
        rules(self.policy.as_deref())?;
        let expires = self.expires.map(|end| end.moment(now));
        if expires.is_some_and(|expires| expires <= now) {
            return Err(bad("expires")("the end of the grant is not in the future".to_owned()));
        }
        Ok(Grant {
            id: key.id().clone(),
            name: self.name,
            tenant: self.tenant.unwrap_or_else(|| tenant.clone()),
            labels: self.labels,
            roles: self.roles,
            internal: self.internal,
            isolation: self.isolation,
            wallets: self.wallets,
            expires,
            created: now,
            revoked: None,
            key: key.digest(),
            old_key: None,
            last_used: None,
            policy: self.policy,
        })
    }
}

/// Refuses rules that would be refused when they are asked.
pub(super) fn rules(text: Option<&str>) -> Result<(), AdministerError> {
    let bad = |error: OwnRulesError| AdministerError::BadGrant { field: "policy", what: error.to_string() };
    text.map(OwnRules::read).transpose().map(drop).map_err(bad)
}

/// Refuses to let a key change rules that ask for an approval or set a price, or give such: nobody frees itself of either
/// through a key of the administration.
pub(super) fn ask_operator_of_rules(by: &By, rules: Option<&str>) -> Result<(), AdministerError> {
    let By::Grant(_) = by else { return Ok(()) };
    // What cannot be read may say anything.
    let frees_nobody = |text| OwnRules::read(text).is_ok_and(|rules| !rules.policy().asks_or_prices());
    if rules.is_none_or(frees_nobody) {
        return Ok(());
    }
    Err(AdministerError::OperatorOnly {
        rule: "operator-only/rules",
        what: "a grant's rules about approvals and prices",
    })
}

/// What a leaf says of rules: which they are, by their text.
pub(super) fn about_rules(text: Option<&str>) -> Value {
    json!(text.map(|text| sha256(text.as_bytes())))
}

/// Refuses to hand the holder of a key what only the operator gives: a grant that does not pay, or one that approves.
/// So nobody comes by the like through a key of the administration, be it a new grant or a new key of an old one.
pub(super) fn ask_operator(by: &By, grant: &Grant) -> Result<(), AdministerError> {
    match by {
        By::Operator { .. } => Ok(()),
        By::Grant(_) if grant.internal => Err(AdministerError::OperatorOnly {
            rule: "operator-only/internal",
            what: "a key of a grant that does not pay",
        }),
        By::Grant(_) if grant.roles.contains(&Role::Approver) => Err(AdministerError::OperatorOnly {
            rule: "operator-only/approver",
            what: "a key of a grant that approves",
        }),
        By::Grant(_) => Ok(()),
    }
}

/// A new id: random, so that ids of deleted records never come again.
pub(super) fn new_id(entropy: &dyn Entropy) -> Result<GrantId, AdministerError> {
    let bytes = entropy.sixteen();
    let digits: String = bytes.iter().take(ID_BYTES).map(|byte| format!("{byte:02x}")).collect();
    GrantId::new(format!("g{digits}"))
        .map_err(|error| AdministerError::BadGrant { field: "id", what: error.to_string() })
}

/// Random bytes of an id, in hexadecimal.
const ID_BYTES: usize = 8;

/// What a leaf says of a grant: everything that its holder can do, and which key it has by its digest.
pub(super) fn about(grant: &Grant) -> Value {
    let time = |at: UnixMs| Timestamp::new(at).ok();
    json!({
        "grant": grant.id,
        "name": grant.name,
        "tenant": grant.tenant,
        "roles": grant.roles,
        "labels": grant.labels,
        "internal": grant.internal,
        "isolation": grant.isolation,
        "wallets": grant.wallets,
        "expires_at": grant.expires.and_then(time),
        "key": grant.key,
        "policy": about_rules(grant.policy.as_deref()),
    })
}
