//! From a body `{code, language?, …}` to a proposal of the language's action.

use axum::http::HeaderMap;
use execgate_model::{ActionName, BodyPlace, Caller, Effect, Hearsay, Offer, Proposal, RunOptions, Surface};
use execgate_tool::code;
use serde_json::{Map, Value};

use crate::body::Fields;
use crate::headers::{approval, nonce};
use crate::problem::Problem;

/// The language of a call that names none.
pub(super) const DEFAULT_LANGUAGE: &str = "python";

/// The proposal.
pub(crate) fn read(
    fields: Map<String, Value>,
    headers: &HeaderMap,
    offer: Offer,
    caller: Caller,
    languages: &[String],
) -> Result<Proposal, Problem> {
    let mut fields = Fields::new(fields);
    let (language, words) = language(fields.any("language"), languages)?;
    let approval = match fields.artifact()? {
        Some(artifact) => Some(artifact),
        None => approval(headers)?,
    };
    let receipt = fields.switch("receipt")?;
    let mut payload = fields.rest();
    for word in words {
        payload.insert("dialect".to_owned(), word.into());
    }
    Ok(Proposal {
        surface: Surface::CodeRun,
        action: ActionName::new(language)
            .map_err(|error| Problem::bad_field("/language", error.to_string()))?,
        payload: Value::Object(payload),
        effect: Effect::Live,
        options: RunOptions { offer: Some(offer), receipt, ..RunOptions::default() },
        nonce: nonce(headers)?,
        caller,
        approval,
        credential: None,
        watcher: None,
        place: BodyPlace::default(),
        hearsay: Hearsay::default(),
        peer: None,
    })
}

/// The language's own name and its dialect, by any of its names.
pub(crate) fn language(asked: Option<Value>, languages: &[String]) -> Result<(String, Vec<String>), Problem> {
    let asked = match asked {
        None => DEFAULT_LANGUAGE.to_owned(),
        Some(Value::String(name)) => name.trim().to_lowercase(),
        Some(other) => other.to_string(),
    };
    let known = code::named(&asked).filter(|(name, _)| languages.contains(name));
    known.ok_or_else(|| {
        let asked: String = asked.chars().filter(|c| !c.is_control()).take(64).collect();
        let detail = format!("Unsupported language \"{asked}\". Supported: {}", languages.join(", "));
        Problem::bad_field("/language", detail)
    })
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue};
    use execgate_model::{Caller, Identity, Offer, Proposal, TenantId};
    use serde_json::{Value, json};

    use super::read;
    use crate::problem::Problem;

    fn reads(body: Value, headers: &[(&'static str, &'static str)]) -> Result<Proposal, Problem> {
        let headers: HeaderMap =
            headers.iter().map(|(k, v)| (k.parse().unwrap(), HeaderValue::from_static(v))).collect();
        let Value::Object(fields) = body else { unreachable!("tests send objects") };
        let caller = Caller { tenant: TenantId::new("default").unwrap(), identity: Identity::Local };
        let languages = ["javascript", "python"].map(str::to_owned);
        read(fields, &headers, Offer::CodeRun, caller, &languages)
    }

    fn refusal(body: Value, headers: &[(&'static str, &'static str)]) -> String {
        let (_, text) = match reads(body, headers) {
            Ok(_) => unreachable!("refused"),
            Err(problem) => (problem.code(), problem.detail().to_owned()),
        };
        text
    }

    #[test]
    fn a_language_has_several_names_and_a_default() {
        let action = |body| reads(body, &[]).unwrap().action.to_string();
        assert_eq!(action(json!({"code": "1"})), "python");
        assert_eq!(action(json!({"language": " JS "})), "javascript");
        let proposal = reads(json!({"language": "ts", "code": "1"}), &[]).unwrap();
        assert_eq!(proposal.payload, json!({"code": "1", "dialect": "typescript"}));
    }

    #[test]
    fn an_unknown_language_is_told_in_the_words_of_the_service() {
        let told = refusal(json!({"language": "ruby"}), &[]);
        assert_eq!(told, "Unsupported language \"ruby\". Supported: javascript, python");
        assert!(refusal(json!({"language": "bash"}), &[]).starts_with("Unsupported language \"bash\""));
        assert!(refusal(json!({"language": 5}), &[]).starts_with("Unsupported language \"5\""));
    }

    #[test]
    fn headers_carry_what_the_body_has_no_place_for() {
        let proposal = reads(
            json!({"receipt": true}),
            &[("idempotency-key", "k1"), ("approval-artifact", "eyJhIjoxfQ==")],
        )
        .unwrap();
        assert_eq!(proposal.nonce.unwrap().as_str(), "k1");
        assert_eq!((proposal.approval, proposal.options.receipt), (Some(r#"{"a":1}"#.to_owned()), true));
        assert!(refusal(json!({}), &[("approval-artifact", "no")]).contains("base64"));
        assert!(refusal(json!({}), &[("idempotency-key", "")]).contains("Idempotency-Key"));
    }
}
