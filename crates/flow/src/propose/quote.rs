//! The room's work: from a proposal to a [`Quote`], which is all that later rooms need to know of it.

use core::mem;
use std::sync::Arc;

use execgate_model::{
    Amount, BodyPlace, Digest, Entropy, Identity, Namespace, Nonce, Proposal, RunId, Scope, Watcher,
};
use execgate_payment::{Flow, PaymentClaim, Terms};
use execgate_receipt::digest_json;
use execgate_store::Parked;
use execgate_tool::{Blocked, Call, Description, Prepared, Registry, Tool, ToolNames};

use super::{Meter, NonceKey, Prices, fingerprint, lives_at_least_s};
use crate::Refusal;

/// A request that could run, and its price. Only this room makes one.
pub struct Quote {
    proposal: Proposal,
    terms: Terms,
    meter: Option<Meter>,
    run: RunId,
    nonce_key: Option<NonceKey>,
    session_nonce: Option<NonceKey>,
    named_by_payment: bool,
    args_digest: Digest,
    reaches_out: bool,
    prepared: Box<dyn Prepared>,
}

impl Quote {
    /// The run that it may become.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.run
    }

    /// The request.
    #[must_use]
    pub fn proposal(&self) -> &Proposal {
        &self.proposal
    }

    /// What is to be paid.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// What its usage comes to, where it is paid by that.
    pub(crate) fn meter(&self) -> Option<Meter> {
        self.meter
    }

    /// The nonce within its scope; none for a request without nonce or scope.
    #[must_use]
    pub fn nonce_key(&self) -> Option<NonceKey> {
        self.nonce_key
    }

    /// The nonce within the session of whoever was known by no more than that, and has paid: its run is its wallet's.
    #[must_use]
    pub(crate) fn session_nonce(&self) -> Option<NonceKey> {
        self.session_nonce
    }

    /// The nonce within the session of its caller, whether that has paid or not; none for whoever is known by more.
    pub(crate) fn in_session(&self) -> Option<NonceKey> {
        self.session_nonce.or_else(|| self.nonce_key.filter(|_| !self.proposal.caller.is_identified()))
    }

    /// The same request, whose caller was known by a session until its batch was paid for.
    pub(crate) fn within(mut self, session: Option<&Scope>) -> Self {
        let named = self.proposal.nonce.as_ref().zip(session);
        self.session_nonce = named.map(|(nonce, scope)| NonceKey::new(scope, nonce));
        self
    }

    /// SHA-256 over the JCS of the payload.
    #[must_use]
    pub fn args_digest(&self) -> Digest {
        self.args_digest
    }

    /// Whether what it runs reaches beyond the gateway and its jails.
    pub(crate) fn reaches_out(&self) -> bool {
        self.reaches_out
    }

    /// Whoever has shown that a payment is theirs is the caller, where it was not known who that is; its name for the call
    /// counts where the request has none. A payment is its own nonce where there is none at all (CONTRACTS 2).
    pub(crate) fn paid_by(&mut self, claim: &PaymentClaim, name: Option<Nonce>) {
        let Proposal { caller, nonce, .. } = &mut self.proposal;
        if !caller.is_identified() {
            let named = nonce.as_ref().zip(caller.scope());
            self.session_nonce = named.map(|(nonce, scope)| NonceKey::new(&scope, nonce));
            caller.identity = Identity::Wallet { account: claim.payer.clone() };
        }
        if nonce.is_none() {
            *nonce = name;
        }
        if let Some((nonce, scope)) = nonce.as_ref().zip(caller.scope()) {
            self.nonce_key = Some(NonceKey::new(&scope, nonce));
            self.run = NonceKey::run(&scope, nonce, self.terms.fingerprint);
        } else {
            self.nonce_key = Some(NonceKey::of_payment(claim.key));
            self.run = NonceKey::payment_run(claim.key, self.terms.fingerprint);
            self.named_by_payment = true;
        }
    }

    /// The same request under the name of the parked run that it was: one without a nonce has drawn a new one.
    pub(crate) fn resume(mut self, parked: Option<&Parked>) -> Result<Self, Refusal> {
        let Some(Parked { record, .. }) = parked else { return Ok(self) };
        if record.fingerprint != self.terms.fingerprint {
            let detail = "what a parked run asks for is not what it was parked for".to_owned();
            return Err(Refusal::Receipt { detail });
        }
        self.run = record.run;
        Ok(self)
    }

    /// The same, to be paid before it starts.
    pub(crate) fn upfront(mut self) -> Self {
        self.terms.flow = Flow::Upfront;
        self.meter = None;
        self
    }

    /// Puts another approval in the place of what it has brought, which is given back.
    pub(crate) fn approve_by(
        &mut self,
        other: impl FnOnce(Option<&str>) -> Option<String>,
    ) -> Option<String> {
        let other = other(self.proposal.approval.as_deref());
        mem::replace(&mut self.proposal.approval, other)
    }

    /// Whether nothing but its payment names it.
    pub(crate) fn is_named_by_payment(&self) -> bool {
        self.named_by_payment
    }

    /// Turns away a request whose name belongs to a run with other content: its nonce, or the payment that
    /// stands for one.
    pub(crate) fn name_is_taken(&self, run: RunId) -> Refusal {
        if self.named_by_payment { Refusal::PaymentReused } else { Refusal::NonceReused { run } }
    }

    /// The checked call.
    pub(crate) fn prepared(&mut self) -> &mut dyn Prepared {
        self.prepared.as_mut()
    }

    /// Gives up the checked call, to be started, who watches it, and the place that it takes up.
    pub(crate) fn into_call(self) -> (Box<dyn Prepared>, Option<Watcher>, BodyPlace) {
        (self.prepared, self.proposal.watcher, self.proposal.place)
    }
}

