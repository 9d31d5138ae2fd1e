//! The content receipt: a hash that anybody with the same inputs and outcome reproduces.
//!
//! No time, salt, key or surface may ever enter it (CONTRACTS 5). Read on in `facts`, which commits to it in the
//! signed statement.

use execgate_model::{Digest, RunId};

use crate::canonical::{MAX_CANONICAL_NESTING, put_text};
use crate::digest::{digest_json, sha256};
use crate::strict::parse_bounded;

/// The `v` in a content receipt.
pub const RECEIPT_VERSION: u32 = 1;

/// What a content receipt is the hash of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content<'a> {
    /// The run.
    pub exec_id: RunId,
    /// The name of what ran.
    pub action: &'a str,
    /// The plain digest of the arguments ([`crate::digest_json`]).
    pub args_digest: Digest,
    /// The caller's nonce, or nothing where there was none.
    pub nonce: Option<&'a str>,
    /// The outcome in one word (`Outcome::word`).
    pub outcome: &'a str,
    /// The plain digest of the result, or nothing where none was observed.
    pub result_digest: Option<Digest>,
}

impl Content<'_> {
    /// The SHA-256 of the canonical bytes of `{v, exec_id, action, args_digest, nonce, outcome, result_digest}`.
    ///
    /// Its hexadecimal form is `receipt` on the wire, and `proofHash` after `0x`.
    #[must_use]
    pub fn receipt(&self) -> Digest {
        sha256(&self.bytes())
    }

    /// The canonical bytes, in the order of RFC 8785, written straight because texts and digests cannot fail.
    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(384);
        out.extend_from_slice(b"{\"action\":");
        put_text(&mut out, self.action);
        out.extend_from_slice(b",\"args_digest\":");
        put_text(&mut out, &self.args_digest.to_hex());
        out.extend_from_slice(b",\"exec_id\":");
        put_text(&mut out, &self.exec_id.to_string());
        out.extend_from_slice(b",\"nonce\":");
        put_optional(&mut out, self.nonce);
        out.extend_from_slice(b",\"outcome\":");
        put_text(&mut out, self.outcome);
        out.extend_from_slice(b",\"result_digest\":");
        put_optional(&mut out, self.result_digest.map(Digest::to_hex).as_deref());
        out.extend_from_slice(format!(",\"v\":{RECEIPT_VERSION}}}").as_bytes());
        out
    }
}

fn put_optional(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => put_text(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

/// The digest of a result that came as text: of the value that the text is strict JSON for, and otherwise of the
/// text as a JSON string.
#[must_use]
pub fn result_digest_of_text(text: &str) -> Digest {
    let value = parse_bounded(text.as_bytes(), MAX_CANONICAL_NESTING).ok();
    value.and_then(|value| digest_json(&value).ok()).unwrap_or_else(|| {
        let mut bytes = Vec::with_capacity(text.len() + 2);
        put_text(&mut bytes, text);
        sha256(&bytes)
    })
}

#[cfg(test)]
mod tests {
    use execgate_model::RunId;
    use serde_json::json;

    use super::{Content, result_digest_of_text};
    use crate::{canonical, digest_json, sha256};

    #[test]
    fn the_receipt_is_the_digest_of_the_canonical_object() {
        let (args, result) = (sha256(b"args"), sha256(b"result"));
        let with = Content {
            exec_id: RunId::from_entropy([3; 16]),
            action: "server.tool",
            args_digest: args,
            nonce: Some("n-\"1\"\u{e9}"),
            outcome: "exit:3",
            result_digest: Some(result),
        };
        let mut object = json!({
            "v": 1, "exec_id": "03030303-0303-8303-8303-030303030303", "action": "server.tool",
            "args_digest": args.to_hex(), "nonce": "n-\"1\"\u{e9}", "outcome": "exit:3",
            "result_digest": result.to_hex(),
        });
        assert_eq!(Ok(with.bytes()), canonical(&object));
        assert_eq!(Ok(with.receipt()), digest_json(&object));

        let without = Content { nonce: None, result_digest: None, ..with };
        object["nonce"] = json!(null);
        object["result_digest"] = json!(null);
        assert_eq!(Ok(without.receipt()), digest_json(&object));
    }

    #[test]
    fn a_result_given_as_text_has_the_digest_of_its_value() {
        assert_eq!(Ok(result_digest_of_text("{ \"echo\": 1.0 }")), digest_json(&json!({"echo": 1})));
        for text in ["hello", "{\"a\":1,\"a\":2}", "9007199254740993", "", "\u{feff}1"] {
            assert_eq!(Ok(result_digest_of_text(text)), digest_json(&json!(text)), "{text}");
        }
    }
}
