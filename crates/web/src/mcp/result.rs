//! The words of the protocol for the end of a run: `{content, structuredContent, isError}` (MCP 2026-07-28, server/tools).

use execgate_flow::parking::Closed;
use execgate_flow::witness::{Render, Summary};
use execgate_model::{Effect, ErrorReport, Outcome, Product, Verdict};
use execgate_store::Answer;
use execgate_tool::code;
use execgate_tool::upstream::RPC_ERROR;
use rmcp::model::{CallToolResult, ContentBlock, ResultType};
use serde_json::{Map, Value, from_slice, from_value, json};

use crate::problem::Problem;

/// Pictures that a run displays: the name of the field that holds one as base64, and its type.
const PICTURES: [(&str, &str); 2] = [("png", "image/png"), ("jpeg", "image/jpeg")];

/// Where the answer of a server of others names its run and its receipt.
const RUN: &str = "dev.execgate/run";
const RECEIPT: &str = "dev.execgate/receipt";

/// Where the gateway's own answer for programs stands, where structured content has to be the server's.
const ANSWER: &str = "dev.execgate/answer";

/// What is said of a dry-run of a tool that promises a form.
const NO_RESULT: &str =
    "Simulated: nothing was called, so that there is no result of the form that this tool promises.";

/// The words of `tools/call`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct McpWords;

impl Render for McpWords {
    fn answer(&self, summary: &Summary<'_>) -> Answer {
        let body = match summary.outcome {
            Outcome::Unknown => Problem::unknown_outcome(summary.run, summary.content).in_mcp(),
            Outcome::Done { product } if code::named(summary.action.as_str()).is_some() => {
                of_code(summary, product)
            }
            // The gateway's own word about the run, which no server can forge.
            Outcome::Done { product } if product.enforced.get("upstream").is_some() => {
                of_upstream(summary, product)
            }
            Outcome::Done { product } => of_tool(summary, product),
        };
        as_answer(&body)
    }

    fn closed(&self, closed: &Closed<'_>) -> Answer {
        as_answer(&Problem::closed(closed).in_mcp())
    }
}

/// The same, that says that it is whole; who speaks an earlier revision is not told so.
pub(super) fn complete(mut result: CallToolResult) -> CallToolResult {
    result.result_type = Some(ResultType::COMPLETE);
    result
}

/// The same for a tool of a server of others that says which form its results have (`outputSchema`): what is none of them, a
/// refusal, a price or a dry-run, is told as an error, and beside its structured content. Clients hold that against the form, those of
/// the first TypeScript SDK also where it is an error, and would show nobody what was refused.
pub(super) fn beside_form(mut result: CallToolResult) -> CallToolResult {
    // What the server has answered has it, and nothing else.
    if result.meta.as_ref().is_some_and(|meta| meta.0.contains_key(RUN)) {
        return result;
    }
    if let Some(ended) = result.structured_content.as_ref().and_then(of_another_surface) {
        return complete(ended);
    }
    if let Some(answer) = result.structured_content.take() {
        if answer.get("simulated") == Some(&Value::Bool(true)) {
            result.content.insert(0, ContentBlock::text(NO_RESULT));
        }
        result.meta.get_or_insert_default().0.insert(ANSWER.to_owned(), answer);
    }
    result.is_error = Some(true);
    result
}

/// What a server of others has answered, of an end that another surface has written under the same key. What succeeded
/// there is not told as an error here, or whoever asked would ask again.
fn of_another_surface(answer: &Value) -> Option<CallToolResult> {
    if answer.get("simulated") == Some(&Value::Bool(true)) {
        return None;
    }
    let result = answer.get("result")?;
    let result = [result, result.get("output").unwrap_or(&Value::Null)];
    let result = result.into_iter().find(|result| result.get("content").is_some_and(Value::is_array))?;
    let mut result: CallToolResult = from_value(result.clone()).ok()?;
    let meta = &mut result.meta.get_or_insert_default().0;
    for (name, field) in [(RUN, "id"), (RECEIPT, "receipt")] {
        meta.extend(answer.get(field).map(|value| (name.to_owned(), value.clone())));
    }
    Some(result)
}

fn as_answer(body: &Value) -> Answer {
    Answer { status: 200, content_type: "application/json".to_owned(), body: body.to_string().into_bytes() }
}

