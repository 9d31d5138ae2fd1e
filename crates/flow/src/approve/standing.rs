//! What people have handed in for a run that waits, and which of it still holds.

use execgate_model::Caller;
use execgate_receipt::Envelope;
use execgate_receipt::approval::{ApprovalError, Verified};
use execgate_store::{Vote, VoteWord};
use serde_json::Value;

use super::Approve;
use super::judge::demand;
use crate::authorise::Authorised;
use crate::propose::Quote;

impl Approve {
    /// Opens what an approver has signed.
    ///
    /// # Errors
    /// [`ApprovalError`] names the check that failed.
    pub(crate) fn open(&self, envelope: &Envelope) -> Result<Verified<'_>, ApprovalError> {
        self.people.approvers().open(envelope)
    }

    /// Whether an approver is whoever asks.
    pub(crate) fn is_own(&self, verified: &Verified<'_>, caller: &Caller) -> bool {
        self.people.is_caller(verified.approver(), caller)
    }

    /// Why somebody has said no, in the approver's words; none where nothing was said, or the key counts no more.
    pub(crate) fn reason_of(&self, vote: &Vote) -> Option<String> {
        let envelope = serde_json::from_slice::<Envelope>(&vote.artifact).ok()?;
        self.open(&envelope).ok()?.statement().reason.clone()
    }

    /// Of each person the newest yes that holds for this request now: keys, rules and time may have gone on since it was
    /// handed in.
    pub(crate) fn standing(&self, quote: &Quote, authorised: &Authorised, votes: &[Vote]) -> Vec<Value> {
        let proposal = quote.proposal();
        let scope = proposal.caller.scope();
        let demand = demand(quote, scope.as_ref(), authorised);
        let now = self.clock.now();
        // No more of them count than may come at once: those that nobody asks must not take their places.
        let is_asked = |name: &str| {
            authorised.demand.as_ref().is_none_or(|demand| {
                let mut lists = demand.terms.iter().map(|terms| &terms.approvers);
                lists.any(|names| names.is_empty() || names.iter().any(|listed| listed == name))
            })
        };
        let mut people: Vec<&str> = Vec::new();
        let mut standing = Vec::new();
        for vote in votes.iter().rev().filter(|vote| vote.word == VoteWord::Approve) {
            let Ok(envelope) = serde_json::from_slice::<Envelope>(&vote.artifact) else { continue };
            let Ok(verified) = self.open(&envelope) else { continue };
            let person = verified.approver().person.as_str();
            let holds = verified.approves(&demand, now).is_ok() && !self.is_own(&verified, &proposal.caller);
            if !holds || people.contains(&person) || !is_asked(verified.approver().name.as_str()) {
                continue;
            }
            people.push(person);
            standing.extend(serde_json::to_value(&envelope).ok());
        }
        standing
    }
}
