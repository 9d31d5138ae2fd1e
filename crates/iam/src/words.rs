//! What is asked, and how an answer is understood. The shapes are those of `POST /ep/validate`.
//!
//! Arguments stay here: the service gets their digest. Only fields that are of that shape themselves (what a trade is
//! judged by) go along by value.

use execgate_flow::authorise::Question;
use execgate_model::Effect;
use execgate_receipt::parse_strict;
use serde_json::{Map, Value, json};

/// Fields of the arguments that the service judges by their value.
const SHARED: [&str; 8] =
    ["asset", "direction", "amount_usd", "entry_price", "stop_loss", "take_profit", "leverage", "chain"];

/// The longest text among them, in bytes.
const TEXT_MAX: usize = 256;

/// The longest reason that is passed on, in characters.
const REASON_MAX: usize = 256;

/// Violations that are passed on.
const VIOLATIONS_MAX: usize = 8;

/// What the service has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Yes.
    Yes,
    /// No, and why.
    No(String),
}

/// The body of a question.
///
/// # Errors
/// A field that the service would judge by its value is no number and no short text: left out, it would not be judged.
pub(crate) fn body(question: &Question<'_>) -> Result<Vec<u8>, Verdict> {
    let mut fields = Map::new();
    for name in SHARED {
        match question.payload.get(name) {
            None | Some(Value::Null) => {}
            Some(value) if is_small(value) => drop(fields.insert(name.to_owned(), value.clone())),
            Some(_) => return Err(Verdict::No(format!("`{name}` must be a number or a short text"))),
        }
    }
    let own = json!({
        "agent_id": question.caller.label(),
        "tenant": question.caller.tenant,
        "action": question.action,
        "tool": question.action,
        "dry_run": matches!(question.effect, Effect::DryRun),
        "args_digest": question.args_digest,
        "policy_digest": question.policy,
    });
    if let Value::Object(own) = own {
        fields.extend(own);
    }
    Ok(Value::Object(fields).to_string().into_bytes())
}