/// A stored answer as a result. One that another surface has written under the same key is told as it is.
pub(super) fn read(answer: &Answer) -> CallToolResult {
    if let Ok(result) = from_slice::<CallToolResult>(&answer.body) {
        return complete(result);
    }
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let mut result = match from_slice::<Value>(&answer.body) {
        Ok(value @ Value::Object(_)) => CallToolResult::structured(value),
        Ok(_) | Err(_) => CallToolResult::success(vec![ContentBlock::text(text)]),
    };
    result.is_error = Some(answer.status >= 400);
    result
}

/// A run of code: its output for whoever reads, all of it for whoever counts, and its pictures.
fn of_code(summary: &Summary<'_>, product: &Product) -> Value {
    let envelope = &product.result;
    let text = |name: &str| envelope.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut structured = json!({
        "language": envelope["language"],
        "stdout": text("stdout"),
        "stderr": text("stderr"),
        "value": envelope["result"],
        "error": product.error.as_ref().map(|error| json!(error)),
        "run": summary.run,
        "receipt": summary.content,
    });
    for name in ["truncated", "files"] {
        if let Some(value) = envelope.get(name) {
            structured[name] = value.clone();
        }
    }
    let error = product.error.as_ref().map(error_text);
    let parts = [
        ("stdout", text("stdout").to_owned()),
        ("stderr", text("stderr").to_owned()),
        ("value", text("result").to_owned()),
        ("error", error.unwrap_or_default()),
    ];
    let mut content = vec![json!({"type": "text", "text": joined(&parts)})];
    let displayed = envelope.get("results").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut others = Vec::new();
    for result in displayed.iter().filter_map(Value::as_object) {
        content.extend(pictures(result));
        let rest: Map<_, _> = result
            .iter()
            .filter(|(name, _)| !is_picture(name))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        // What is text alone is the value, or was printed beside it.
        let says_more = rest.keys().any(|name| !matches!(name.as_str(), "text" | "is_main_result"));
        others.extend(says_more.then_some(Value::Object(rest)));
    }
    if !others.is_empty() {
        structured["results"] = others.into();
    }
    json!({"content": content, "structuredContent": structured, "isError": product.verdict != Verdict::Value})
}

fn is_picture(name: &str) -> bool {
    PICTURES.iter().any(|(picture, _)| *picture == name)
}

fn pictures(result: &Map<String, Value>) -> impl Iterator<Item = Value> + '_ {
    PICTURES.iter().filter_map(|(name, kind)| {
        let data = result.get(*name)?.as_str()?;
        // What a guest displays is whatever it likes; clients decode it.
        let data: String = data.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let is_base64 = data.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
        (is_base64 && !data.is_empty()).then(|| json!({"type": "image", "data": data, "mimeType": kind}))
    })
}

fn error_text(error: &ErrorReport) -> String {
    if error.traceback.is_empty() {
        format!("{}: {}", error.name, error.message)
    } else {
        format!("{}: {}\n{}", error.name, error.message, error.traceback)
    }
}

