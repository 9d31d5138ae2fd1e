//! Rich results as the answer shows them. What a guest displays is text of its own making: only known keys pass,
//! and only values that a receipt can be made of.

use serde_json::{Map, Number, Value};

use super::bounds::RICH_BYTES_MAX;

/// What a result may hold; the names are those of E2B's code interpreter.
const KEYS: [&str; 11] =
    ["text", "html", "markdown", "svg", "png", "jpeg", "pdf", "latex", "json", "javascript", "data"];

/// What the JSON parser keeps for itself.
const PRIVATE_KEY: &str = "$serde_json::private";

/// How deeply a value may be nested: less than a receipt can digest, with room for what wraps it.
const NESTING_MAX: usize = 64;

/// From here on integers are written as text, since readers of JSON round them (RFC 7493, section 2.2).
const FIRST_INEXACT: f64 = 9_007_199_254_740_992.0;

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
    // The parser's private key lets a text nest more deeply than the parser allows.
    if text.contains(PRIVATE_KEY) {
        return None;
    }
    let Ok(Value::Object(told)) = serde_json::from_str(text) else { return None };
    let kept = told.into_iter().filter_map(|(key, value)| {
        let passes = match key.as_str() {
            "json" | "data" => value,
            "is_main_result" if value.is_boolean() => value,
            known if KEYS.contains(&known) && value.is_string() => value,
            _ => return None,
        };
        Some((key, exact(passes, NESTING_MAX)?))
    });
    let kept: Map<_, _> = kept.collect();
    (!kept.is_empty()).then_some(Value::Object(kept))
}

/// The value with every number as readers hold it; `None` where it is nested too deeply.
fn exact(value: Value, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    Some(match value {
        Value::Number(number) if is_rounded(&number) => Value::String(number.to_string()),
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| exact(item, depth)).collect::<Option<_>>()?)
        }
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, field)| Some((key, exact(field, depth)?)));
            Value::Object(fields.collect::<Option<_>>()?)
        }
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => plain,
    })
}

fn is_rounded(number: &Number) -> bool {
    number.as_f64().is_none_or(|value| value.abs() >= FIRST_INEXACT)
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
    fn numbers_that_readers_would_round_are_text() {
        let (got, _) = shown(&[r#"{"data": {"a": [9007199254740993, 1.5, 1e30, -3]}}"#]);
        assert_eq!(got, [json!({"data": {"a": ["9007199254740993", 1.5, "1e+30", -3]}})]);
    }

    #[test]
    fn all_results_share_one_room() {
        let large = format!(r#"{{"text": "{}"}}"#, "x".repeat(3 << 20));
        let (got, left_out) = shown(&[&large, &large, r#"{"text": "small"}"#]);
        assert_eq!((got.len(), left_out), (2, true));
    }
}