/// What the room needs.
#[derive(Clone)]
pub struct Propose {
    /// What can be run.
    pub registry: Registry,
    /// Which of it is a tool of `/exec/*`.
    pub tools: ToolNames,
    /// What it costs.
    pub prices: Prices,
    /// Names for runs without a nonce.
    pub entropy: Arc<dyn Entropy>,
}

impl Propose {
    /// The tools of `/exec/*`, by name.
    pub fn tools(&self) -> impl Iterator<Item = (&str, Description)> {
        let tools = self.registry.iter().filter(|tool| self.tools.has(tool.name(), Namespace::Tools));
        tools.map(|tool| (tool.name(), tool.describe()))
    }

    /// Whether a name is that of one of them.
    #[must_use]
    pub fn is_tool(&self, name: &str) -> bool {
        self.tools.has(name, Namespace::Tools) && self.registry.find(name).is_some()
    }

    /// Whether a blocked tool has a handler in this gateway.
    #[must_use]
    pub fn has_handler(&self, blocked: Blocked) -> bool {
        blocked.handler().is_some_and(|handler| self.registry.find(handler).is_some())
    }

    /// What a proposal would run. A blocked tool is here, too: whether it may is for the approve room.
    fn tool(&self, proposal: &Proposal) -> Result<Arc<dyn Tool>, Refusal> {
        let (name, namespace) = (proposal.action.as_str(), proposal.surface.namespace());
        if let Some(blocked) = Blocked::find(name, namespace) {
            let handler = blocked.handler().and_then(|handler| self.registry.find(handler));
            return handler.ok_or_else(|| Refusal::no_handler(name));
        }
        self.registry
            .find(name)
            .filter(|tool| self.tools.has(tool.name(), namespace))
            .ok_or_else(|| Refusal::UnknownAction { action: name.to_owned() })
    }

    /// Checks a proposal at its price.
    ///
    /// # Errors
    /// A priced request without a credential is told the price, whatever its body (clients probe with empty
    /// ones); then an unknown action or a bad payload names the rule that it breaks.
    pub fn enter(&self, proposal: Proposal, price: Amount) -> Result<Quote, Refusal> {
        let flow = self.prices.flow(&proposal.action, proposal.options.offer);
        let meter = self.prices.meter(&proposal.action, proposal.options.offer);
        if !price.is_zero() && proposal.credential.is_none() {
            return Err(Refusal::PaymentRequired { price, flow });
        }
        if !price.is_zero() && proposal.watcher.is_some() {
            return Err(Refusal::WatchedUnpaid);
        }
        let tool = self.tool(&proposal)?;
        if proposal.options.profile.is_some() && !tool.has_profiles() {
            let reason = format!("`{}` runs in no sandbox, and the rules name one for it", tool.name());
            return Err(Refusal::Denied { rule: "profile".to_owned(), reason });
        }
        let undigestible = |error: execgate_receipt::CanonicalError| Refusal::Undigestible(error.to_string());
        let fingerprint = fingerprint(&proposal).map_err(undigestible)?;
        let args_digest = digest_json(&proposal.payload).map_err(undigestible)?;
        let call = Call { payload: &proposal.payload, options: &proposal.options, effect: proposal.effect };
        let (prepared, reaches_out) = (tool.prepare(&call)?, tool.reaches_out());
        let named = proposal.nonce.as_ref().zip(proposal.caller.scope());
        let (run, nonce_key) = match named {
            Some((nonce, scope)) => {
                (NonceKey::run(&scope, nonce, fingerprint), Some(NonceKey::new(&scope, nonce)))
            }
            None => (RunId::from_entropy(self.entropy.sixteen()), None),
        };
        let lives_at_least_s = lives_at_least_s(proposal.surface, proposal.options.offer);
        let action = proposal.action.clone();
        let terms = Terms { amount: price, action, fingerprint, flow, lives_at_least_s };
        Ok(Quote {
            proposal,
            terms,
            meter,
            run,
            nonce_key,
            session_nonce: None,
            named_by_payment: false,
            args_digest,
            reaches_out,
            prepared,
        })
    }
}
