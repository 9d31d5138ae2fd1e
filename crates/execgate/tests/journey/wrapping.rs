//! The ways of docs/MCP.md to hand the function calls of a model over to `/execute`: the page's own programs, as they stand.

use serde_json::{Value, json};

use super::mcp::{clients, outcomes, program, told};
use super::mpp::tool;
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

/// What an agent of `LangChain` does with a tool: it shows a model its schema, and hands over what the model asks for.
const AGENT: &str = r#"
from langchain_core.utils.function_calling import convert_to_openai_tool
asked = [
    {"action": "python", "payload": {"code": "6 * 7"}},
    {"action": "math_compute", "payload": {"expression": "6*7"}},
    {"action": "launch", "payload": {}},
]
messages = [
    execute.invoke({"type": "tool_call", "id": f"call_{at}", "name": "execute", "args": args})
    for at, args in enumerate(asked)
]
print(json.dumps({
    "offered": convert_to_openai_tool(execute)["function"],
    "told": [[message.type, message.tool_call_id, json.loads(message.content)] for message in messages],
}))
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

#[test]
fn a_tool_of_langchain_is_offered_with_its_schema_and_its_calls_are_run() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let text = block("langchain").replace(WRITTEN, &format!("http://{}", server.address()));
    let mut python = program(&tool("langchain-core-1.7.2").join("bin/python"));
    python.args(["-c", &format!("{text}{AGENT}")]);
    let answers = told(python);
    let offered = &answers["offered"];
    assert_eq!(
        (&offered["name"], &offered["parameters"]["required"]),
        (&json!("execute"), &json!(["action", "payload"])),
        "{answers}"
    );
    let said = &answers["told"];
    assert_eq!((&said[0][0], &said[0][1]), (&json!("tool"), &json!("call_0")), "{answers}");
    assert_eq!(said[0][2]["result"]["result"], "42", "{answers}");
    assert_eq!(said[1][2]["result"]["value"], 42, "{answers}");
    assert_eq!(said[2][2]["code"], "unknown-action", "{answers}");
    assert_eq!(outcomes(&data.path()), ["value", "value"]);
}
