//! What a gateway and its workers say to each other, over two pipes: four bytes of length, big-endian, then JSON.

use serde::Serialize;
use serde_json::Value;

use super::Raised;
use crate::guest_json::{Numbers, value};

/// The longest job, in bytes: more than a body may have.
pub(super) const JOB_BYTES_MAX: usize = 16 << 20;

/// The largest result, in bytes of its JSON.
pub(crate) const RESULT_BYTES_MAX: usize = 4 << 20;

/// The longest reply, in bytes: a result, and what wraps it.
pub(super) const REPLY_BYTES_MAX: usize = RESULT_BYTES_MAX + 1024;

/// The length that stands before a frame.
pub(super) const HEAD_BYTES: usize = 4;

/// What a worker is to do.
#[derive(Debug, Serialize)]
pub(super) struct Job<'a> {
    /// The tool.
    pub(super) tool: &'a str,
    /// Its arguments.
    pub(super) arguments: &'a Value,
    /// How long it has, in milliseconds.
    pub(super) wall_ms: u64,
}

/// What a worker says of it.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    Value(Value),
    Raised(Raised),
    /// The result is larger than [`RESULT_BYTES_MAX`].
    TooLarge,
}

/// A frame; `None` for one that is too long to be one.
pub(super) fn frame(body: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(body.len()).ok()?;
    let mut frame = Vec::with_capacity(HEAD_BYTES + body.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(body);
    Some(frame)
}

/// The length that a head announces.
pub(super) fn length(head: [u8; HEAD_BYTES]) -> usize {
    usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX)
}

impl Reply {
    pub(super) fn to_json(&self) -> Vec<u8> {
        let wrapped = match self {
            Self::Value(value) => {
                // The result is not cloned to be wrapped.
                let mut text = b"{\"value\":".to_vec();
                let written = serde_json::to_writer(&mut text, value);
                if written.is_err() || text.len() > RESULT_BYTES_MAX {
                    return Self::TooLarge.to_json();
                }
                text.push(b'}');
                return text;
            }
            Self::Raised(raised) => {
                serde_json::json!({"raised": {"name": raised.name, "message": raised.message}})
            }
            Self::TooLarge => serde_json::json!({"too_large": true}),
        };
        wrapped.to_string().into_bytes()
    }

    pub(super) fn read(text: &[u8]) -> Option<Self> {
        // A result may have every level; the wrapping is one more, so that it is taken off first.
        if let Some(inner) = text.strip_prefix(b"{\"value\":").and_then(|rest| rest.strip_suffix(b"}")) {
            return value(inner, Numbers::AsTheyAre).ok().map(Self::Value);
        }
        let wrapped = value(text, Numbers::AsTheyAre).ok()?;
        if let Some(raised) = wrapped.get("raised") {
            let text = |name: &str| raised.get(name)?.as_str();
            return Some(Self::Raised(Raised::new(text("name")?, text("message")?)));
        }
        wrapped.get("too_large").map(|_| Self::TooLarge)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{RESULT_BYTES_MAX, Reply};
    use crate::compute::Raised;
    use crate::guest_json::NESTING_MAX;

    #[test]
    fn a_reply_is_read_as_it_was_written() {
        let deep = (0..NESTING_MAX).fold(json!(1e300), |inner, _| json!([inner]));
        let deep = deep[0].clone();
        for reply in [
            Reply::Value(json!({"a": [1, 2.5, null, "}"]})),
            Reply::Value(json!("{\"raised\":{}}")),
            Reply::Value(deep),
            Reply::Raised(Raised::new("BadPattern", "a \"quoted\" thing")),
            Reply::TooLarge,
        ] {
            assert_eq!(Reply::read(&reply.to_json()), Some(reply));
        }
        assert_eq!(Reply::read(b"{}"), None);
        assert_eq!(Reply::read(b"running 0 tests"), None);
    }

    #[test]
    fn a_result_that_is_too_large_is_told_and_not_sent() {
        let large = Reply::Value(json!("x".repeat(RESULT_BYTES_MAX)));
        assert_eq!(Reply::read(&large.to_json()), Some(Reply::TooLarge));
    }
}
