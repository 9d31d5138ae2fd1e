//! The tool: a text and a list of operations to a text.

use serde_json::{Value, json};

use super::operation::{NAMES as OPERATIONS, Operation};
use crate::BadCall;
use crate::arguments::Arguments;
use crate::compute::{Computation, Place, Raised};

/// The names, as a schema lists them.
fn names() -> Vec<&'static str> {
    OPERATIONS.to_vec()
}

const EXAMPLE: &str =
    r#"{"input": " Hello ", "operations": ["trim", {"op": "replace", "find": "l", "with": "L"}]}"#;

/// The most operations of a call.
const OPERATIONS_MAX: usize = 64;

/// The longest text between operations, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 2 << 20;

/// The tool. Every operation is one pass over a bounded text.
pub(in crate::builtin) const COMPUTATION: Computation = Computation {
    name: "string_transform",
    summary: "Applies operations to a text, one after the other.",
    schema,
    check,
    compute,
    place: Place::Thread,
};

fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["input", "operations"],
        "additionalProperties": false,
        "properties": {
            "input": {"type": "string", "description": "The text to start with."},
            "operations": {
                "type": "array",
                "maxItems": OPERATIONS_MAX,
                "description": "What to do, in this order: a name, or an object with `op` and its arguments: replace {find, with} \
                                (every place), prefix {text}, suffix {text}, repeat {times}, truncate {length}, substring \
                                {start, end}, pad_start and pad_end {length, with}. Lengths and places count characters \
                                from 0. The text may have 2 MiB at every step.",
                "items": {
                    "anyOf": [
                        {"enum": names()},
                        {
                            "type": "object",
                            "required": ["op"],
                            "additionalProperties": false,
                            "properties": {
                                "op": {"enum": names()},
                                "find": {"type": "string", "minLength": 1},
                                "with": {"type": "string"},
                                "text": {"type": "string"},
                                "times": {"type": "integer", "minimum": 0},
                                "length": {"type": "integer", "minimum": 0},
                                "start": {"type": "integer", "minimum": 0},
                                "end": {"type": "integer", "minimum": 0}
                            }
                        }
                    ]
                }
            }
        },
        "examples": [{"input": " Hello ", "operations": ["trim", {"op": "replace", "find": "l", "with": "L"}]}]
    })
}

fn read(payload: &Value) -> Result<(&str, Vec<Operation<'_>>), BadCall> {
    let arguments = Arguments::of(payload, &["input", "operations"], EXAMPLE)?;
    let input = arguments.text("input")?;
    if input.len() > TEXT_BYTES_MAX {
        return Err(arguments.bad("input", &format!("may have {TEXT_BYTES_MAX} bytes")));
    }
    let list =
        arguments.maybe_list("operations")?.ok_or_else(|| arguments.bad("operations", "is missing"))?;
    if list.len() > OPERATIONS_MAX {
        return Err(arguments.bad("operations", &format!("may have {OPERATIONS_MAX} items")));
    }
    let mut operations = Vec::with_capacity(list.len());
    for (at, item) in list.iter().enumerate() {
        operations.push(Operation::read(item).map_err(|rule| BadCall {
            pointer: format!("/operations/{at}"),
            message: format!("operation {at}: {rule}; an example is {EXAMPLE}"),
        })?);
    }
    Ok((input, operations))
}

fn check(payload: &Value) -> Result<(), BadCall> {
    read(payload).map(|_| ())
}

