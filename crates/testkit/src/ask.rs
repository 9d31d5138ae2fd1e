//! Proposals, written as a test thinks of them.

use std::sync::Arc;

use execgate_flow::propose::fingerprint;
use execgate_model::{
    ActionName, BodyPlace, Caller, Credential, Digest, Effect, Hearsay, Identity, Nonce, Proposal, Resource,
    RunOptions, Surface, TenantId,
};
use serde_json::{Value, json};

use crate::SCRIPTED;

/// A proposal in the making.
#[derive(Debug, Clone)]
pub struct Ask(Proposal);

/// Asks for an action: live, by a local caller, without nonce or payment.
///
/// # Panics
/// If no action can have such a name.
#[must_use]
pub fn ask(action: &str) -> Ask {
    Ask(Proposal {
        surface: Surface::Execute,
        action: ActionName::new(action).expect("a name of an action"),
        payload: json!({}),
        effect: Effect::Live,
        options: RunOptions::default(),
        nonce: None,
        caller: Caller { tenant: tenant(), identity: Identity::Local },
        approval: None,
        credential: None,
        watcher: None,
        place: BodyPlace::default(),
        hearsay: Hearsay::default(),
        peer: None,
    })
}

/// The tenant of every world.
pub(crate) fn tenant() -> TenantId {
    TenantId::new("default").expect("a tenant's name")
}

impl Ask {
    /// With these arguments.
    #[must_use]
    pub fn payload(mut self, payload: Value) -> Self {
        self.0.payload = payload;
        self
    }

    /// With arguments by which the journal names its start.
    #[must_use]
    pub fn mark(self, mark: &str) -> Self {
        self.payload(json!({"mark": mark}))
    }

    /// Under this nonce.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn nonce(mut self, nonce: &str) -> Self {
        self.0.nonce = Some(Nonce::new(nonce).expect("a nonce"));
        self
    }

    /// With a credential of the scripted rail: `claim`, or `claim@payer`.
    #[must_use]
    pub fn pays(self, credential: &str) -> Self {
        self.pays_by(SCRIPTED, credential)
    }

    /// With a credential of some rail.
    #[must_use]
    pub fn pays_by(mut self, rail: &str, credential: &str) -> Self {
        self.0.credential = Some(Credential {
            rail: rail.to_owned(),
            bytes: credential.as_bytes().to_vec(),
            resource: Resource::default(),
        });
        self
    }

    /// With what came as its approval.
    #[must_use]
    pub fn approved_by(mut self, artifact: &Value) -> Self {
        self.0.approval = Some(artifact.to_string());
        self
    }

    /// By the holder of a grant.
    ///
    /// # Panics
    /// If no grant can have such an id.
    #[must_use]
    pub fn by_grant(mut self, id: &str) -> Self {
        let (id, internal) = (id.parse().expect("an id of a grant"), false);
        self.0.caller.identity = Identity::Grant { id, internal, labels: Arc::default() };
        self
    }

    /// A tool of `/exec/*`.
    #[must_use]
    pub fn as_tool(mut self) -> Self {
        self.0.surface = Surface::SecureExec;
        self
    }

    /// What an approver is asked to sign: this request, by its digest.
    ///
    /// # Panics
    /// If it has none.
    #[must_use]
    pub fn digest(&self) -> Digest {
        fingerprint(&self.0).expect("a request with a digest")
    }

    /// Simulated.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.0.effect = Effect::DryRun;
        self
    }

    /// By nobody in particular.
    #[must_use]
    pub fn anonymously(mut self) -> Self {
        self.0.caller.identity = Identity::Anonymous;
        self
    }

    /// By whoever has kept the secret of a session.
    #[must_use]
    pub fn by_session(mut self, id: &str) -> Self {
        self.0.caller.identity = Identity::Session { id: id.to_owned(), is_new: false };
        self
    }

    /// By the holder of a wallet.
    #[must_use]
    pub fn by_wallet(mut self, account: &str) -> Self {
        self.0.caller.identity = Identity::Wallet { account: account.to_owned() };
        self
    }
}

impl From<Ask> for Proposal {
    fn from(ask: Ask) -> Self {
        ask.0
    }
}
