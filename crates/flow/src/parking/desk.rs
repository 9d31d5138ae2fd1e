//! What people say of a parked run: who may, what counts, and what follows from it.
//!
//! The signature is the authority: whoever hands a statement in adds nothing to it. Every change here needs a second
//! reader.

use std::sync::Arc;

use execgate_model::{ApprovalId, ApproverName, RunId, Stage};
use execgate_receipt::approval::{ApprovalError, Artifact, ArtifactError, Decision, Demand, Verified};
use execgate_receipt::{Envelope, Timestamp, canonical, salted};
use execgate_store::{Change, Leaf, LeafKind, Parked, StoreError, Vote, VoteWord, Voted};
use serde_json::{Value, json};

use super::{Closing, ParkedRequest};
use crate::corridor::Corridor;
use crate::witness::Render;
use crate::{Refusal, Rooms};

/// The version of what is said of a vote.
const VERSION: u8 = 1;

/// Why what was handed in does not count, or not yet. Nothing is recorded then, but for [`Self::Starting`].
#[derive(Debug, thiserror::Error)]
pub enum DecisionError {
    /// It is no approval artifact.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// It is not one statement of one approver.
    #[error("one approval statement is handed in at a time, in its DSSE envelope")]
    OneStatement,
    /// There is no such run, or it never waited.
    #[error("nothing of this id waits for an approval")]
    Missing,
    /// The statement names another run.
    #[error("the statement is for another approval_id than this one")]
    OtherRun,
    /// The run has been started, or refused, before.
    #[error("this does not wait for an approval any more: it is {stage}")]
    Ended {
        /// Where it stands, or how it ended.
        stage: String,
    },
    /// It is being started at this moment: a no is kept, with a leaf.
    #[error("this is being started at this moment: the no is kept, and holds if that start is taken back")]
    Starting,
    /// The time for it is over.
    #[error("the time in which this could be approved is over")]
    Expired,
    /// The same person has handed in too many.
    #[error("this approver has said enough of this run")]
    TooMany,
    /// The statement proves nothing, or is about something else.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    /// No rule that asks for an approval asks this approver.
    #[error("the rules do not ask the approver `{approver}` about this")]
    NotAsked {
        /// Who signed.
        approver: ApproverName,
    },
    /// The approver is whoever asked for the run.
    #[error("the approver `{approver}` has asked for this, and nobody approves their own request")]
    OwnRequest {
        /// Who signed.
        approver: ApproverName,
    },
    /// A room turned it away, or a fault of ours.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl From<StoreError> for DecisionError {
    fn from(error: StoreError) -> Self {
        Self::Refused(Refusal::Store(error))
    }
}

impl DecisionError {
    /// What whoever handed it in reads: the error with its cause.
    #[must_use]
    pub fn told(&self) -> String {
        match std::error::Error::source(self) {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }
}

/// What follows from a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The run.
    pub run: RunId,
    /// Who has said it.
    pub approver: ApproverName,
    /// What was said.
    pub word: VoteWord,
    /// Whether it waits still: for more people, or for its turn to start.
    pub waits: bool,
}

impl Corridor {
    /// Takes what a person says of a parked run. A no ends it; a yes lets it start by itself, as soon as enough have said
    /// so.
    ///
    /// # Errors
    /// [`DecisionError`] says why it does not count.
    pub async fn decide(
        &self,
        run: RunId,
        artifact: &Value,
        render: &Arc<dyn Render>,
    ) -> Result<Decided, DecisionError> {
        let Artifact::Statements(statements) = Artifact::read(artifact)? else {
            return Err(DecisionError::OneStatement);
        };
        let [envelope] = statements.as_slice() else { return Err(DecisionError::OneStatement) };
        let rooms = self.rooms();
        let store = &rooms.execute.store;
        let waits = store.parked(run).await?;
        let is_waiting = waits.is_some();
        let parked = match waits {
            Some(parked) => parked,
            // For a no alone: its start may be taken back.
            None => match store.starting(run).await? {
                Some(starting) => starting,
                None => return Err(ended(rooms, run).await),
            },
        };
        // Of a record that is not the one that its log was seen with, nothing is signed.
        rooms.log.ask(parked.record.effect)?;
        let now = rooms.execute.clock.now();
        if parked.parking.expires <= now && is_waiting {
            let (walk, _presence) = self.set_out(Arc::clone(render))?;
            walk.close(&parked, Closing::Expired).await?;
            return Err(DecisionError::Expired);
        }
        let verified = rooms.approve.open(envelope)?;
        let request = ParkedRequest::from_bytes(&parked.parking.head)?;
        self.judge(&parked, &request, &verified).await?;

        let said = verified.statement();
        let word = match said.decision {
            Decision::Approve => VoteWord::Approve,
            Decision::Deny => VoteWord::Deny,
        };
        let artifact =
            serde_json::to_vec(envelope).map_err(|error| Refusal::Receipt { detail: error.to_string() })?;
        let vote = Vote {
            approver: said.approver.to_string(),
            person: verified.approver().person.clone(),
            word,
            artifact,
            at: now,
        };
        let change = said_of(rooms, run, &vote, envelope)?;
        let decided =
            Decided { run, approver: said.approver.clone(), word, waits: word == VoteWord::Approve };
        match word {
            VoteWord::Approve => match store.vote(run, vote, change).await? {
                Voted::Recorded | Voted::Repeated => {
                    rooms.execute.crash.reached("voted");
                    tracing::info!(%run, approver = %decided.approver, "a parked run was approved");
                    // Where it cannot start now, the next sweep looks at it.
                    self.yard().wake(run);
                    drop(self.start(run, render));
                }
                Voted::TooMany => return Err(DecisionError::TooMany),
                Voted::Kept | Voted::NotParked => return Err(ended(rooms, run).await),
            },
            VoteWord::Deny => {
                let why = Closing::Denied { approver: vote.approver.clone(), reason: said.reason.clone() };
                self.deny(run, why, (vote, change), render).await?;
                tracing::info!(%run, approver = %decided.approver, "a parked run was denied");
            }
        }
        Ok(decided)
    }

