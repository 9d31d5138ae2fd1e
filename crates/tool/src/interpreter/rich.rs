//! Rich results as the answer shows them. What a guest displays is text of its own making: only known keys pass,
//! and only values that a receipt can be made of.

use serde_json::{Map, Value};

use super::bounds::RICH_BYTES_MAX;
use crate::guest_json;

/// What a result may hold; the names are those of E2B's code interpreter.
const KEYS: [&str; 11] =
    ["text", "html", "markdown", "svg", "png", "jpeg", "pdf", "latex", "json", "javascript", "data"];

/// The rich results that a run displayed, as an answer shows them, and whether something was left out.
#[must_use]
pub fn results(displays: &[String]) -> (Vec<Value>, bool) {
    let mut room = RICH_BYTES_MAX;
    let mut left_out = false;
    let results = displays
        .iter()
        .filter_map(|text| {
            let shown = if text.len() <= room { result(text) } else { None };
            left_out |= shown.is_none();
            room -= shown.as_ref().map_or(0, |_| text.len());
            shown
        })
        .collect();
    (results, left_out)
}

fn result(text: &str) -> Option<Value> {
    let kept = guest_json::object(text)?.into_iter().filter(|(key, value)| match key.as_str() {
        "json" | "data" => true,
        "is_main_result" => value.is_boolean(),
        known => KEYS.contains(&known) && value.is_string(),
    });
    let kept: Map<_, _> = kept.collect();
    (!kept.is_empty()).then_some(Value::Object(kept))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::results;

    fn shown(texts: &[&str]) -> (Vec<serde_json::Value>, bool) {
        results(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn only_known_keys_of_the_right_kind_pass() {
        let text =
            r#"{"text": "x", "png": 1, "html": "<b>", "evil": "y", "is_main_result": true, "json": [1]}"#;
        let expected = json!({"text": "x", "html": "<b>", "is_main_result": true, "json": [1]});
        assert_eq!(shown(&[text]), (vec![expected], false));
        assert_eq!(shown(&[r#"{"is_main_result": "yes"}"#]), (Vec::new(), true));
    }

    #[test]
    fn what_is_no_object_is_left_out_and_said() {
        assert_eq!(shown(&["[1]", "{", "{}", r#"{"text": "kept"}"#]), (vec![json!({"text": "kept"})], true));
        let deep = format!(r#"{{"text": "t", "json": {}{}}}"#, "[".repeat(80), "]".repeat(80));
        assert_eq!(shown(&[&deep]), (vec![json!({"text": "t"})], false));
    }

    #[test]
    fn layers_within_the_parsers_private_key_are_texts() {
        // As a guest may write it: a key that is escaped, a text that would be parsed anew.
        let mut layers = "1".to_owned();
        for _ in 0..10 {
            let text = format!("{}{layers}{}", "[".repeat(120), "]".repeat(120));
            layers = format!("{{\"\\u0024serde_json::private::RawValue\": {}}}", json!(text));
        }
        let (got, left_out) = shown(&[&format!("{{\"json\": {layers}}}")]);
        assert_eq!((got.len(), left_out), (1, false));
        assert!(got[0]["json"]["$serde_json::private::RawValue"].is_string());
    }

    #[test]
    fn all_results_share_one_room() {
        let large = format!(r#"{{"text": "{}"}}"#, "x".repeat(3 << 20));
        let (got, left_out) = shown(&[&large, &large, r#"{"text": "small"}"#]);
        assert_eq!((got.len(), left_out), (2, true));
    }
}
