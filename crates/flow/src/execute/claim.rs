//! The head of the room: the claim.

use std::sync::Arc;

use execgate_model::{Caller, Clock, CrashPoints, Digest, Entropy, Namespace, RunId, Space, UnixMs};
use execgate_payment::{Flow, Hold};
use execgate_policy::{Allow, Kept, Reservation};
use execgate_receipt::{Timestamp, canonical, salted, sha256};
use execgate_store::{
    self as store, ApprovalClaim, Change, Leaf, LeafKind, LimitClaim, NewPayment, Parked, Parking, Record,
    SettlementWord, Store, ToolCall,
};
use serde_json::json;

use crate::approve::{Approval, Wanted};
use crate::authorise::Authorised;
use crate::propose::{NonceKey, Quote};
use crate::settle::OPEN_HOLDS_MAX;
use crate::witness::Facts;
use crate::{Refusal, Thread};

const SECOND_MS: u64 = 1_000;

/// The version of what is said of a run that is parked.
const PARKED_VERSION: u8 = 1;

/// What the room needs.
#[derive(Clone)]
pub struct Execute {
    /// The record.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Salts.
    pub entropy: Arc<dyn Entropy>,
    /// Where a test may let the process die.
    pub crash: Arc<dyn CrashPoints>,
    /// Whether there is space for what a run leaves behind.
    pub space: Arc<dyn Space>,
    /// The name by which a holder of an internal grant may go in the log of calls (`ACHILLES_AGENT_ID`).
    pub alias: Option<Arc<str>>,
}

/// Proof that the intent of a run is durable. Only this room makes one.
#[derive(Debug, Clone)]
pub struct Claim {
    facts: Facts,
    salt: [u8; 32],
    left: Option<Left>,
}

/// A payment that an earlier try of the same call has left: it is taken before the work, whatever was agreed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Left {
    /// Where its money stands: `Captured`, `Released` where it was refused, or `Pending` where that is to be found out.
    pub(crate) word: SettlementWord,
    /// The rail's own name for the movement, where it was taken.
    pub(crate) reference: Option<String>,
}

impl Claim {
    /// The run.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.facts.run
    }

    /// What the receipt will say that is known already.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The salt of its digests.
    #[must_use]
    pub fn salt(&self) -> &[u8; 32] {
        &self.salt
    }

    /// The payment that it has taken up, where it has.
    pub(crate) fn left(&self) -> Option<&Left> {
        self.left.as_ref()
    }
}

/// What came of claiming.
#[derive(Debug)]
pub enum Claimed {
    /// The intent is durable.
    Fresh(Box<Claim>),
    /// Another process was faster with the same nonce.
    Earlier(Box<Record>),
}

impl Execute {
    /// Claims a run: nonce, payment, approval, limits and intent in one transaction. `waits`: it is parked, and leaves
    /// `parked` by this. `thread`: the one that polls this.
    ///
    /// # Errors
    /// A payment or approval that has bought another run, a limit without room, a paused gateway, a disk without
    /// space, or a record that failed. Nothing is claimed then.
    pub async fn claim(
        &self,
        quote: &Quote,
        hold: &Hold,
        authorised: &Authorised,
        approval: &Approval,
        waits: Option<&Parked>,
        thread: Thread,
    ) -> Result<Claimed, Refusal> {
        self.ask_space()?;
        let at = self.clock.now();
        if waits.is_some_and(|parked| parked.parking.expires <= at) {
            let reason = "the time in which this could be approved is over";
            return Err(Refusal::Busy { rule: "approval-expired", reason });
        }
        let facts = Facts::new(quote, hold, authorised, approval, self.store.instance(), at)?;
        // What people have said of a parked run has leaves of its own; its digests keep their salt.
        let salt = waits.map_or_else(|| self.entropy.thirty_two(), |parked| parked.record.salt);
        let mut claim = Claim { facts, salt, left: None };
        let used = approval.claim(claim.run(), at, self.entropy.as_ref())?;
        let row = claim.row(quote, hold, &authorised.allow, used, self.alias.as_deref())?;
        let claimed = match (waits, thread) {
            (None, Thread::Shared) => self.store.claim(row).await?,
            (None, Thread::Own) => self.store.claim_here(row).await?,
            (Some(_), _) => self.store.unpark(row).await?,
        };
        match taken(claimed, claim.run(), at, hold)? {
            Taken::Fresh(left) => {
                claim.left = left;
                self.crash.reached("claimed");
                Ok(Claimed::Fresh(Box::new(claim)))
            }
            Taken::Earlier(record) => Ok(Claimed::Earlier(record)),
        }
    }

    /// Before anything is taken: what runs must find room for its end.
    fn ask_space(&self) -> Result<(), Refusal> {
        let reason = "there is too little space for another run";
        if self.space.is_low() { Err(Refusal::Busy { rule: "disk-low", reason }) } else { Ok(()) }
    }

