//! What is told of runs that wait for people, that ended so, and of what people hand in.

use axum::http::StatusCode;
use execgate_flow::Room;
use execgate_flow::parking::{Closed, Closing, DecisionError, Waiting};
use execgate_receipt::Timestamp;
use execgate_receipt::approval::ActionDigest;
use execgate_store::Answer;
use serde_json::{Map, Value, json};

use super::Problem;

/// What a caller needs to have its run approved, and approvers to find it.
pub(super) fn facts(waiting: &Waiting) -> Map<String, Value> {
    let facts = json!({
        "approval_id": waiting.run,
        "action_digest": ActionDigest(waiting.action_digest).to_string(),
        "rule": waiting.rule(),
        "terms": waiting.terms,
        "approved_by": waiting.approved_by,
        "payment": if waiting.price.is_zero() { "none" } else { "due" },
        "expires_at": Timestamp::new(waiting.expires).ok(),
        // Under whatever name this gateway is reached.
        "approve_url": format!("/approvals/{}", waiting.run),
    });
    if let Value::Object(facts) = facts { facts } else { Map::new() }
}

/// The 202 of a run that waits, on surfaces without an envelope of their own.
pub(super) fn parked(waiting: &Waiting) -> Answer {
    let mut body =
        json!({"status": "parked", "id": waiting.run, "action": waiting.action, "approved": false});
    if let Value::Object(fields) = &mut body {
        fields.extend(facts(waiting));
    }
    let content_type = "application/json".to_owned();
    Answer { status: StatusCode::ACCEPTED.as_u16(), content_type, body: body.to_string().into_bytes() }
}

/// The same in the envelope of `/exec/*`.
pub(super) fn parked_in(mut envelope: Value, waiting: &Waiting) -> Value {
    envelope["jobId"] = json!(waiting.run);
    envelope["status"] = "parked".into();
    envelope["result"] = Value::Null;
    envelope["approval"] = facts(waiting).into();
    envelope
}

impl Problem {
    /// The code, and the rule, of a run that its caller has taken back.
    pub(crate) const WITHDRAWN: &'static str = "withdrawn";

    /// What waits for people, where that is all.
    pub(crate) fn waiting(&self) -> Option<&Waiting> {
        self.waiting.as_deref()
    }

    /// A run that waited for people and never started.
    pub(crate) fn closed(closed: &Closed<'_>) -> Self {
        let (code, rule, detail) = match closed.why {
            Closing::Denied { approver, reason } => {
                let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
                (
                    "approval-denied",
                    "approval-denied".to_owned(),
                    format!("`{approver}` has denied this{why}"),
                )
            }
            Closing::Expired => {
                let detail = "nobody has approved this in time";
                ("approval-expired", "approval-expired".to_owned(), detail.to_owned())
            }
            Closing::Withdrawn => {
                let detail = "its caller has taken it back";
                (Self::WITHDRAWN, Self::WITHDRAWN.to_owned(), detail.to_owned())
            }
            Closing::Refused { rule, reason } => (
                "denied",
                rule.clone(),
                format!("it was approved, and is refused by the rules of today: {reason}"),
            ),
        };
        let problem = Self::new(StatusCode::FORBIDDEN, code, detail).in_room(Room::Approve);
        let receipt = Some(Box::new(closed.content));
        Self { exec_id: Some(closed.run), receipt, rule: Some(rule), ..problem }
    }
}

/// What a person hands in that does not count.
impl From<DecisionError> for Problem {
    fn from(error: DecisionError) -> Self {
        let (status, code) = match &error {
            DecisionError::Refused(_) => {
                let DecisionError::Refused(refusal) = error else { return Self::fault() };
                return refusal.into();
            }
            DecisionError::Artifact(_) | DecisionError::OneStatement => {
                (StatusCode::BAD_REQUEST, "bad-approval-artifact")
            }
            DecisionError::Missing => return Self::not_found("nothing of this id waits for an approval"),
            DecisionError::OtherRun => (StatusCode::CONFLICT, "approval-of-another-run"),
            DecisionError::Ended { .. } => (StatusCode::CONFLICT, "approval-settled"),
            DecisionError::Starting => (StatusCode::CONFLICT, "approval-starting"),
            DecisionError::Expired => (StatusCode::GONE, "approval-expired"),
            DecisionError::TooMany => (StatusCode::CONFLICT, "approval-repeated"),
            DecisionError::Approval(_) => (StatusCode::FORBIDDEN, "approval-invalid"),
            DecisionError::NotAsked { .. } => (StatusCode::FORBIDDEN, "not-an-approver"),
            DecisionError::OwnRequest { .. } => (StatusCode::FORBIDDEN, "own-request"),
        };
        let rule = Some(code.to_owned());
        Self { rule, ..Self::new(status, code, error.told()).in_room(Room::Approve) }
    }
}