fn compute(payload: &Value) -> Result<Value, Raised> {
    let (input, operations) = read(payload)?;
    let mut text = input.to_owned();
    for (at, operation) in operations.iter().enumerate() {
        text = operation
            .apply(&text)
            .map_err(|message| Raised::new("TransformError", format!("operation {at}: {message}")))?;
    }
    Ok(json!({ "output": text }))
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert, prop_assert_eq, proptest};
    use serde_json::{Value, json};

    use super::super::operation::NAMES;
    use super::{TEXT_BYTES_MAX, check, compute};

    fn output(input: &str, operations: &Value) -> Value {
        compute(&json!({"input": input, "operations": operations})).unwrap()["output"].clone()
    }

    #[test]
    fn operations_are_applied_in_order() {
        let operations = json!(["trim", "upper", {"op": "replace", "find": "L", "with": "1"}, "reverse"]);
        assert_eq!(output("  hello ", &operations), "O11EH");
        assert_eq!(output("as it is", &json!([])), "as it is");
    }

    #[test]
    fn every_operation_does_what_its_name_says() {
        for (input, operation, expected) in [
            ("aÉ", json!("lowercase"), "aé"),
            ("ß", json!("uppercase"), "SS"),
            ("ab CD", json!("capitalize"), "Ab cd"),
            ("the quick fox", json!("title_case"), "The Quick Fox"),
            ("HTTPServer name-x", json!("snake_case"), "http_server_name_x"),
            ("some_name here", json!("camel_case"), "someNameHere"),
            ("some_name here", json!("pascal_case"), "SomeNameHere"),
            ("Some Name", json!("kebab_case"), "some-name"),
            (" a\t b\n", json!("collapse_whitespace"), "a b"),
            (" a b ", json!("remove_whitespace"), "ab"),
            (" a ", json!("trim_start"), "a "),
            (" a ", json!("trim_end"), " a"),
            ("añb", json!("reverse"), "bña"),
            ("hi", json!("base64_encode"), "aGk="),
            ("aGk=", json!("base64_decode"), "hi"),
            ("a b&é", json!("url_encode"), "a%20b%26%C3%A9"),
            ("a%20b%26%C3%A9", json!("url_decode"), "a b&é"),
            ("hi", json!("hex_encode"), "6869"),
            ("<a href=\"x\">&'", json!("html_escape"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;"),
            ("a\n\"", json!("json_escape"), "a\\n\\\""),
            ("b\na\nb", json!("sort_lines"), "a\nb\nb"),
            ("b\na\nb", json!("unique_lines"), "b\na"),
            ("a", json!({"op": "prefix", "text": ">"}), ">a"),
            ("a", json!({"op": "suffix", "text": "<"}), "a<"),
            ("ab", json!({"op": "repeat", "times": 3}), "ababab"),
            ("añbc", json!({"op": "truncate", "length": 2}), "añ"),
            ("añbc", json!({"op": "substring", "start": 1, "end": 3}), "ñb"),
            ("añbc", json!({"op": "substring", "start": 9}), ""),
            ("7", json!({"op": "pad_start", "length": 3, "with": "0"}), "007"),
            ("é", json!({"op": "pad_end", "length": 3, "with": "ab"}), "éab"),
        ] {
            assert_eq!(output(input, &json!([operation])), expected, "{operation}");
        }
    }

    #[test]
    fn growth_is_refused_before_it_happens() {
        for bomb in [
            json!([{"op": "repeat", "times": u32::MAX}]),
            json!([{"op": "pad_end", "length": u32::MAX}]),
            json!(vec![json!({"op": "repeat", "times": 100}); 20]),
            json!(vec![json!({"op": "replace", "find": "a", "with": "a".repeat(1000)}); 3]),
        ] {
            let told = compute(&json!({"input": "aaaa", "operations": bomb})).unwrap_err();
            assert!(told.message.contains("2097152"), "{}", told.message);
        }
        let grows = vec!["hex_encode"; 64];
        assert!(compute(&json!({"input": "a", "operations": grows})).is_err());
    }

    #[test]
    fn what_is_no_operation_is_told_with_its_place() {
        for wrong in [
            json!(["nope"]),
            json!([7]),
            json!([{"op": "replace"}]),
            json!([{"op": "replace", "find": "", "with": "x"}]),
            json!([{"op": "repeat", "times": -1}]),
            json!([{"op": "upper", "times": 1}]),
            json!(["repeat"]),
        ] {
            let bad = check(&json!({"input": "", "operations": wrong})).unwrap_err();
            assert_eq!(bad.pointer, "/operations/0", "{}", bad.message);
        }
        assert!(check(&json!({"input": ""})).is_err());
        assert!(check(&json!({"input": "", "operations": vec!["trim"; 65]})).is_err());
        assert!(compute(&json!({"input": "%zz", "operations": ["url_decode"]})).is_err());
        assert!(compute(&json!({"input": "%ff", "operations": ["url_decode"]})).is_err());
    }

    proptest! {
        #[test]
        fn encodings_come_back(input in ".*") {
            for pair in [["base64_encode", "base64_decode"], ["url_encode", "url_decode"], ["reverse", "reverse"]] {
                prop_assert_eq!(output(&input, &json!(pair)), input.clone());
            }
        }

        #[test]
        fn no_text_grows_beyond_its_bound(input in ".{0,60}", first in 0..NAMES.len(), second in 0..NAMES.len()) {
            let operations = [first, second].map(|at| json!({"op": NAMES[at]}));
            let operations = json!(operations);
            if check(&json!({"input": input, "operations": operations})).is_ok()
                && let Ok(result) = compute(&json!({"input": input, "operations": operations}))
            {
                prop_assert!(result["output"].as_str().unwrap().len() <= TEXT_BYTES_MAX);
            }
        }
    }
}
