//! The only place where an error becomes HTTP (RFC 9457).
//!
//! A problem names the room, the rule and the way on; never a path, a secret or a stack. What the operator
//! needs beyond that goes to the log.

mod admin;
mod approval;
mod exec;
mod log;
mod mcp;
mod price;
#[cfg(test)]
mod tests;
mod witness;

use std::error::Error as _;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use execgate_flow::parking::Waiting;
use execgate_flow::{Refusal, Room};
use execgate_model::{Digest, Role, RunId};
use execgate_payment::Offer;
use execgate_receipt::StrictError;
use execgate_receipt::approval::ClawShieldError;
use execgate_store::Answer;
use execgate_tool::NotStarted;
use serde::Serialize;

pub(crate) use exec::{Asked, SCHEMA_VERSION, Took, seal};
pub(crate) use price::PriceTag;
use price::is_to_be_let;

/// Where the kinds of problems are described; `#` and the code follow.
const TYPE_BASE: &str = "https://execgate.dev/problems#";

/// How long a caller should wait when we are full, in seconds.
const RETRY_AFTER_S: u64 = 1;

/// How long a caller should wait where the keys of an issuer cannot be read, in seconds: they are not asked for sooner.
const ISSUER_RETRY_AFTER_S: u64 = 10;

/// How every challenge begins (RFC 6750, section 3).
const CHALLENGE: &str = "Bearer realm=\"execgate\"";

/// What is wrong with what a caller showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Challenge {
    /// It showed nothing.
    Needed,
    /// It opens nothing.
    Invalid,
    /// It opens other things.
    Scope,
}

impl Challenge {
    /// The challenge with its reason, of the characters that one may hold.
    fn told(self, detail: &str) -> HeaderValue {
        let error = match self {
            Self::Needed => return HeaderValue::from_static(CHALLENGE),
            Self::Invalid => "invalid_token",
            Self::Scope => "insufficient_scope",
        };
        let plain = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
        let detail: String = detail.chars().filter(|c| plain(*c)).collect();
        let text = format!("{CHALLENGE}, error=\"{error}\", error_description=\"{detail}\"");
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(CHALLENGE))
    }
}

/// The shape in which a surface tells its problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// RFC 9457.
    Problem,
    /// `{"error": …}`, as the code-run services have it.
    CodeRun,
    /// The envelope of `/exec/*`, with a `proofHash`; see [`exec`].
    Exec,
}

/// The statuses that the code-run services themselves answer.
const PLAIN: [u16; 8] = [400, 404, 405, 408, 413, 415, 502, 503];

