//! Who asks, and within what scope a nonce of theirs is unique.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{GrantId, TenantId};

/// What an operator has called a caller: `env` is `ci`, and the like.
pub type Labels = BTreeMap<String, String>;

/// The labels of a caller that has none.
pub static NO_LABELS: Labels = Labels::new();

/// How the caller was identified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Identity {
    /// Somebody on this machine, in free mode on loopback. All of them are one caller.
    Local,
    /// Nobody in particular.
    Anonymous,
    /// The holder of a session secret that an earlier answer returned.
    Session {
        /// The public half of the session.
        id: String,
        /// Whether it begins with this very request. Asked of a living caller alone.
        #[serde(skip)]
        is_new: bool,
    },
    /// The holder of a grant's key.
    Grant {
        /// Which grant.
        id: GrantId,
        /// True for an internal grant, which does not pay.
        internal: bool,
        /// What the operator has called its holder. Asked of a living caller alone: the record keeps the grant's.
        #[serde(skip)]
        labels: Arc<Labels>,
    },
    /// Whoever proved to hold a wallet's key.
    Wallet {
        /// The wallet, in the normal form of its chain (CAIP-10).
        account: String,
    },
    /// The bearer of an access token of an operator's authorization server. It always pays: no token says otherwise.
    Subject {
        /// The server, by its own name for itself (`iss`): printable ASCII without a space.
        issuer: String,
        /// Whom it has named (`sub`): one line of printable ASCII.
        subject: String,
        /// What the operator's configuration takes over of the token. Asked of a living caller alone.
        #[serde(skip)]
        labels: Arc<Labels>,
    },
}

/// An identified (or anonymous) caller within a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The tenant that the caller belongs to.
    pub tenant: TenantId,
    /// How the caller was identified.
    pub identity: Identity,
}

/// Where a nonce is unique: `(tenant, grant | wallet | subject | session | local)` (CONTRACTS 2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope(String);

impl Scope {
    /// The text that is hashed and stored. It cannot be ambiguous: its parts hold no line break.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Caller {
    /// The scope of this caller's nonces; an anonymous caller without a session has none, and so no replay.
    #[must_use]
    pub fn scope(&self) -> Option<Scope> {
        let who = match &self.identity {
            Identity::Local => "local".to_owned(),
            Identity::Anonymous => return None,
            Identity::Session { id, .. } => format!("session\n{id}"),
            Identity::Grant { id, .. } => format!("grant\n{id}"),
            Identity::Wallet { account } => format!("wallet\n{account}"),
            Identity::Subject { issuer, subject, .. } => format!("subject\n{issuer}\n{subject}"),
        };
        Some(Scope(format!("{}\n{who}", self.tenant)))
    }

    /// Whether it proved to be one that does not pay. What a request says of itself never counts.
    #[must_use]
    pub const fn is_internal(&self) -> bool {
        matches!(self.identity, Identity::Grant { internal: true, .. })
    }

    /// Whether it is known who asks: a session is anybody who has kept a secret of ours.
    #[must_use]
    pub const fn is_identified(&self) -> bool {
        match self.identity {
            Identity::Local | Identity::Grant { .. } | Identity::Wallet { .. } | Identity::Subject { .. } => {
                true
            }
            Identity::Anonymous | Identity::Session { .. } => false,
        }
    }

    /// Whether nothing that it has shown would make it the same caller again.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        matches!(self.identity, Identity::Anonymous | Identity::Session { is_new: true, .. })
    }

    /// What the operator has called this caller.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        match &self.identity {
            Identity::Grant { labels, .. } | Identity::Subject { labels, .. } => labels,
            Identity::Local | Identity::Anonymous | Identity::Session { .. } | Identity::Wallet { .. } => {
                &NO_LABELS
            }
        }
    }

    /// The caller as one word for logs and listings.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.identity {
            Identity::Local => "local".to_owned(),
            Identity::Anonymous => "anonymous".to_owned(),
            Identity::Session { id, .. } => format!("session:{id}"),
            Identity::Grant { id, .. } => format!("grant:{id}"),
            Identity::Wallet { account } => format!("wallet:{account}"),
            Identity::Subject { issuer, subject, .. } => format!("subject:{issuer} {subject}"),
        }
    }
}