fn is_small(value: &Value) -> bool {
    match value {
        Value::Number(_) => true,
        Value::String(text) => text.len() <= TEXT_MAX,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// Understands an answer; none where it is none.
///
/// A yes is status 200 and `valid: true` (or, of older services, `approved: true`), and nothing beside it that says no.
/// What the service itself calls the caller's fault is a no: otherwise a caller could make it unreadable at will.
pub(crate) fn read(status: u16, body: &[u8]) -> Option<Verdict> {
    let parsed = parse_strict(body).ok();
    let fields = parsed.as_ref().and_then(Value::as_object);
    match status {
        200 => {
            let fields = fields?;
            let words: Vec<&Value> =
                ["valid", "approved"].iter().filter_map(|name| fields.get(*name)).collect();
            if words.is_empty() || !words.iter().all(|word| word.is_boolean()) {
                return None;
            }
            let is_yes = words.iter().all(|word| **word == Value::Bool(true));
            Some(if is_yes { Verdict::Yes } else { Verdict::No(reason(fields)) })
        }
        408 | 429 => None,
        400..=499 => Some(Verdict::No(fields.map_or_else(unexplained, reason))),
        _ => None,
    }
}

fn unexplained() -> String {
    "the identity service says no".to_owned()
}

/// Why, in the words of the service, in one bounded line.
fn reason(fields: &Map<String, Value>) -> String {
    let of = |violation: &Value| -> Option<String> {
        let text = violation.as_str().or_else(|| {
            ["message", "code"].iter().find_map(|name| violation.get(*name).and_then(Value::as_str))
        });
        text.map(str::to_owned)
    };
    let violations = fields.get("violations").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut words: Vec<String> = violations.iter().take(VIOLATIONS_MAX).filter_map(of).collect();
    if words.is_empty() {
        words.extend(fields.get("error").and_then(of));
    }
    if words.is_empty() {
        return unexplained();
    }
    let text = words.join("; ");
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_MAX);
    format!("the identity service says no: {}", line.collect::<String>())
}

#[cfg(test)]
mod tests {
    use execgate_flow::authorise::Question;
    use execgate_model::{ActionName, Caller, Digest, Effect, Identity, TenantId};
    use serde_json::{Value, json};

    use super::{REASON_MAX, Verdict, body, read};

    fn no(reason: &str) -> Option<Verdict> {
        Some(Verdict::No(format!("the identity service says no{reason}")))
    }

    fn asked(payload: &Value) -> Result<Value, Verdict> {
        let caller = Caller { tenant: TenantId::new("acme").unwrap(), identity: Identity::Local };
        let action = ActionName::new("echo").unwrap();
        let question = Question {
            caller: &caller,
            action: &action,
            effect: Effect::DryRun,
            payload,
            args_digest: Digest::from_bytes([1; 32]),
            policy: Digest::from_bytes([2; 32]),
        };
        body(&question).map(|bytes| serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn a_question_says_who_and_what_and_holds_no_other_argument() {
        let payload =
            json!({"amount_usd": 25, "asset": "BNKR", "api_key": "s", "agent_id": "x", "chain": null});
        assert_eq!(
            asked(&payload),
            Ok(json!({
                "agent_id": "local", "tenant": "acme", "action": "echo", "tool": "echo", "dry_run": true,
                "args_digest": "01".repeat(32), "policy_digest": "02".repeat(32),
                "amount_usd": 25, "asset": "BNKR",
            }))
        );
    }

    #[test]
    fn what_would_be_judged_cannot_be_hidden() {
        for hidden in [json!([101]), json!({"is": 101}), json!(true), json!("x".repeat(257))] {
            assert!(matches!(asked(&json!({ "amount_usd": hidden })), Err(Verdict::No(_))));
        }
    }

    #[test]
    fn only_a_clear_yes_is_one() {
        let ok = |body: &str| read(200, body.as_bytes());
        for yes in [r#"{"valid":true,"risk_score":"LOW"}"#, r#"{"approved":true}"#] {
            assert_eq!(ok(yes), Some(Verdict::Yes), "{yes}");
        }
        for nothing in [
            "",
            "yes",
            "[]",
            "{}",
            r#"{"valid":"true"}"#,
            r#"{"valid":1}"#,
            r#"{"valid":null}"#,
            r#"{"valid":false,"valid":true}"#,
            r#"{"valid":true"#,
            r#"{"valid":true,"approved":"no"}"#,
        ] {
            assert_eq!(ok(nothing), None, "{nothing}");
        }
        assert_eq!(ok(r#"{"valid":true,"approved":false}"#), no(""));
        for status in [201, 204, 301, 302, 307, 408, 429, 500, 503] {
            assert_eq!(read(status, br#"{"valid":true}"#), None, "{status}");
        }
        for status in [400, 401, 403, 404, 422] {
            assert_eq!(read(status, br#"{"valid":true}"#), no(""), "{status}");
            assert_eq!(read(status, b"<html>"), no(""), "{status}");
        }
    }

    #[test]
    fn a_reason_is_one_bounded_line() {
        let said = |body: Value| read(200, body.to_string().as_bytes());
        assert_eq!(
            said(
                json!({"valid": false, "violations": ["over $100", {"code": "LEVERAGE"}, 7, {"message": "a\nb"}]})
            ),
            no(": over $100; LEVERAGE; a b")
        );
        assert_eq!(said(json!({"valid": false, "violations": []})), no(""));
        assert_eq!(read(400, br#"{"error":"Missing agent_id"}"#), no(": Missing agent_id"));
        let Some(Verdict::No(long)) = said(json!({"valid": false, "violations": ["é".repeat(9_999)]}))
        else {
            panic!("no reason")
        };
        assert!(long.chars().count() < REASON_MAX + 40);
    }
}
