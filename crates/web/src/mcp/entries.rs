//! What the protocol is told of each tool beside its arguments: a title, hints, and the form of its answer.

use std::sync::{Arc, OnceLock};

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

/// What the hints of a tool say, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Only computes: the same arguments have the same answer, and nothing changes.
    Computes,
    /// Reads from the internet, and changes nothing.
    Reads,
    /// May do anything that whoever declared it lets it do.
    Acts,
}

/// What is known of a tool by its name: its title, its kind, and the form of `output`.
struct Entry {
    name: &'static str,
    title: &'static str,
    kind: Kind,
    output: &'static str,
}

const fn computes(name: &'static str, title: &'static str, output: &'static str) -> Entry {
    Entry { name, title, kind: Kind::Computes, output }
}

/// The tools of PRODUCT A. What is not here is an action of the operator's.
const ENTRIES: [Entry; 10] = [
    computes(
        "data_filter",
        "Filter and sort data",
        r#"{"type": "object", "required": ["items", "count"], "properties": {"items": {"type": "array"}, "count": {"type": "integer", "minimum": 0}}}"#,
    ),
    computes(
        "hash_generate",
        "Hash data",
        r#"{"type": "object", "required": ["hash"], "properties": {"hash": {"type": "string"}}}"#,
    ),
    Entry {
        name: "http_get",
        title: "Fetch a URL",
        kind: Kind::Reads,
        output: r#"{"type": "object", "required": ["status", "headers", "body"], "properties": {"status": {"type": "integer"}, "headers": {"type": "object"}, "body": {"type": "string"}}}"#,
    },
    computes(
        "json_parse",
        "Parse JSON",
        r#"{"type": "object", "required": ["valid"], "properties": {"valid": {"type": "boolean"}, "value": {}, "error": {"type": "object", "properties": {"message": {"type": "string"}, "line": {"type": "integer"}, "column": {"type": "integer"}}}}}"#,
    ),
    computes(
        "math_compute",
        "Compute an expression",
        r#"{"type": "object", "required": ["value"], "properties": {"value": {}}}"#,
    ),
    computes(
        "mock_api_call",
        "Simulate an API call",
        r#"{"type": "object", "required": ["status", "body"], "properties": {"status": {"type": "integer"}, "headers": {"type": "object"}, "body": {}}}"#,
    ),
    computes(
        "regex_match",
        "Match a pattern",
        r#"{"type": "object", "required": ["matched", "matches"], "properties": {"matched": {"type": "boolean"}, "matches": {"type": "array", "items": {"type": "object"}}}}"#,
    ),
    computes(
        "schema_validate",
        "Validate by a JSON Schema",
        r#"{"type": "object", "required": ["valid"], "properties": {"valid": {"type": "boolean"}, "errors": {"type": "array", "items": {"type": "object", "properties": {"path": {"type": "string"}, "message": {"type": "string"}}}}}}"#,
    ),
    computes(
        "string_transform",
        "Transform text",
        r#"{"type": "object", "required": ["output"], "properties": {"output": {}}}"#,
    ),
    computes(
        "timestamp_parse",
        "Parse a time",
        r#"{"type": "object", "required": ["iso"], "properties": {"iso": {"type": "string"}, "unix": {}, "unix_ms": {}}}"#,
    ),
];

/// A tool of the registry, as the protocol lists it.
pub(super) fn tool(name: &str, summary: String, schema: Value) -> Tool {
    let entry = ENTRIES.iter().find(|entry| entry.name == name);
    let output = entry.and_then(|entry| serde_json::from_str::<Value>(entry.output).ok());
    // What has failed shows its error there.
    let failed = || json!({"type": "object", "required": ["error"]});
    let output = output.map_or_else(|| json!({}), |output| json!({"anyOf": [output, failed()]}));
    let kind = entry.map_or(Kind::Acts, |entry| entry.kind);
    let tool = Tool::new(name.to_owned(), summary, object(schema))
        .with_raw_output_schema(form(json!({
            "type": "object",
            "required": ["output", "run", "receipt"],
            "properties": {
                "output": output,
                "run": run_schema(),
                "receipt": receipt_schema(),
                "simulated": {"type": "boolean", "description": "True where nothing was done for real."},
                "error": {
                    "type": ["object", "string"],
                    "properties": {"name": {"type": "string"}, "message": {"type": "string"}}
                }
            }
        })))
        .with_annotations(hints(kind));
    match entry {
        Some(entry) => tool.with_title(entry.title),
        None => tool,
    }
}