/// One problem, as it is sent.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exec_id: Option<RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Box<Digest>>,
    /// The same as `detail`, on surfaces whose clients look for it under this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// After how many seconds the same request may succeed, where it may.
    #[serde(skip)]
    retry_after_s: Option<u64>,
    /// What is asked for, where that is the problem.
    #[serde(skip)]
    tag: Option<Box<PriceTag>>,
    /// How to come in (RFC 9110, 11.6.1).
    #[serde(skip)]
    challenge: Option<Challenge>,
    /// What waits for people, where that is all.
    #[serde(skip)]
    waiting: Option<Box<Waiting>>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("{TYPE_BASE}{code}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            code,
            room: None,
            rule: None,
            pointer: None,
            exec_id: None,
            receipt: None,
            error: None,
            retry_after_s: None,
            tag: None,
            challenge: None,
            waiting: None,
        }
    }

    /// The request breaks a rule of form.
    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail).in_room(Room::Propose)
    }

    /// A field of the body breaks a rule; `pointer` is a JSON pointer (RFC 6901).
    pub(crate) fn bad_field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), ..Self::bad_request("bad-field", detail) }
    }

    /// The body is not the JSON that it should be.
    pub(crate) fn bad_json(error: &StrictError) -> Self {
        Self::bad_request("bad-json", format!("the body is not valid JSON: {error}"))
    }

    /// The caller showed a credential that cannot be accepted.
    pub(crate) fn unauthorised(rule: &'static str, detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::UNAUTHORIZED, "bad-credential", detail).in_room(Room::Propose);
        Self { rule: Some(rule.to_owned()), challenge: Some(Challenge::Invalid), ..problem }
    }

    /// The caller showed no key and no token, and only those that do are served.
    pub(crate) fn grant_required() -> Self {
        let detail = "this needs the key of a grant: `Authorization: Bearer eg_…`, or `X-API-Key: eg_…`; \
                      or, where the operator takes them, a token: `Authorization: Bearer <token>`";
        let problem = Self::new(StatusCode::UNAUTHORIZED, "grant-required", detail).in_room(Room::Propose);
        Self { rule: Some("grant-required".to_owned()), challenge: Some(Challenge::Needed), ..problem }
    }

    /// The grant, or the token, is not for this.
    pub(crate) fn role_missing(role: Role) -> Self {
        let detail = format!("this needs a grant or token with the role `{}`", role.as_str());
        let problem = Self::new(StatusCode::FORBIDDEN, "role-missing", detail).in_room(Room::Authorise);
        let rule = Some(format!("role/{}", role.as_str()));
        Self { rule, challenge: Some(Challenge::Scope), ..problem }
    }

    /// Whether a token is good cannot be told now, which is no fault of the token: another one would not help.
    pub(crate) fn issuer_unreachable() -> Self {
        let detail = "the keys of the token's issuer cannot be read now; the same token may be good later";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "issuer-unreachable", detail);
        let retry_after_s = Some(ISSUER_RETRY_AFTER_S);
        Self { rule: Some("issuer-unreachable".to_owned()), retry_after_s, ..problem.in_room(Room::Propose) }
    }

    /// The door does not let this in.
    pub(crate) fn forbidden(code: &'static str, detail: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// The Host is not ours.
    pub(crate) fn misdirected() -> Self {
        let detail = "this host name is not served here; the operator lists names under `hosts`";
        Self::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", detail)
    }

    /// Nothing is there, or not for this caller.
    pub(crate) fn not_found(detail: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// A file is wanted where a folder is, or a folder where a file is.
    pub(crate) fn no_file(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "no-file", detail)
    }

    /// The path is there, the method is not.
    pub(crate) fn method_not_allowed() -> Self {
        let detail = "this path does not take this method; see /openapi.json";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
    }

    /// The body is not declared as JSON.
    pub(crate) fn content_type() -> Self {
        let detail = "the body must be JSON, declared by `Content-Type: application/json`";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", detail).in_room(Room::Propose)
    }

    /// The body is larger than it may be.
    pub(crate) fn too_large(limit: usize) -> Self {
        let detail = format!("the body is larger than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail).in_room(Room::Propose)
    }

    /// More large bodies come at once than are held.
    pub(crate) fn many_large_bodies() -> Self {
        let detail = "too many large bodies come at once; try again shortly";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "many-large-bodies", detail);
        Self { retry_after_s: Some(RETRY_AFTER_S), ..problem.in_room(Room::Propose) }
    }

    /// The body came too slowly, or broke off.
    pub(crate) fn slow_body() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "slow-body", "the body did not come in time")
            .in_room(Room::Propose)
    }

    /// The run's process died, or its end was lost: nobody can tell what it did.
    pub(crate) fn unknown_outcome(run: RunId, receipt: Digest) -> Self {
        let detail = "the end of this run is lost; it may have acted. It is never started again by itself, \
                      nothing is charged, and the operator can say what became of it";
        let problem = Self::new(StatusCode::CONFLICT, "run-outcome-unknown", detail).in_room(Room::Execute);
        Self {
            exec_id: Some(run),
            receipt: Some(Box::new(receipt)),
            rule: Some("at-most-once".to_owned()),
            ..problem
        }
    }

    /// The rules do not show this tool to this caller.
    pub(crate) fn hidden_tool(name: &str) -> Self {
        let detail = format!("Tool `{name}` is hidden by policy");
        let rule = Some("(hidden)".to_owned());
        Self { rule, ..Self::new(StatusCode::FORBIDDEN, "denied", detail).in_room(Room::Authorise) }
    }

    /// Tools are switched off here.
    pub(crate) fn tools_are_off() -> Self {
        let detail = "tools are switched off on this gateway (surfaces.tools)";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "tools-off", detail).in_room(Room::Propose)
    }

    /// A fault that no room has a word for.
    pub(crate) fn fault() -> Self {
        let detail = "something failed here; what had started is in the record under its key";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "fault", detail)
    }

    /// The same problem in a part of the body.
    pub(crate) fn within(self, place: &str) -> Self {
        Self { pointer: self.pointer.map(|pointer| format!("{place}{pointer}")), ..self }
    }

    /// The same problem of an item of a batch, or of the whole.
    pub(crate) fn of_item(self, place: Option<&str>) -> Self {
        let Some(place) = place else { return self };
        let pointer = self.pointer.clone().unwrap_or_else(|| "/payload".to_owned());
        let at = format!("{place}/tool/args");
        Self { pointer: Some(pointer), ..self }.with_payload_at(&at)
    }

    /// The same problem where the payload stands elsewhere in the body.
    pub(crate) fn with_payload_at(self, place: &str) -> Self {
        let moved = |pointer: String| match pointer.strip_prefix("/payload") {
            Some(rest) => format!("{place}{rest}"),
            None => pointer,
        };
        Self { pointer: self.pointer.map(moved), ..self }
    }

    /// What it asks for, where it asks for money.
    pub(crate) fn tag(&self) -> Option<&PriceTag> {
        self.tag.as_deref()
    }

    /// The run whose payment did not end well, or not yet, where that is the problem.
    pub(crate) fn unsettled(&self) -> Option<RunId> {
        self.exec_id.filter(|_| matches!(self.code, "settlement-pending" | "done-unpaid"))
    }

    /// The same problem, with how to pay.
    pub(crate) fn with_offers(mut self, offers: Vec<Offer>) -> Self {
        if let Some(tag) = &mut self.tag {
            tag.offers = offers;
        }
        self
    }

    fn in_room(self, room: Room) -> Self {
        Self { room: Some(room.as_str()), ..self }
    }

    /// Code is switched off here.
    pub(crate) fn code_is_off() -> Self {
        let detail = "code execution is switched off on this gateway (surfaces.code)";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "code-off", detail).in_room(Room::Propose)
    }

    /// This way to run code is switched off here.
    pub(crate) fn offer_is_off() -> Self {
        let detail = "this path is off on a gateway that is paid, until its operator names a price for it";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "code-off", detail).in_room(Room::Propose)
    }

    /// Whether what came is no call at all, or a wrong one, as of somebody who only wants to know the price.
    pub(crate) fn is_of_form(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST.as_u16()
    }

    /// Whether the body is not declared as JSON.
    pub(crate) fn is_of_type(&self) -> bool {
        self.status == StatusCode::UNSUPPORTED_MEDIA_TYPE.as_u16()
    }

    /// Whether all that is wrong is that others are served already.
    pub(crate) fn is_at_capacity(&self) -> bool {
        self.code == "many-large-bodies" || self.rule.as_deref() == Some("full")
    }

    /// The stable code.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// The text for the caller.
    #[cfg(test)]
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The problem as a stored answer.
    pub(crate) fn into_answer(self) -> Answer {
        if let Some(waiting) = &self.waiting {
            return approval::parked(waiting);
        }
        let body = match self.tag.as_ref().filter(|tag| !tag.offers.is_empty()) {
            Some(tag) => {
                let mut body = serde_json::to_value(&self).unwrap_or_default();
                tag.add_to(&mut body);
                body.to_string().into_bytes()
            }
            None => serde_json::to_vec(&self).unwrap_or_default(),
        };
        Answer { status: self.status, content_type: "application/problem+json".to_owned(), body }
    }

    /// The status, as this surface has it.
    pub(crate) fn status_in(&self, shape: Shape) -> u16 {
        match (shape, self.code) {
            // A sandbox that could not be made is a bad gateway to those who know sandboxes as a service.
            (Shape::CodeRun, "not-started") => StatusCode::BAD_GATEWAY.as_u16(),
            (Shape::CodeRun | Shape::Problem | Shape::Exec, _) => self.status,
        }
    }

    /// The problem as a response in the shape of a surface.
    pub(crate) fn told(self, shape: Shape) -> Response {
        let retry_after_s = self.retry_after_s;
        let challenge = self.challenge.map(|challenge| challenge.told(&self.detail));
        let tag = self.tag.clone();
        let mut response = crate::http::write(self.shaped(shape));
        if let Some(tag) = tag {
            tag.announce(response.headers_mut());
        }
        if let Some(seconds) = retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = challenge {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }

    /// The problem in the shape of a surface.
    pub(crate) fn shaped(self, shape: Shape) -> Answer {
        match shape {
            Shape::Problem => return self.into_answer(),
            Shape::Exec => return self.in_exec(&Asked::default(), Took::default()),
            Shape::CodeRun => {}
        }
        if let Some(waiting) = &self.waiting {
            return approval::parked(waiting);
        }
        let status = self.status_in(shape);
        let error = match self.code {
            "no-slot" if self.rule.as_deref() == Some("full") => {
                "code execution is at capacity - retry shortly".to_owned()
            }
            "not-started" => format!("Sandbox creation failed: {}", self.detail),
            _ => match self.place_within() {
                Some(place) => format!("{place}: {}", self.detail),
                None => self.detail.clone(),
            },
        };
        // What its clients know has exactly one member; what they cannot know says all there is to say.
        if PLAIN.contains(&status) {
            let body = serde_json::json!({"error": error}).to_string().into_bytes();
            return Answer { status, content_type: "application/json".to_owned(), body };
        }
        Self { status, error: Some(error), ..self }.into_answer()
    }

    /// The place within a field of the payload, such as `files/3`. The detail names the field, but not which of many.
    fn place_within(&self) -> Option<&str> {
        self.pointer.as_deref()?.strip_prefix("/payload/").filter(|place| place.contains('/'))
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = status_of(&refusal);
        if status.is_server_error() {
            tracing::warn!(
                room = refusal.room().as_str(),
                error = &refusal as &dyn std::error::Error,
                "refused"
            );
        }
        let pointer = if let Refusal::BadCall(bad) = &refusal {
            Some(format!("/payload{}", bad.pointer))
        } else {
            None
        };
        let tag = PriceTag::of(&refusal);
        let receipt =
            if let Refusal::AnswerExpired { content, .. } = &refusal { content.map(Box::new) } else { None };
        let waiting = if let Refusal::Parked(waiting) = &refusal { Some(waiting.clone()) } else { None };
        Self {
            waiting,
            room: Some(refusal.room().as_str()),
            rule: Some(refusal.rule().to_owned()),
            pointer,
            exec_id: refusal.run(),
            receipt,
            tag,
            retry_after_s: retry_after_s(&refusal, status),
            ..Self::new(status, code, outside_text(&refusal))
        }
    }
}