    /// Ends a run that somebody has denied. While it is being started the no is kept beside it, for the moment at which that
    /// start may be taken back.
    async fn deny(
        &self,
        run: RunId,
        why: Closing,
        denial: (Vote, Change),
        render: &Arc<dyn Render>,
    ) -> Result<(), DecisionError> {
        let rooms = self.rooms();
        let store = &rooms.execute.store;
        loop {
            if let Some(parked) = store.parked(run).await? {
                let (walk, _presence) = self.set_out(Arc::clone(render))?;
                match walk.refuse(&parked, &why, Some(denial.clone())).await? {
                    Some(_) => return Ok(()),
                    // Started, or ended, since it was read.
                    None => continue,
                }
            }
            match store.vote(run, denial.0.clone(), denial.1.clone()).await? {
                Voted::Kept => {
                    rooms.execute.crash.reached("voted");
                    return Err(DecisionError::Starting);
                }
                // Its start was taken back since it was looked for: the no has its leaf, and the run is to be ended.
                Voted::Recorded | Voted::Repeated => {
                    let Some(parked) = store.parked(run).await? else { return Err(DecisionError::Starting) };
                    let (walk, _presence) = self.set_out(Arc::clone(render))?;
                    walk.close(&parked, why).await?;
                    return Ok(());
                }
                Voted::TooMany | Voted::NotParked => return Err(ended(rooms, run).await),
            }
        }
    }

    /// Holds a statement against the run that it is about, under the rules of today.
    async fn judge(
        &self,
        parked: &Parked,
        request: &ParkedRequest,
        verified: &Verified<'_>,
    ) -> Result<(), DecisionError> {
        let rooms = self.rooms();
        let said = verified.statement();
        if said.approval_id != ApprovalId::from(parked.record.run) {
            return Err(DecisionError::OtherRun);
        }
        let today = self.today(parked, request).await?;
        let scope = request.caller.scope();
        let demand = Demand {
            tenant: &request.caller.tenant,
            scope: scope.as_ref().map(|scope| scope.as_str()),
            action: &request.action,
            action_digest: parked.record.fingerprint,
            policy_digest: today.policy,
            price: today.price,
        };
        let now = rooms.execute.clock.now();
        match said.decision {
            Decision::Deny => verified.binds(&demand, now)?,
            Decision::Approve => {
                verified.approves(&demand, now)?;
                if rooms.approve.is_own(verified, &request.caller) {
                    return Err(DecisionError::OwnRequest { approver: said.approver.clone() });
                }
            }
        }
        if today.asks(said.approver.as_str()) {
            Ok(())
        } else {
            Err(DecisionError::NotAsked { approver: said.approver.clone() })
        }
    }
}

/// What the log says of a vote: the statement behind its leaf.
fn said_of(rooms: &Rooms, run: RunId, vote: &Vote, envelope: &Envelope) -> Result<Change, Refusal> {
    let statement = json!({
        "v": VERSION,
        "vote": vote.word.as_str(),
        "run": run.to_string(),
        "approver": vote.approver,
        "person": vote.person,
        "artifact": envelope,
        "at": Timestamp::new(vote.at).ok(),
    });
    let statement = canonical(&statement).map_err(|error| Refusal::Receipt { detail: error.to_string() })?;
    let salt = rooms.execute.entropy.thirty_two();
    let leaf = Leaf { kind: LeafKind::Vote, digest: salted(&salt, &statement) };
    Ok(Change { statement, salt, leaf, at: vote.at })
}

/// Why there is nothing to say of a run any more.
async fn ended(rooms: &Rooms, run: RunId) -> DecisionError {
    let record = match rooms.execute.store.run(run).await {
        Ok(Some(record)) => record,
        Ok(None) => return DecisionError::Missing,
        Err(error) => return error.into(),
    };
    let stage = match (record.stage, record.outcome) {
        (Stage::Settled | Stage::Witness, Some(outcome)) => outcome,
        (stage, _) => stage.as_str().to_owned(),
    };
    DecisionError::Ended { stage }
}
