//! One message of JSON-RPC 2.0, as it comes from a server (MCP 2025-11-25, base protocol; MCP 2026-07-28, the same).

use serde_json::{Map, Value};

use crate::guest_json::{Numbers, value};

/// The longest message, in bytes: an image of some megabytes in base64.
pub(super) const FRAME_BYTES_MAX: usize = 8 << 20;

/// The longest text of an error, in characters.
const ERROR_CHARS_MAX: usize = 2_000;

/// An error that a server answered with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RpcError {
    pub(super) code: i64,
    pub(super) message: String,
    pub(super) data: Option<Value>,
}

impl RpcError {
    /// As the protocol has it.
    pub(super) fn into_json(self) -> Value {
        let mut error = Map::new();
        error.insert("code".to_owned(), self.code.into());
        error.insert("message".to_owned(), self.message.into());
        if let Some(data) = self.data {
            error.insert("data".to_owned(), data);
        }
        Value::Object(error)
    }
}

/// What a server may send.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Message {
    /// The answer to what we asked.
    Answer { id: u64, outcome: Result<Value, RpcError> },
    /// An answer to nothing that we can have asked.
    Stray,
    /// It asks something.
    Request { id: Value, method: String, params: Value },
    /// It tells something.
    Notification { method: String, params: Value },
}

/// Reads a message, without what `clean` takes out. `None` for what is none.
pub(super) fn read(bytes: &[u8], clean: impl Fn(Value) -> Value) -> Option<Message> {
    let Value::Object(mut members) = value(bytes, Numbers::Exact).ok()? else { return None };
    if members.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return None;
    }
    let id = members.remove("id").filter(|id| !id.is_null());
    if let Some(method) = members.remove("method") {
        let Value::String(method) = method else { return None };
        let params = members.remove("params").map(clean).unwrap_or_default();
        return Some(match id {
            Some(id) if id.is_string() || id.is_i64() || id.is_u64() => {
                Message::Request { id, method, params }
            }
            Some(_) => return None,
            None => Message::Notification { method, params },
        });
    }
    // An error is cleaned whole, before its message is cut.
    let outcome = match (members.remove("result").map(&clean), members.remove("error").map(&clean)) {
        (Some(result), None) => Ok(result),
        (None, Some(Value::Object(error))) => Err(rpc_error(error)),
        (_, _) => return None,
    };
    // We ask by numbers; what comes back under another name is for nobody.
    Some(match id.as_ref().and_then(Value::as_u64) {
        Some(id) => Message::Answer { id, outcome },
        None => Message::Stray,
    })
}

fn rpc_error(mut error: Map<String, Value>) -> RpcError {
    let message = error.get("message").and_then(Value::as_str).unwrap_or("the server gave no reason");
    RpcError {
        code: error.get("code").and_then(Value::as_i64).unwrap_or(-32_603),
        message: message.chars().take(ERROR_CHARS_MAX).collect(),
        data: error.remove("data"),
    }
}

/// Whether a line looks like a message: what does not is somebody's log on the wrong stream.
pub(super) fn looks_like_one(line: &[u8]) -> bool {
    line.trim_ascii_start().first().is_some_and(|first| matches!(first, b'{' | b'['))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{ERROR_CHARS_MAX, Message, RpcError};

    fn read(bytes: &[u8]) -> Option<Message> {
        super::read(bytes, |value| value)
    }

    #[test]
    fn messages_are_what_they_say_and_nothing_else_is_one() {
        let answer = |id, result| Some(Message::Answer { id, outcome: Ok(result) });
        assert_eq!(read(br#"{"jsonrpc":"2.0","id":7,"result":{"a":1}}"#), answer(7, json!({"a": 1})));
        assert_eq!(read(br#"{"jsonrpc":"2.0","id":"7","result":{}}"#), Some(Message::Stray));
        let error = RpcError { code: -32_602, message: "no".to_owned(), data: Some(json!([1])) };
        assert_eq!(
            read(br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no","data":[1]}}"#),
            Some(Message::Answer { id: 1, outcome: Err(error) })
        );
        assert_eq!(
            read(br#"{"jsonrpc":"2.0","id":"x","method":"sampling/createMessage","params":{}}"#),
            Some(Message::Request {
                id: json!("x"),
                method: "sampling/createMessage".to_owned(),
                params: json!({})
            })
        );
        for bad in [
            &b"hello"[..],
            b"[]",
            br#"{"id":1,"result":{}}"#,
            br#"{"jsonrpc":"1.0","id":1,"result":{}}"#,
            br#"{"jsonrpc":"2.0","id":1}"#,
            br#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#,
            br#"{"jsonrpc":"2.0","id":{},"method":"a"}"#,
            br#"{"jsonrpc":"2.0","id":1,"method":2}"#,
        ] {
            assert_eq!(read(bad), None, "{}", String::from_utf8_lossy(bad));
        }
        let deep =
            format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}{}}}", "[".repeat(100), "]".repeat(100));
        assert_eq!(read(deep.as_bytes()), None);
    }

    #[test]
    fn an_error_is_cleaned_before_it_is_cut() {
        let long = format!("{}SECRET", "x".repeat(ERROR_CHARS_MAX - 3));
        let frame = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": long}}).to_string();
        let clean = |value: Value| value.to_string().replace("SECRET", "*").parse().unwrap();
        let Some(Message::Answer { outcome: Err(error), .. }) = super::read(frame.as_bytes(), clean) else {
            panic!("no error");
        };
        assert!(error.message.ends_with("xx*"), "{}", error.message);
    }
}