/// A window has an end; that there is room again is a guess.
fn retry_after_s(refusal: &Refusal, status: StatusCode) -> Option<u64> {
    if let Refusal::LimitReached { retry_after_s, .. } = refusal {
        return Some(*retry_after_s);
    }
    (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_S)
}

/// What the caller reads. OpenExec's clients look for its own words.
fn outside_text(refusal: &Refusal) -> String {
    if let Refusal::UnknownAction { action } = refusal {
        return format!("Unknown action: {action}");
    }
    if let Refusal::NotStarted(full @ NotStarted::Full) = refusal {
        return full.to_string();
    }
    // Why is for the operator; the log has it.
    if let Refusal::NoSlot(NotStarted::Fault(_)) = refusal {
        return "this action cannot start now; nothing is charged, try again".to_owned();
    }
    if let Refusal::ClawShield(error) = refusal {
        return clawshield_text(error);
    }
    // What is wrong is about the caller's own bytes, and stands in the source.
    if let Refusal::ApprovalInvalid(error) = refusal {
        let why = error.source().map(|why| format!(": {why}")).unwrap_or_default();
        return format!("{error}{why}");
    }
    refusal.to_string()
}

/// OpenExec's own words.
fn clawshield_text(error: &ClawShieldError) -> String {
    let text = match error {
        ClawShieldError::HashMismatch | ClawShieldError::Payload(_) => {
            "Action hash mismatch: approval does not match this request"
        }
        ClawShieldError::NoExpiry => "Missing expires_at in approval artifact",
        ClawShieldError::BadExpiry => "Invalid expires_at timestamp",
        ClawShieldError::Expired => "Approval artifact expired",
        ClawShieldError::NoKey => "CLAWSHIELD_PUBLIC_KEY not configured",
        ClawShieldError::Signature => "Invalid signature: approval artifact is not authentic",
        ClawShieldError::Tenant { wanted, found } => {
            return format!("Tenant mismatch: expected {wanted}, got {found}");
        }
    };
    text.to_owned()
}