/// What there is, under its name where it is not alone.
fn joined(parts: &[(&str, String)]) -> String {
    let there: Vec<_> = parts.iter().filter(|(_, text)| !text.is_empty()).collect();
    match there.as_slice() {
        [] => "(no output)".to_owned(),
        [("stdout" | "value", text)] => text.clone(),
        several => several
            .iter()
            .map(|(name, text)| format!("[{name}]\n{}", text.trim_end_matches('\n')))
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

/// The answer of a server of others, as it gave it, and beside it which run it is.
fn of_upstream(summary: &Summary<'_>, product: &Product) -> Value {
    let mut result = product.result.clone();
    // Of a tool, of a resource, of a prompt, or an error.
    let is_list = |name| result.get(name).is_some_and(Value::is_array);
    let is_answer =
        ["content", "contents", "messages"].into_iter().any(is_list) || result.get(RPC_ERROR).is_some();
    if !is_answer {
        let told = product.error.as_ref().map_or_else(|| result.to_string(), error_text);
        let is_error = product.verdict != Verdict::Value;
        result = json!({"content": [{"type": "text", "text": told}], "isError": is_error});
    }
    let mut meta = result.get("_meta").and_then(Value::as_object).cloned().unwrap_or_default();
    meta.insert(RUN.to_owned(), json!(summary.run));
    meta.insert(RECEIPT.to_owned(), json!(summary.content));
    result["_meta"] = Value::Object(meta);
    result
}

/// A tool's answer.
fn of_tool(summary: &Summary<'_>, product: &Product) -> Value {
    let mut structured = json!({"output": product.result, "run": summary.run, "receipt": summary.content});
    if summary.effect == Effect::DryRun {
        structured["simulated"] = true.into();
    }
    let text = match &product.error {
        Some(error) => {
            structured["error"] = json!({"name": error.name, "message": error.message});
            error_text(error)
        }
        None => product.result.to_string(),
    };
    let content = [json!({"type": "text", "text": text})];
    json!({"content": content, "structuredContent": structured, "isError": product.verdict != Verdict::Value})
}

#[cfg(test)]
mod tests {
    use execgate_store::Answer;
    use serde_json::{Value, json};

    use super::{ANSWER, NO_RESULT, RECEIPT, RUN, beside_form, joined, pictures, read};

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, content_type: "application/json".to_owned(), body: body.into() }
    }

    #[test]
    fn what_there_is_stands_under_its_name_where_it_is_not_alone() {
        let parts = |texts: [&str; 4]| {
            joined(
                &["stdout", "stderr", "value", "error"]
                    .map(str::to_owned)
                    .iter()
                    .zip(texts)
                    .map(|(name, text)| (name.as_str(), text.to_owned()))
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(parts(["", "", "", ""]), "(no output)");
        assert_eq!(parts(["", "", "42", ""]), "42");
        assert_eq!(parts(["hi\n", "", "42", ""]), "[stdout]\nhi\n[value]\n42");
        assert_eq!(parts(["", "", "", "E: no"]), "[error]\nE: no");
    }

    #[test]
    fn what_another_surface_has_written_is_told_as_it_is() {
        let told = serde_json::to_value(read(&answer(200, r#"{"language":"python","result":"4"}"#))).unwrap();
        assert_eq!(told["structuredContent"]["result"], "4");
        assert_eq!(told["isError"], false);
        let told = serde_json::to_value(read(&answer(504, r#"{"error":"timed out"}"#))).unwrap();
        assert_eq!(
            (&told["isError"], &told["structuredContent"]["error"]),
            (&json!(true), &json!("timed out"))
        );
        let ours =
            r#"{"content":[{"type":"text","text":"x"}],"structuredContent":{"output":1},"isError":false}"#;
        let told = serde_json::to_value(read(&answer(200, ours))).unwrap();
        assert_eq!(told["content"][0]["text"], "x");
    }

    #[test]
    fn what_is_no_result_of_the_server_s_is_told_beside_the_form_that_those_have() {
        let beside = |said: Value| {
            let result = beside_form(read(&answer(200, &said.to_string())));
            serde_json::to_value(result).unwrap()
        };
        let text = |text: &str| json!({"type": "text", "text": text});
        // The end of the same run as `/execute` has written it.
        let server = json!({"content": [text("4")], "structuredContent": {"sum": 4}});
        let ended = json!({"id": "r", "action": "s.t", "result": server, "approved": true, "receipt": "d"});
        let told = json!({
            "content": [text("4")], "structuredContent": {"sum": 4}, "resultType": "complete",
            "_meta": {RUN: "r", RECEIPT: "d"}
        });
        assert_eq!(beside(ended), told);
        let refused =
            json!({"content": [text("no")], "structuredContent": {"status": "refused"}, "isError": true});
        let told = json!({
            "content": [text("no")], "isError": true, "resultType": "complete", "_meta": {ANSWER: {"status": "refused"}}
        });
        assert_eq!(beside(refused), told);
        let would = json!({"output": {"simulated": true}, "run": "r", "receipt": "d", "simulated": true});
        let dry = json!({"content": [text("{}")], "structuredContent": would, "isError": false});
        let told = json!({
            "content": [text(NO_RESULT), text("{}")], "isError": true, "resultType": "complete", "_meta": {ANSWER: would}
        });
        assert_eq!(beside(dry), told);
        for is_error in [true, false] {
            let theirs = json!({
                "content": [text("4")], "structuredContent": {"simulated": true}, "isError": is_error,
                "resultType": "complete", "_meta": {RUN: "r", RECEIPT: "d"}
            });
            assert_eq!(beside(theirs.clone()), theirs);
        }
    }

    #[test]
    fn a_picture_is_base64_or_none() {
        let shown = |value: Value| pictures(value.as_object().unwrap()).collect::<Vec<_>>();
        let expected = json!({"type": "image", "data": "QUJD", "mimeType": "image/png"});
        assert_eq!(shown(json!({"png": "QU\nJD", "text": "<Figure>"})), [expected]);
        assert_eq!(shown(json!({"png": "<script>", "jpeg": ""})), Vec::<Value>::new());
    }
}
