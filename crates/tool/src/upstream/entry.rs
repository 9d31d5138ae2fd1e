//! A tool as its server lists it: the whole entry, whose digest is what an operator accepts.

use std::sync::Arc;

use execgate_model::Digest;
use serde_json::Value;

use super::risk::{RiskFinding, classify};

/// The longest name of a tool (MCP 2026-07-28, tools).
const NAME_BYTES_MAX: usize = 128;

/// SHA-256 over the JCS (RFC 8785) of a value; none for what has no canonical form. Computed elsewhere.
pub type Digester = fn(&Value) -> Option<Digest>;

/// One tool.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// All that the server says of it, as it says it.
    pub raw: Arc<Value>,
    /// Over all of that.
    pub digest: Digest,
    /// What it may be able to do.
    pub risk: RiskFinding,
}

impl Entry {
    /// Reads an entry of `tools/list`. One without a good name, an object as its input schema, or a digest is left out.
    pub(super) fn read(raw: Value, digester: Digester) -> Option<Self> {
        let name = raw.get("name")?.as_str()?.to_owned();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(fits) {
            return None;
        }
        if !raw.get("inputSchema")?.is_object() {
            return None;
        }
        let digest = digester(&raw)?;
        let risk = classify(&raw);
        Some(Self { name, raw: Arc::new(raw), digest, risk })
    }

    /// What it says of itself, in one text.
    #[must_use]
    pub fn summary(&self) -> &str {
        self.raw.get("description").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether it says which form its results have (`outputSchema`): clients hold what they are answered against that.
    #[must_use]
    pub fn has_form(&self) -> bool {
        self.raw.get("outputSchema").is_some_and(|schema| !schema.is_null())
    }
}
