//! What is seen of a walk while it goes on, until it is told.

use std::sync::Arc;
use std::thread::panicking;

use execgate_model::{Caller, Clock, Digest, Proposal, RunId};
use execgate_receipt::salted_digest;
use execgate_store::AuditDecision;
use tracing::field::{Empty, display};
use tracing::{Span, info_span};

use super::seen::{argument_keys, decision, weight};
use super::witnessed::is_witnessed;
use super::{Notice, Seen, Weight};
use crate::authorise::{Authorised, IAM_RULE};
use crate::execute::Claim;
use crate::{Laps, Passage, Refusal, Room};

/// The rule of an answer that is an earlier one.
const REPLAY: &str = "replay";

/// The rule of a walk that panicked.
const FAULT: &str = "fault";

/// One walk, in the eyes of whoever watches it.
pub(crate) struct Sight {
    notice: Arc<dyn Notice>,
    clock: Arc<dyn Clock>,
    started_us: u64,
    laps: Laps,
    span: Span,
    seen: Option<Seen>,
}

impl Sight {
    /// A walk that begins now, under these rules.
    pub(crate) fn begin(
        notice: Arc<dyn Notice>,
        clock: Arc<dyn Clock>,
        proposal: &Proposal,
        is_known: bool,
        policy: Digest,
    ) -> Self {
        let seen = Seen {
            at: clock.now(),
            caller: proposal.caller.clone(),
            surface: proposal.surface,
            action: proposal.action.clone(),
            is_known,
            effect: proposal.effect,
            run: None,
            has_nonce: proposal.nonce.is_some(),
            decision: AuditDecision::Failed,
            weight: Weight::Count,
            is_witnessed: false,
            room: Room::Propose,
            rule: FAULT.to_owned(),
            outcome: None,
            iam: None,
            argument_keys: argument_keys(&proposal.payload),
            args_digest: None,
            policy,
            laps: Vec::new(),
            total_us: 0,
        };
        let span = info_span!("run", id = Empty, action = %proposal.action);
        let laps = Laps::start(Arc::clone(&clock));
        Self { notice, started_us: clock.monotonic_us(), clock, laps, span, seen: Some(seen) }
    }

    /// Who asks, where a payment has said it.
    pub(crate) fn paid_by(&mut self, caller: &Caller) {
        if let Some(seen) = &mut self.seen
            && seen.caller != *caller
        {
            seen.caller = caller.clone();
        }
    }

    /// What the lines of the log that this walk writes belong to.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// The run that it may become has a name.
    pub(crate) fn named(&self, run: RunId) {
        self.span.record("id", display(run));
    }

    /// A room is left.
    pub(crate) fn lap(&mut self, room: Room) {
        self.laps.lap(room);
    }

    /// The walk goes on after a wait that was no room's.
    pub(crate) fn resume(&mut self) {
        self.laps.resume();
    }

    /// The rooms so far.
    pub(crate) fn laps(&self) -> Laps {
        self.laps.clone()
    }

    /// These rules are asked.
    pub(crate) fn ruled(&mut self, policy: Digest) {
        if let Some(seen) = &mut self.seen {
            seen.policy = policy;
        }
    }

    /// Nothing has ended: the walk proper is still to come, and is seen then.
    pub(crate) fn look_away(mut self) {
        self.seen = None;
    }

    /// The rules have allowed it.
    pub(crate) fn authorised(&mut self, authorised: &Authorised) {
        if let Some(seen) = &mut self.seen {
            authorised.allow.rule().clone_into(&mut seen.rule);
            seen.policy = authorised.allow.policy();
            seen.iam = Some(authorised.iam.as_str());
        }
    }

    /// It is a run now.
    pub(crate) fn claimed(&mut self, claim: &Claim) {
        if let Some(seen) = &mut self.seen {
            seen.run = Some(claim.run());
            seen.args_digest = Some(salted_digest(claim.salt(), claim.facts().args_digest));
            seen.weight = Weight::Run;
        }
    }

    /// It has ended.
    pub(crate) fn end(mut self, ended: &Result<Passage, Refusal>) {
        match ended {
            Ok(passage) => self.passed(passage),
            Err(refusal) => self.refused(refusal),
        }
        self.tell();
    }

    /// It has ended in a refusal.
    pub(crate) fn refuse(mut self, refusal: &Refusal) {
        self.refused(refusal);
        self.tell();
    }

    fn passed(&mut self, passage: &Passage) {
        let Some(seen) = &mut self.seen else { return };
        seen.run = Some(passage.run);
        seen.outcome = Some(passage.outcome.clone());
        seen.room = Room::Authorise;
        seen.decision = AuditDecision::Allowed;
        if passage.replayed {
            self.laps.rest();
            seen.decision = AuditDecision::Replayed;
            seen.room = Room::Pay;
            REPLAY.clone_into(&mut seen.rule);
            seen.weight = Weight::Decision;
        }
    }

    fn refused(&mut self, refusal: &Refusal) {
        let Some(seen) = &mut self.seen else { return };
        // What was not left is where it ended.
        self.laps.rest();
        seen.decision = decision(refusal);
        seen.is_witnessed = is_witnessed(refusal);
        seen.room = refusal.room();
        refusal.rule().clone_into(&mut seen.rule);
        seen.run = seen.run.or(refusal.run());
        if seen.weight != Weight::Run {
            seen.weight = weight(refusal, seen.effect, seen.surface.namespace());
        }
        if matches!(refusal, Refusal::Denied { rule, .. } if rule == IAM_RULE) {
            seen.iam = Some("refused");
        } else if matches!(refusal, Refusal::IamUnreachable) {
            seen.iam = Some("unreachable");
        }
        if seen.decision == AuditDecision::Failed {
            let _inside = self.span.enter();
            tracing::warn!(error = refusal as &dyn std::error::Error, "a run could not be served");
        }
    }

    fn tell(&mut self) {
        let Some(mut seen) = self.seen.take() else { return };
        seen.at = self.clock.now();
        seen.total_us = self.clock.monotonic_us().saturating_sub(self.started_us);
        seen.laps = self.laps.clone().into_laps();
        let _inside = self.span.enter();
        tracing::info!(
            // One word, whatever a token has its subject say.
            caller = %seen.caller.label().replace(char::is_whitespace, "%20"),
            decision = seen.decision.as_str(),
            room = seen.room.as_str(),
            rule = seen.rule,
            outcome = seen.outcome.as_deref(),
            us = seen.total_us,
            "decided"
        );
        self.notice.seen(&seen);
    }
}

impl Drop for Sight {
    fn drop(&mut self) {
        // What is dropped otherwise was never decided: an item of a batch that was not come to.
        if panicking() {
            self.tell();
        }
    }
}