    /// Claims a run for people to answer: nonce, limits, all that it needs later, and its leaf, in one transaction.
    ///
    /// # Errors
    /// As [`Self::claim`]; and too many that wait already. Nothing is claimed then.
    pub(crate) async fn park(
        &self,
        quote: &Quote,
        hold: &Hold,
        authorised: &Authorised,
        wanted: &Wanted,
        parking: Parking,
    ) -> Result<Claimed, Refusal> {
        self.ask_space()?;
        let at = self.clock.now();
        let facts = Facts::waiting(quote, hold, authorised, wanted, self.store.instance(), at)?;
        let claim = Claim { facts, salt: self.entropy.thirty_two(), left: None };
        let row = claim.row(quote, hold, &authorised.allow, None, self.alias.as_deref())?;
        // It keeps no credential: those of wallets live for minutes (CONTRACTS 1).
        let row = store::Claim { payment: None, ..row };
        let payload = serde_json::to_vec(&quote.proposal().payload);
        let payload = payload.map_err(|error| Refusal::Receipt { detail: error.to_string() })?;
        let said = claim.parked(wanted, &parking, self.entropy.as_ref())?;
        let claimed = self.store.park(row, parking, payload, said).await?;
        match taken(claimed, claim.run(), at, hold)? {
            Taken::Fresh(_) => {
                self.crash.reached("parked");
                Ok(Claimed::Fresh(Box::new(claim)))
            }
            Taken::Earlier(record) => Ok(Claimed::Earlier(record)),
        }
    }
}

/// What came of a claim that nothing stood in the way of.
enum Taken {
    /// It is durable, with the payment that it has taken up.
    Fresh(Option<Left>),
    /// A run has its nonce already.
    Earlier(Box<Record>),
}

/// The run that has the nonce already, where one has; or what else stood in the way of a claim.
fn taken(claimed: store::Claimed, run: RunId, at: UnixMs, hold: &Hold) -> Result<Taken, Refusal> {
    let (price, agreed) = (hold.amount(), hold.paid().flow);
    let payer = |flow, rule, reason| Err(Refusal::PayerLimited { price, flow, rule, reason });
    match claimed {
        store::Claimed::Fresh => Ok(Taken::Fresh(None)),
        store::Claimed::TakenUp { word, reference } => Ok(Taken::Fresh(Some(Left { word, reference }))),
        store::Claimed::Taken(record) => Ok(Taken::Earlier(record)),
        // Another request of the very same call has left it meanwhile, in another form.
        store::Claimed::PaymentSpent(other) if other == run => Err(Refusal::StillRunning { run }),
        store::Claimed::PaymentSpent(_) => Err(Refusal::PaymentReused),
        store::Claimed::ApprovalSpent(_) => Err(Refusal::ApprovalReused),
        store::Claimed::LimitReached(reached) => {
            let retry_after_s = reached.ends.0.saturating_sub(at.0).div_ceil(SECOND_MS).max(1);
            Err(Refusal::LimitReached { rule: reached.rule, retry_after_s })
        }
        store::Claimed::HoldsFull => payer(
            agreed,
            "holds-full",
            "too many payments of this payer are open; try again when some of them are settled",
        ),
        store::Claimed::Overdrawn { .. } => payer(
            agreed,
            "holds-exceed-balance",
            "the payer has less than this costs, together with its payments that are open",
        ),
        store::Claimed::UpfrontOnly => payer(
            Flow::Upfront,
            "upfront-only",
            "a payment of this payer failed when its work was done; it pays before the work for a while",
        ),
        store::Claimed::SparedEnough => payer(
            Flow::Upfront,
            "upfront-only",
            "too much work of this payer ran into timeouts that are not charged; it pays before the work for a while",
        ),
        store::Claimed::SparedEnoughInAll => payer(
            Flow::Upfront,
            "upfront-only",
            "too much work ran into timeouts that are not charged; it is paid before the work for a while",
        ),
        store::Claimed::ParkedFull => {
            let reason = "too many calls wait for an approval already; try again when some of them have one";
            Err(Refusal::Busy { rule: "parked-full", reason })
        }
        store::Claimed::Paused => {
            Err(Refusal::Busy { rule: "paused", reason: "the operator has paused this gateway" })
        }
    }
}

