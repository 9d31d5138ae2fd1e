//! The way of docs/MCP.md to hand the function calls of a model over to `/execute`: the page's own program, as it stands.

use serde_json::{Value, json};

use super::mcp::{clients, outcomes, program, told};
use super::server::{Data, Server};

const PAGE: &str = include_str!("../../../../docs/MCP.md");

/// Where the page says that the gateway is.
const WRITTEN: &str = "http://localhost:5091";

/// What a model has asked for: its arguments are a text, as the interface has them.
const CALLS: &str = r#"
calls = [
    {"id": "call_1", "type": "function", "function": {"name": "math_compute", "arguments": "{\"expression\": \"6*7\"}"}},
    {"id": "call_2", "type": "function", "function": {"name": "python", "arguments": "{\"code\": \"6 * 7\"}"}},
    {"id": "call_3", "type": "function", "function": {"name": "launch", "arguments": "{}"}},
]
print(json.dumps([run(call) for call in calls + calls[:1]]))
"#;

fn block(name: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(&format!("```python {name}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

#[test]
fn the_function_calls_of_a_model_run_once_each_and_their_answers_are_messages() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let text = block("openai").replace(WRITTEN, &format!("http://{}", server.address()));
    let mut python = program(&clients().join("venv/bin/python"));
    python.args(["-c", &format!("{text}{CALLS}")]);
    let messages = told(python);
    let messages = messages.as_array().unwrap();
    let content =
        |at: usize| -> Value { serde_json::from_str(messages[at]["content"].as_str().unwrap()).unwrap() };
    assert_eq!((&messages[0]["role"], &messages[0]["tool_call_id"]), (&json!("tool"), &json!("call_1")));
    assert_eq!(content(0)["value"], 42, "{messages:?}");
    assert_eq!(content(1)["result"], "42", "{messages:?}");
    assert_eq!(content(2)["code"], "unknown-action", "{messages:?}");
    assert_eq!(messages[3], messages[0]);
    assert_eq!(outcomes(&data.path()), ["value", "value"]);
}
