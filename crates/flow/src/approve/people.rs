//! Who may approve, as the operator's configuration says, and which callers they are themselves.

use std::collections::BTreeMap;

use execgate_model::{Caller, GrantId, Identity};
use execgate_receipt::approval::{Approver, Approvers, ApproversError};

/// A caller that is the same person as an approver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// Whoever holds the key of a grant.
    Grant(GrantId),
    /// Whom an authorization server has named.
    Subject {
        /// The server.
        issuer: String,
        /// The name.
        subject: String,
    },
    /// Whoever holds the key of a wallet, in the normal form of its chain.
    Wallet(String),
}

impl Holder {
    fn is(&self, caller: &Caller) -> bool {
        match (self, &caller.identity) {
            (Self::Grant(own), Identity::Grant { id, .. }) => own == id,
            (Self::Subject { issuer, subject }, Identity::Subject { issuer: by, subject: name, .. }) => {
                issuer == by && subject == name
            }
            (Self::Wallet(own), Identity::Wallet { account }) => own == account,
            (Self::Grant(_) | Self::Subject { .. } | Self::Wallet(_), _) => false,
        }
    }
}

/// An approver, and what else that person is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Whose signatures count.
    pub approver: Approver,
    /// As whom the same person asks for runs.
    pub asks_as: Vec<Holder>,
}

/// Everybody who may approve.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct People {
    approvers: Approvers,
    /// By person, since a person may have several names and nobody approves what is their own under any of them.
    asks_as: BTreeMap<String, Vec<Holder>>,
}

impl People {
    /// Checks a list.
    ///
    /// # Errors
    /// [`ApproversError`] names the approver.
    pub fn new(people: impl IntoIterator<Item = Person>) -> Result<Self, ApproversError> {
        let mut asks_as: BTreeMap<String, Vec<Holder>> = BTreeMap::new();
        let mut approvers = Vec::new();
        for person in people {
            asks_as.entry(person.approver.person.clone()).or_default().extend(person.asks_as);
            approvers.push(person.approver);
        }
        Ok(Self { approvers: Approvers::new(approvers)?, asks_as })
    }

    /// The approvers and their keys.
    #[must_use]
    pub fn approvers(&self) -> &Approvers {
        &self.approvers
    }

    /// Whether an approver is the caller.
    #[must_use]
    pub fn is_caller(&self, approver: &Approver, caller: &Caller) -> bool {
        self.asks_as.get(&approver.person).is_some_and(|own| own.iter().any(|holder| holder.is(caller)))
    }
}
