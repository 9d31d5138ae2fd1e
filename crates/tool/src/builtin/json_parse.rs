//! `json_parse`: whether a text is JSON, and its value: `{"valid", "value" | "error"}`.

use serde_json::{Value, json};

use crate::BadCall;
use crate::arguments::Arguments;
use crate::compute::{Computation, Place, Raised};
use crate::guest_json::{Numbers, value};

const EXAMPLE: &str = r#"{"data": "{\"a\": [1, 2]}"}"#;

/// The tool. One pass over the text, at most as deep as a receipt can digest.
pub(super) const COMPUTATION: Computation = Computation {
    name: "json_parse",
    summary: "Says whether a text is JSON, and gives its value.",
    schema,
    check,
    compute,
    place: Place::Thread,
};

fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["data"],
        "additionalProperties": false,
        "properties": {
            "data": {
                "description": "The JSON text to parse. Anything but a string is taken as parsed already and given back. \
                                In the value, numbers from 2^53 on are text, since readers of JSON round them; of a \
                                name that stands twice in an object the last counts; at most 64 levels deep. A column \
                                counts bytes."
            }
        },
        "examples": [{"data": "{\"a\": [1, 2]}"}]
    })
}

fn check(payload: &Value) -> Result<(), BadCall> {
    Arguments::of(payload, &["data"], EXAMPLE)?.any("data").map(|_| ())
}

fn compute(payload: &Value) -> Result<Value, Raised> {
    let data = Arguments::of(payload, &["data"], EXAMPLE)?.any("data")?;
    let Value::String(text) = data else { return Ok(json!({"valid": true, "value": data})) };
    Ok(match value(text.as_bytes(), Numbers::Exact) {
        Ok(value) => json!({"valid": true, "value": value}),
        Err(bad) => json!({
            "valid": false,
            "error": {"message": bad.message, "line": bad.line, "column": bad.column}
        }),
    })
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert_eq, proptest};
    use serde_json::{Value, json};

    use super::{check, compute};

    fn parsed(text: &str) -> Value {
        compute(&json!({"data": text})).unwrap()
    }

    #[test]
    fn a_text_is_parsed_or_its_fault_is_placed() {
        assert_eq!(parsed(" [1, {\"a\": null}] "), json!({"valid": true, "value": [1, {"a": null}]}));
        assert_eq!(parsed("null"), json!({"valid": true, "value": null}));
        let wrong = parsed("{\n  \"a\": x\n}");
        assert_eq!(wrong["valid"], false);
        assert_eq!((&wrong["error"]["line"], &wrong["error"]["column"]), (&json!(2), &json!(8)));
        assert!(!wrong["error"]["message"].as_str().unwrap().contains("line"));
        for wrong in ["", "{} {}", "[1,]", "nul", "\"\\ud800\"", "01", "1e999"] {
            assert_eq!(parsed(wrong)["valid"], false, "{wrong}");
        }
    }

    #[test]
    fn what_is_parsed_already_is_given_back() {
        assert_eq!(compute(&json!({"data": {"a": 1}})), Ok(json!({"valid": true, "value": {"a": 1}})));
        assert!(check(&json!({})).unwrap_err().message.contains("`data` is missing"));
        assert_eq!(check(&json!({"data": 1, "date": 2})).unwrap_err().pointer, "/date");
    }

    #[test]
    fn numbers_that_readers_round_are_text() {
        assert_eq!(parsed("[9007199254740993, 1e300]")["value"], json!(["9007199254740993", "1e+300"]));
    }

    #[test]
    fn a_text_that_is_too_deep_is_told_and_takes_no_stack() {
        let deep = parsed(&"[".repeat(1 << 20));
        assert_eq!(deep["valid"], false);
        let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
        assert_eq!(parsed(&deep)["error"]["message"], "nested more than 64 levels deep");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(text in ".*", number: i32, other in proptest::bool::ANY) {
            let value = json!({"text": text, "list": [number, other, null]});
            prop_assert_eq!(parsed(&value.to_string()), json!({"valid": true, "value": value}));
        }

        #[test]
        fn no_text_is_a_fault(text in ".*") {
            assert!(parsed(&text)["valid"].is_boolean());
        }
    }
}
