//! What holds of what comes in at the doors, whatever the bytes. Fuzz targets and property tests call it.
//!
//! A request is written as HTTP has it: lines of headers, an empty line, a body.

use core::str;

use axum::http::header::{FORWARDED, HOST, ORIGIN, VIA};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use execgate_flow::BATCH_MAX;
use execgate_model::{BodyPlace, Caller, Effect, Identity, Offer, Surface, TenantId};
use execgate_receipt::parse_strict;
use serde_json::{Map, Value};

use crate::body::Fields;
use crate::doors::{self, DoorRules};
use crate::http::secureexec::Common;
use crate::http::{code, openexec, secureexec};
use crate::problem::{Problem, Shape};

/// The only name beside `localhost` and addresses that is served here.
const OWN_HOST: &str = "gate.example";

/// Whoever comes in names one host that is ours, is no page from elsewhere, and comes through no proxy.
pub fn door(bytes: &[u8]) {
    let (headers, _) = request(bytes);
    let rules = DoorRules { hosts: vec![OWN_HOST.to_owned()], free: true, ..DoorRules::default() };
    if let Err(problem) = doors::check(&rules, &headers) {
        return is_told(problem);
    }
    let hosts: Vec<_> = headers.get_all(HOST).iter().filter_map(|host| host.to_str().ok()).collect();
    assert_eq!(hosts.len(), 1);
    let host = hosts.concat().to_ascii_lowercase();
    let is_named = ["localhost", OWN_HOST]
        .iter()
        .any(|name| host.strip_prefix(name).is_some_and(|port| port.is_empty() || port.starts_with(':')));
    assert!(
        is_named || host.starts_with(|first: char| first == '[' || first.is_ascii_hexdigit() || first == ':')
    );
    for origin in headers.get_all(ORIGIN) {
        let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        assert!([format!("http://{host}"), format!("https://{host}")].contains(&origin));
    }
    assert!(![FORWARDED, VIA].iter().any(|name| headers.contains_key(name)));
}

/// A body of `/execute` is refused in the shape of the surface, or is a proposal with a nonce.
pub fn execute_call(bytes: &[u8]) {
    let Some(fields) = object(bytes) else { return };
    match openexec::proposal(fields, BodyPlace::default(), caller()) {
        Ok(proposal) => {
            assert!(proposal.nonce.is_some() && proposal.payload.is_object());
            assert_ne!(proposal.approval.as_deref(), Some("null"));
        }
        Err(problem) => is_told(problem),
    }
}

/// A request to one of the code surfaces is refused in the shape of the surface, or is a proposal for a language that
/// is there.
pub fn code_request(bytes: &[u8]) {
    let (headers, body) = request(bytes);
    let Some(fields) = object(body) else { return };
    let languages = ["javascript", "python"].map(str::to_owned);
    match code::read(fields, &headers, Offer::CodeRun, caller(), &languages) {
        Ok(proposal) => {
            assert!(languages.iter().any(|language| language == proposal.action.as_str()));
            assert_eq!(proposal.nonce.is_some(), headers.contains_key("idempotency-key"));
            assert!(proposal.payload.is_object());
        }
        Err(problem) => is_told(problem),
    }
}

/// A body of `/exec/*` is refused in the shape of the surface, or is a call, or a batch whose calls are bounded.
pub fn tool_call(bytes: &[u8]) {
    let (headers, body) = request(bytes);
    let Some(fields) = object(body) else { return };
    for surface in [Surface::SecureExec, Surface::Simulate] {
        let common = |fields: &mut Fields| Common::read(fields, &headers, surface, caller());
        match secureexec::read_call(fields.clone(), common) {
            Ok(proposal) => {
                assert!(proposal.payload.is_object() && proposal.surface == surface);
                assert_eq!(proposal.nonce.is_some(), headers.contains_key("idempotency-key"));
                assert!(proposal.options.timeout_ms.is_none_or(|ms| (1..=30_000).contains(&ms)));
                assert!(surface == Surface::SecureExec || proposal.effect == Effect::DryRun);
            }
            Err(problem) => is_told(problem),
        }
    }
    let common = |fields: &mut Fields| Common::read(fields, &headers, Surface::SecureExec, caller());
    match secureexec::read_batch(fields, common) {
        Ok(batch) => assert!((1..=BATCH_MAX).contains(&batch.items.len())),
        Err(problem) => is_told(problem),
    }
}

/// However output comes in pieces, it is the same text. The first byte is the size of a piece.
pub fn live_text(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else { return };
    let pieces = bytes.chunks(usize::from(*size).max(1));
    assert_eq!(code::joined(pieces), String::from_utf8_lossy(bytes));
}

/// A fault of the caller is told as one, as JSON, on every surface.
fn is_told(problem: Problem) {
    for shape in [Shape::Problem, Shape::CodeRun, Shape::Exec] {
        let answer = problem.clone().shaped(shape);
        assert!((400..500).contains(&answer.status), "{}", answer.status);
        let told: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let member = match shape {
            Shape::Problem => "detail",
            Shape::CodeRun => "error",
            Shape::Exec => "proofHash",
        };
        assert!(told.is_some_and(|told| told.get(member).is_some_and(Value::is_string)));
    }
}

fn caller() -> Caller {
    let Ok(tenant) = TenantId::new("default") else { unreachable!("a tenant may be called so") };
    Caller { tenant, identity: Identity::Local }
}

fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    match parse_strict(bytes) {
        Ok(Value::Object(fields)) => Some(fields),
        Ok(_) | Err(_) => None,
    }
}

/// Headers and body. What is no header is left out, as the HTTP library would never hand it on.
fn request(bytes: &[u8]) -> (HeaderMap, &[u8]) {
    let end = bytes.windows(2).position(|window| window == b"\n\n");
    let (head, body) = end.map_or((bytes, &[][..]), |end| (&bytes[..end], &bytes[end + 2..]));
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    (headers, body)
}

#[cfg(test)]
#[path = "../../../fuzz/near.rs"]
mod near;

#[cfg(test)]
mod tests {
    use super::{code_request, door, execute_call, live_text, near, tool_call};

    #[test]
    fn whoever_comes_in_may_come_in() {
        near::holds("door", door);
    }

    #[test]
    fn a_call_of_an_action_is_a_proposal_or_told_as_a_fault() {
        near::holds("execute_call", execute_call);
    }

    #[test]
    fn a_call_of_code_is_a_proposal_or_told_as_a_fault() {
        near::holds("code_request", code_request);
    }

    #[test]
    fn a_call_of_a_tool_is_a_proposal_or_told_as_a_fault() {
        near::holds("tool_call", tool_call);
    }

    #[test]
    fn live_output_is_the_same_text_however_it_comes() {
        near::holds("live_text", live_text);
    }
}