/// Status and stable code of a refusal. Exhaustive on purpose: a new refusal has to be given both here.
fn status_of(refusal: &Refusal) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::UnknownAction { .. } => (StatusCode::BAD_REQUEST, "unknown-action"),
        Refusal::BadCall(_) => (StatusCode::BAD_REQUEST, "bad-payload"),
        Refusal::Undigestible(_) => (StatusCode::BAD_REQUEST, "inexact-number"),
        Refusal::BadId(_) => (StatusCode::BAD_REQUEST, "bad-name"),
        Refusal::PaymentRequired { .. } => (StatusCode::PAYMENT_REQUIRED, "payment-required"),
        // Its payer has to let Permit2 first: another payment of the same kind would be refused, too.
        Refusal::PaymentRefused { reason, .. } if is_to_be_let(reason) => {
            (StatusCode::PRECONDITION_FAILED, "payment-refused")
        }
        Refusal::PaymentRefused { .. } => (StatusCode::PAYMENT_REQUIRED, "payment-refused"),
        Refusal::PayerLimited { rule, .. } => (StatusCode::PAYMENT_REQUIRED, rule),
        Refusal::PaymentUnreadable { .. } => (StatusCode::BAD_REQUEST, "bad-payment"),
        Refusal::WatchedUnpaid => (StatusCode::NOT_ACCEPTABLE, "stream-needs-upfront"),
        Refusal::RailUnavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "rail-unavailable"),
        Refusal::PaymentReused => (StatusCode::CONFLICT, "payment-reused"),
        Refusal::Denied { .. } => (StatusCode::FORBIDDEN, "denied"),
        Refusal::LimitReached { .. } => (StatusCode::TOO_MANY_REQUESTS, "limit-reached"),
        Refusal::IamUnreachable => (StatusCode::SERVICE_UNAVAILABLE, "iam-unreachable"),
        Refusal::ApprovalMissing { .. } => (StatusCode::FORBIDDEN, "approval-missing"),
        Refusal::ArtifactUnreadable { .. } => (StatusCode::BAD_REQUEST, "bad-approval-artifact"),
        Refusal::ClawShield(_) | Refusal::ApprovalInvalid(_) | Refusal::OwnApproval { .. } => {
            (StatusCode::FORBIDDEN, "approval-invalid")
        }
        Refusal::Parked(_) => (StatusCode::ACCEPTED, "approval-required"),
        Refusal::ApprovalReused => (StatusCode::FORBIDDEN, "approval-reused"),
        Refusal::NonceReused { .. } => (StatusCode::CONFLICT, "nonce-reused"),
        Refusal::AnswerExpired { .. } => (StatusCode::GONE, "answer-expired"),
        Refusal::Unpaid { .. } => (StatusCode::PAYMENT_REQUIRED, "done-unpaid"),
        Refusal::SettlementPending { .. } => (StatusCode::PAYMENT_REQUIRED, "settlement-pending"),
        Refusal::StillRunning { .. } => (StatusCode::SERVICE_UNAVAILABLE, "still-running"),
        Refusal::Busy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        // A slot that was promised and is gone is told as one that there never was.
        Refusal::NoSlot(_) | Refusal::NotStarted(NotStarted::Full) => {
            (StatusCode::SERVICE_UNAVAILABLE, "no-slot")
        }
        Refusal::NotStarted(_) => (StatusCode::SERVICE_UNAVAILABLE, "not-started"),
        Refusal::NotStartedPaid(_) => (StatusCode::SERVICE_UNAVAILABLE, "not-started-paid"),
        Refusal::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "record-failed"),
        Refusal::Receipt { .. } => (StatusCode::SERVICE_UNAVAILABLE, "receipt-failed"),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.clone().told(Shape::Problem);
        // For a surface with a shape of its own; see `shape`.
        response.extensions_mut().insert(self);
        response
    }
}

/// The headers of every answer of this gateway: never cached, and of the type it says.
pub(crate) fn seal_headers(response: &mut Response, content_type: &str) {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    if let Ok(value) = HeaderValue::from_str(content_type) {
        headers.insert(CONTENT_TYPE, value);
    }
}
