//! What waits for people: it is to be started as what it was claimed as, and what people have said of it is what they signed.

use execgate_model::{BodyPlace, Stage};
use execgate_receipt::{Timestamp, parse_strict};
use execgate_store::{ExaminedParked, ExaminedVote};
use serde_json::{Value, json};

use super::{Finding, Rule};
use crate::parking::ParkedRequest;
use crate::propose::fingerprint;

/// What does not hold of a run that waits. That it has its leaf is for `leaves` to say.
pub(super) fn judge_parked(parked: &ExaminedParked) -> Vec<Finding> {
    let Some(run) = parked.run else {
        return vec![Finding::plain(Rule::Parked, "a request is kept, and its run is not there")];
    };
    let payload = parked.payload.as_deref().unwrap_or_default();
    // Of one that its caller has taken back nothing is kept but its place.
    if parked.stage == Some(Stage::Settled) && parked.bytes == 0 && (&parked.head[..], payload) == (b"", b"")
    {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut found = |what: &str| findings.push(Finding::of(Rule::Parked, run, what));
    // One that was started keeps its request to its end: its claim may be taken back.
    if !matches!(parked.stage, Some(Stage::Parked | Stage::Execute)) {
        found("it does not wait, and what it waited with is kept");
    }
    if u64::try_from(parked.head.len() + payload.len()) != Ok(parked.bytes) {
        found("its request has another length than it is counted with");
    }
    match (ParkedRequest::from_bytes(&parked.head), serde_json::from_slice(payload)) {
        (Err(_), _) | (_, Err(_)) => found("its request cannot be read"),
        (Ok(request), Ok(payload)) => {
            let caller = request.caller.clone();
            let proposal = request.into_proposal(caller, payload, BodyPlace::default());
            let asks = fingerprint(&proposal).ok();
            if asks.is_none() || asks != parked.fingerprint {
                found("its request is not what it was parked for");
            }
        }
    }
    findings
}

/// What does not hold of what a person has said.
pub(super) fn judge_vote(vote: &ExaminedVote) -> Option<Finding> {
    let found = |what: &str| Some(Finding::at(Rule::Vote, vote.leaf, Some(vote.run), what));
    let Some(said) = vote.statement.as_deref().and_then(|bytes| parse_strict(bytes).ok()) else {
        return found("no leaf stands for what a person has said");
    };
    let artifact: Option<Value> = serde_json::from_slice(&vote.artifact).ok();
    let at = Timestamp::new(vote.at).ok();
    let fits = artifact.as_ref() == Some(&said["artifact"])
        && said["run"] == json!(vote.run)
        && said["person"] == json!(vote.person)
        && said["approver"] == json!(vote.approver)
        && said["vote"] == json!(vote.word)
        && said["at"] == json!(at);
    if fits { None } else { found("what is kept of a vote is not what its leaf stands for") }
}