impl Claim {
    /// What the log says of a run that waits from now on: all that its receipt would say, and whom it waits for.
    fn parked(&self, wanted: &Wanted, parking: &Parking, entropy: &dyn Entropy) -> Result<Change, Refusal> {
        let terms: Vec<_> = wanted
            .terms
            .iter()
            .map(|terms| json!({"rule": terms.rule, "approvers": terms.approvers, "min": terms.min}))
            .collect();
        let intent = serde_json::to_value(&self.facts);
        let statement = json!({
            "v": PARKED_VERSION,
            "parked": self.facts.run.to_string(),
            "intent": intent.map_err(|error| Refusal::Receipt { detail: error.to_string() })?,
            "terms": terms,
            "expires_at": Timestamp::new(parking.expires).ok(),
            "at": Timestamp::new(self.facts.started).ok(),
        });
        let statement =
            canonical(&statement).map_err(|error| Refusal::Receipt { detail: error.to_string() })?;
        let salt = entropy.thirty_two();
        let leaf = Leaf { kind: LeafKind::Parked, digest: salted(&salt, &statement) };
        Ok(Change { statement, salt, leaf, at: self.facts.started })
    }

    fn row(
        &self,
        quote: &Quote,
        hold: &Hold,
        allow: &Allow,
        approval: Option<ApprovalClaim>,
        alias: Option<&str>,
    ) -> Result<store::Claim, Refusal> {
        let proposal = quote.proposal();
        let intent = self.facts.to_bytes()?;
        let payment = hold.paid().claim.as_ref().map(|claim| NewPayment {
            key: claim.key,
            payer: claim.payer.clone(),
            state: hold.paid().state.clone(),
            rail: hold.rail().to_owned(),
            amount: hold.amount(),
            most: None,
            upfront: hold.paid().flow == Flow::Upfront,
            funds: hold.funds(),
            holds_max: OPEN_HOLDS_MAX,
            at: self.facts.started,
            batch: proposal.options.batch.is_some() && !hold.amount().is_zero(),
        });
        Ok(store::Claim {
            run: self.facts.run,
            instance: self.facts.instance,
            nonce_key: quote.nonce_key().map(NonceKey::digest),
            session_nonce: quote.session_nonce().map(NonceKey::digest),
            fingerprint: quote.terms().fingerprint,
            owner: proposal.caller.scope().map(|scope| owner(scope.as_str())),
            action: proposal.action.clone(),
            effect: proposal.effect,
            caller: proposal.caller.label(),
            rail: hold.rail().to_owned(),
            price: hold.amount(),
            payment,
            approval,
            limits: allow.limits().iter().map(|limit| limit_claim(limit, self.facts.started)).collect(),
            salt: self.salt,
            leaf: Leaf { kind: LeafKind::Intent, digest: salted(&self.salt, &intent) },
            intent,
            at: self.facts.started,
            tool_call: (proposal.surface.namespace() == Namespace::Tools).then(|| ToolCall {
                agent: self.facts.claimed_agent.clone(),
                alias: known_as(&proposal.caller, self.facts.claimed_agent.as_deref(), alias),
                iam_approved: self.facts.is_iam_approved(),
            }),
        })
    }
}

/// The name that a caller gives itself, where it may go by it in the log of calls. From anybody else the same name is a
/// claim like any other; nothing else follows from either.
fn known_as(caller: &Caller, claimed: Option<&str>, alias: Option<&str>) -> Option<String> {
    let alias = alias.filter(|alias| caller.is_internal() && claimed == Some(*alias));
    alias.map(str::to_owned)
}

/// A reservation in the window that holds a time. The record keeps a digest of whose counter it is.
fn limit_claim(limit: &Reservation, at: UnixMs) -> LimitClaim {
    LimitClaim {
        rule: limit.rule.clone(),
        key: sha256(format!("execgate limit v1\n\n{}", limit.key).as_bytes()),
        starts: UnixMs(limit.window.start(at.0)),
        ends: UnixMs(limit.window.end(at.0)),
        amount: limit.amount,
        max: limit.max,
        enforced: limit.kept == Kept::Enforced,
    }
}

/// What the record keeps of whoever may read a run: a digest of the scope.
#[must_use]
pub fn owner(scope: &str) -> Digest {
    sha256(format!("execgate owner v1\n\n{scope}").as_bytes())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use execgate_model::{Caller, GrantId, Identity, TenantId};

    use super::known_as;

    #[test]
    fn only_an_internal_grant_goes_by_the_alias() {
        let by = |identity| Caller { tenant: TenantId::new("t").unwrap(), identity };
        let grant = |internal| {
            let id = GrantId::new("g1").unwrap();
            by(Identity::Grant { id, internal, labels: Arc::default() })
        };
        let known = |caller: &Caller, claimed| known_as(caller, claimed, Some("achilles"));
        assert_eq!(known(&grant(true), Some("achilles")).as_deref(), Some("achilles"));
        for (caller, claimed) in [
            (grant(true), Some("Achilles")),
            (grant(true), None),
            (grant(false), Some("achilles")),
            (by(Identity::Local), Some("achilles")),
            (by(Identity::Anonymous), Some("achilles")),
        ] {
            assert_eq!(known(&caller, claimed), None, "{caller:?} {claimed:?}");
        }
        assert_eq!(known_as(&grant(true), Some("achilles"), None), None);
    }
}
