//! Arguments of a tool that are said in the head of a request, too, so that what stands between can go by them
//! (MCP 2026-07-28, transports, custom headers from tool parameters).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// How a schema marks such an argument.
const MARK: &str = "x-mcp-header";

/// What stands before the mark's own name.
const PREFIX: &str = "mcp-param-";

/// The most such arguments of one tool: each is a header more.
const MIRRORED_MAX: usize = 32;

/// How deep properties are looked through.
const DEPTH_MAX: usize = 8;

/// Which arguments these are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Mirrored(Vec<(HeaderName, Vec<String>)>);

impl Mirrored {
    /// Reads what the schema of a tool's arguments marks. None where a mark breaks the rules: such a tool is not called.
    pub(crate) fn of(schema: &Value) -> Option<Self> {
        let mut found = Self::default();
        found.gather(schema, &mut Vec::new())?;
        Some(found)
    }

    fn gather(&mut self, schema: &Value, path: &mut Vec<String>) -> Option<()> {
        if let Some(mark) = schema.get(MARK) {
            let is_token = |name: &&str| HeaderName::from_bytes(name.as_bytes()).is_ok();
            let name = mark.as_str().filter(is_token)?;
            let name = HeaderName::from_bytes(format!("{PREFIX}{name}").as_bytes()).ok()?;
            let is_alone = self.0.iter().all(|(other, _)| *other != name);
            if !is_primitive(schema.get("type")) || !is_alone {
                return None;
            }
            self.0.push((name, path.clone()));
            if self.0.len() > MIRRORED_MAX {
                return None;
            }
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        if path.len() == DEPTH_MAX {
            return Some(());
        }
        for (name, property) in properties.into_iter().flatten() {
            path.push(name.clone());
            self.gather(property, path)?;
            path.pop();
        }
        Some(())
    }

    /// The headers of a call with these arguments; what is not there, or null, has none.
    pub(crate) fn headers(&self, arguments: &Value) -> HeaderMap {
        let one = |(name, path): &(HeaderName, Vec<String>)| {
            let value = path.iter().try_fold(arguments, |value, member| value.get(member))?;
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => return None,
            };
            Some((name.clone(), encoded(&text)?))
        };
        self.0.iter().filter_map(one).collect()
    }
}

/// Whether a type is one that a header can say; beside it the value may be missing.
fn is_primitive(kind: Option<&Value>) -> bool {
    let fits = |kind: &Value| matches!(kind.as_str(), Some("string" | "integer" | "boolean"));
    match kind {
        Some(Value::Array(kinds)) => {
            kinds.iter().any(fits) && kinds.iter().all(|kind| fits(kind) || kind == "null")
        }
        Some(kind) => fits(kind),
        None => false,
    }
}

/// A text as a header has it: what would not come through as it is goes in base64.
fn encoded(text: &str) -> Option<HeaderValue> {
    let is_plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && text.trim() == text;
    if is_plain && !text.starts_with("=?base64?") {
        return HeaderValue::from_str(text).ok();
    }
    HeaderValue::from_str(&format!("=?base64?{}?=", STANDARD.encode(text))).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Mirrored;

    fn schema(kind: &str, mark: &str) -> Value {
        json!({"type": "object", "properties": {"a": {"type": kind, "x-mcp-header": mark}}})
    }

    #[test]
    fn arguments_are_said_in_the_head_as_they_are_or_in_base64() {
        let text = Mirrored::of(&schema("string", "Region")).unwrap();
        let told = |text: &Mirrored, value: Value| {
            let headers = text.headers(&json!({"a": value}));
            headers.get("mcp-param-region").map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(told(&text, json!("us west")).as_deref(), Some("us west"));
        assert_eq!(told(&text, json!("")).as_deref(), Some(""));
        assert_eq!(told(&text, json!(" é")).as_deref(), Some("=?base64?IMOp?="));
        assert_eq!(told(&text, json!("=?base64?eA==?=")).as_deref(), Some("=?base64?PT9iYXNlNjQ/ZUE9PT89?="));
        assert_eq!(told(&text, json!("a\r\nb")).as_deref(), Some("=?base64?YQ0KYg==?="));
        assert_eq!(told(&text, Value::Null), None);
        assert_eq!(told(&text, json!(true)).as_deref(), Some("true"));
        assert_eq!(told(&text, json!(42)).as_deref(), Some("42"));
    }

    #[test]
    fn marks_that_break_the_rules_leave_no_tool() {
        for (kind, mark) in [
            ("object", "A"),
            ("array", "A"),
            ("null", "A"),
            ("number", "A"),
            ("string", ""),
            ("string", "a b"),
            ("string", "a:b"),
            ("string", "é"),
            ("string", "a\tb"),
        ] {
            assert_eq!(Mirrored::of(&schema(kind, mark)), None, "{kind} {mark:?}");
        }
        let twice = json!({"properties": {
            "a": {"type": "string", "x-mcp-header": "Same"}, "b": {"type": "string", "x-mcp-header": "same"},
        }});
        assert_eq!(Mirrored::of(&twice), None);
        assert_eq!(Mirrored::of(&json!({"properties": {"a": {}}})), Some(Mirrored::default()));
    }
}
