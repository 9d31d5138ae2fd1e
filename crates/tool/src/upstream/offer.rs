//! What a server offers: what it said when it was greeted, and its tools.

use execgate_model::Digest;
use serde_json::{Map, Value, json};

use super::client::REVISION_STATELESS;
use super::entry::{Digester, Entry};
use super::http::Mirrored;

/// The longest instructions of a server that are kept, in bytes; longer ones are left out, and said to be changed.
const INSTRUCTIONS_BYTES_MAX: usize = 64 << 10;

/// What a server said of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Hello {
    /// The revision of the protocol that is spoken with it.
    pub revision: String,
    /// What it can do.
    pub capabilities: Map<String, Value>,
    /// Name and version.
    pub info: Value,
    /// What it would have a model know.
    pub instructions: Option<String>,
}

impl Hello {
    /// Reads the result of `initialize`, or of `server/discover`.
    pub(super) fn read(revision: &str, result: &Value) -> Self {
        let object = |name: &str| result.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
        let instructions = result.get("instructions").and_then(Value::as_str);
        let instructions = instructions.filter(|text| text.len() <= INSTRUCTIONS_BYTES_MAX);
        let info =
            result.get("serverInfo").or_else(|| result.pointer("/_meta/io.modelcontextprotocol~1serverInfo"));
        Self {
            revision: revision.to_owned(),
            capabilities: object("capabilities"),
            info: info.cloned().unwrap_or_else(|| json!({})),
            instructions: instructions.map(str::to_owned),
        }
    }

    /// Whether it has said that it tells when a list has changed.
    pub(super) fn tells_of(&self, capability: &str) -> bool {
        self.capabilities
            .get(capability)
            .is_some_and(|said| said.get("listChanged") == Some(&Value::Bool(true)))
    }

    /// Whether it has said that it can do something.
    #[must_use]
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.contains_key(capability)
    }
}

/// All of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// What it said of itself.
    pub hello: Hello,
    /// Over its instructions; null where it has none.
    pub instructions: Option<Digest>,
    /// Its tools, in its order. Of two that have one name neither is here.
    pub entries: Vec<Entry>,
    /// How many entries were left out.
    pub unusable: usize,
}

impl Offer {
    pub(super) fn new(hello: Hello, listed: Vec<Value>, digester: Digester) -> Self {
        let all = listed.len();
        let read = listed.into_iter().filter_map(|raw| Entry::read(raw, digester));
        // Where arguments are said in the head of a request, a tool that says so wrongly is not called.
        let marks = hello.revision == REVISION_STATELESS;
        let is_sound =
            |entry: &Entry| entry.raw.get("inputSchema").is_some_and(|s| Mirrored::of(s).is_some());
        let read: Vec<_> = read.filter(|entry| !marks || is_sound(entry)).collect();
        let is_alone = |entry: &&Entry| read.iter().filter(|other| other.name == entry.name).count() == 1;
        let entries: Vec<_> = read.iter().filter(is_alone).cloned().collect();
        let instructions = hello.instructions.as_ref().and_then(|text| digester(&json!(text)));
        let unusable = all - entries.len();
        Self { hello, instructions, entries, unusable }
    }
}