fn hints(kind: Kind) -> ToolAnnotations {
    let (reads, open) = match kind {
        Kind::Computes => (true, false),
        Kind::Reads => (true, true),
        Kind::Acts => (false, true),
    };
    let hints = ToolAnnotations::new().read_only(reads).open_world(open);
    // The other two say something of tools alone that change anything.
    if reads { hints } else { hints.destructive(true).idempotent(false) }
}

fn run_schema() -> Value {
    json!({"type": "string", "format": "uuid", "description": "The run's id; `verify_receipt` takes it as `exec_id`."})
}

fn receipt_schema() -> Value {
    json!({"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "The digest of the run's receipt."})
}

/// An object of a schema, as the library wants it.
pub(super) fn object(schema: Value) -> Arc<JsonObject> {
    Arc::new(if let Value::Object(fields) = schema { fields } else { Map::new() })
}

/// The form of an answer for programs: of an end, whose members a schema requires, of a refusal or a call that waits, or of
/// what is to be paid (whose `error` is a text). Clients hold each of them against it, those of the first TypeScript SDK also where it
/// is an error, and would show nobody what was refused.
fn form(mut end: Value) -> Arc<JsonObject> {
    if let Some(required) = end.as_object_mut().and_then(|end| end.remove("required")) {
        end["anyOf"] =
            json!([{"required": required}, {"required": ["status"]}, {"required": ["x402Version"]}]);
    }
    object(end)
}

/// `execute_code`, in these languages.
pub(super) fn execute_code(languages: &[String]) -> Tool {
    let names = languages.join(", ");
    let described = format!(
        "Runs code ({names}) in a fresh, isolated jail without network, and answers with its output, the value of its \
         last expression, pictures that it shows, and a receipt. Nothing is kept between calls: send all that a call \
         needs, as `code`, `files` or `stdin`. Files that `collect` names come back."
    );
    Tool::new("execute_code", described, object(code_input(languages)))
        .with_title("Execute code")
        .with_raw_output_schema(code_output())
        // What runs in the jail changes nothing outside of it, and reaches nothing; that it is code is for the client to know.
        .with_annotations(
            ToolAnnotations::new().read_only(false).destructive(false).idempotent(false).open_world(false),
        )
}

fn code_input(languages: &[String]) -> Value {
    let file = json!({
        "type": "object", "required": ["path"], "additionalProperties": false,
        "properties": {
            "path": {"type": "string", "description": "Relative to the working folder /home/user, or below /tmp."},
            "content": {"type": "string", "description": "The content as text."},
            "content_base64": {"type": "string", "contentEncoding": "base64", "description": "The content as base64, where it is no text."}
        }
    });
    let default = languages.iter().find(|name| *name == "python").or(languages.first());
    json!({
        "type": "object", "required": ["code"], "additionalProperties": false,
        "properties": {
            "code": {"type": "string", "minLength": 1, "maxLength": 50_000, "description": "The source code. The value of its last expression is the call's value."},
            "language": {"type": "string", "enum": languages, "default": default, "description": "The language of the code."},
            "timeout": {"type": "number", "minimum": 1, "maximum": 300, "default": 30, "description": "Seconds after which the run is ended."},
            "stdin": {"type": "string", "description": "What the code reads from standard input."},
            "args": {"type": "array", "items": {"type": "string"}, "maxItems": 64, "description": "Command-line arguments."},
            "files": {"type": "array", "items": file, "maxItems": 64, "description": "Files that are there when the code starts."},
            "collect": {"type": "array", "items": {"type": "string"}, "maxItems": 16, "description": "Patterns of files to bring back, such as *.csv or out/**."},
            "profile": {"type": "string", "description": "An image of the operator's to run in, by its name."}
        },
        "examples": [{"code": "sum(range(10))", "language": default}]
    })
}

fn code_output() -> Arc<JsonObject> {
    static SCHEMA: OnceLock<Arc<JsonObject>> = OnceLock::new();
    let make = || {
        form(json!({
            "type": "object",
            "required": ["language", "stdout", "stderr", "value", "error", "run", "receipt"],
            "properties": {
                "language": {"type": "string"},
                "stdout": {"type": "string"},
                "stderr": {"type": "string"},
                "value": {"type": ["string", "null"], "description": "The value of the last expression, as text."},
                "error": {
                    "type": ["object", "string", "null"],
                    "properties": {
                        "name": {"type": "string"}, "message": {"type": "string"}, "traceback": {"type": "string"}
                    }
                },
                "truncated": {"type": "boolean", "description": "True where output was cut."},
                "results": {"type": "array", "items": {"type": "object"}, "description": "What was displayed, but for pictures, which are content."},
                "files": {"type": "array", "items": {"type": "object"}, "description": "What `collect` has brought back."},
                "run": run_schema(),
                "receipt": receipt_schema()
            }
        }))
    };
    Arc::clone(SCHEMA.get_or_init(make))
}

/// `list_languages`.
pub(super) fn list_languages() -> Tool {
    let described = "Lists the languages that `execute_code` runs, with versions and installed packages.";
    Tool::new("list_languages", described, object(json!({"type": "object", "additionalProperties": false})))
        .with_title("List languages")
        .with_raw_output_schema(form(json!({
            "type": "object", "required": ["languages"],
            "properties": {"languages": {"type": "array", "items": {"type": "object"}}, "profiles": {"type": "object"}}
        })))
        .with_annotations(hints(Kind::Computes))
}

/// `verify_receipt`.
pub(super) fn verify_receipt() -> Tool {
    let described = "Checks that a receipt belongs to a run and its result. Costs nothing and runs nothing.";
    let input = json!({
        "type": "object", "required": ["exec_id", "receipt"], "additionalProperties": false,
        "properties": {
            "exec_id": {"type": "string", "description": "The run's id, as `run` in the answer of the call."},
            "receipt": {"type": "string", "description": "The digest of its receipt, as `receipt` in the answer."},
            "result": {"description": "The result: of a tool its `output`; of code the envelope {language, stdout, stderr, result, error}. As a value, or as JSON in a string."}
        }
    });
    Tool::new("verify_receipt", described, object(input))
        .with_title("Verify a receipt")
        .with_raw_output_schema(form(json!({
            "type": "object", "required": ["valid"],
            "properties": {"valid": {"type": "boolean"}, "reason": {"type": "string"}}
        })))
        .with_annotations(hints(Kind::Computes))
}

#[cfg(test)]
mod tests {
    use execgate_flow::Refusal;
    use execgate_tool::TOOLS;
    use serde_json::{Value, json};

    use super::{ENTRIES, execute_code, list_languages, tool, verify_receipt};
    use crate::problem::Problem;

    #[test]
    fn every_tool_has_its_entry_and_every_entry_a_form() {
        let names: Vec<_> = ENTRIES.iter().map(|entry| entry.name).collect();
        assert_eq!(names, TOOLS);
        for entry in &ENTRIES {
            let output: serde_json::Value = serde_json::from_str(entry.output).unwrap();
            assert_eq!(output["type"], "object", "{}", entry.name);
        }
    }
    #[test]
    fn every_answer_is_of_the_form_that_its_tool_promises() {
        let denied = Refusal::Denied { rule: "/default".to_owned(), reason: "no".to_owned() };
        let run = "184f026d-d09b-8f92-9493-230136885eec";
        let receipt = "0".repeat(64);
        let whys = [
            Problem::from(denied).in_mcp()["structuredContent"].clone(),
            json!({"status": "approval_required", "approval_id": run}),
            json!({"x402Version": 2, "error": "payment required", "resource": {}, "accepts": []}),
        ];
        let code = json!({
            "language": "r", "stdout": "", "stderr": "", "value": null, "error": null, "run": run, "receipt": receipt
        });
        let simulated = json!({"output": 1, "run": run, "receipt": receipt, "simulated": true});
        let error = json!({"name": "ValueError", "message": "no"});
        let failed = json!({"output": {"error": error}, "error": error, "run": run, "receipt": receipt});
        let of = |name: &str| tool(name, String::new(), json!({"type": "object"}));
        let forms = [
            (of("mine"), simulated),
            (of("math_compute"), failed),
            (execute_code(&["r".to_owned()]), code),
            (list_languages(), json!({"languages": []})),
            (verify_receipt(), json!({"valid": true})),
        ];
        for (tool, end) in forms {
            let schema = Value::Object(tool.output_schema.unwrap().as_ref().clone());
            let holds = |answer: &Value| jsonschema::is_valid(&schema, answer);
            assert!(holds(&end) && whys.iter().all(holds), "{}", tool.name);
            assert!(!holds(&json!({})), "{}", tool.name);
        }
    }
}
