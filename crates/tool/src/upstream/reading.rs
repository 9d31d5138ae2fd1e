//! What can be had of a server beside its tools: resources that are read, and prompts that are filled in. Each is an action
//! of its own, so that rules, approvals, receipts and the log are those of every call. No tool can have such a name: a colon
//! is in none.

use serde_json::{Value, json};

use crate::BadCall;

/// What is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// `resources/read {uri}`.
    Resource,
    /// `prompts/get {name, arguments}`.
    Prompt,
}

impl Reading {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Resource, Self::Prompt];

    /// What it is called behind the name of its server, in rules and receipts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resource => "resources:read",
            Self::Prompt => "prompts:get",
        }
    }

    /// The reading of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reading| reading.name() == name)
    }

    /// What a server says that it can do where it has any.
    #[must_use]
    pub const fn capability(self) -> &'static str {
        match self {
            Self::Resource => "resources",
            Self::Prompt => "prompts",
        }
    }

    /// The method of the protocol (MCP 2025-11-25, server/resources and server/prompts).
    pub(super) const fn method(self) -> &'static str {
        match self {
            Self::Resource => "resources/read",
            Self::Prompt => "prompts/get",
        }
    }

    /// The argument by which one is meant.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Resource => "uri",
            Self::Prompt => "name",
        }
    }

    /// Checks what is asked for.
    pub(super) fn check(self, payload: &Value) -> Result<(), BadCall> {
        match payload.get(self.key()) {
            Some(Value::String(_)) => Ok(()),
            Some(_) | None => Err(BadCall::at(&format!("/{}", self.key()), "a text says which is meant")),
        }
    }

    /// What goes to the server of what was asked for: what the protocol has, and nothing else.
    pub(super) fn params(self, mut payload: Value) -> Value {
        let known: &[&str] = match self {
            Self::Resource => &["uri"],
            Self::Prompt => &["name", "arguments"],
        };
        let mut member = |name: &&str| Some(((*name).to_owned(), payload.get_mut(*name)?.take()));
        Value::Object(known.iter().filter_map(&mut member).collect())
    }

    /// Its input, as a schema.
    pub(super) fn schema(self) -> Value {
        let key = self.key();
        json!({"type": "object", "required": [key], "properties": {key: {"type": "string"}}})
    }
}

/// What a server lists beside its tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// Resources.
    Resources,
    /// Forms of resources.
    Templates,
    /// Prompts.
    Prompts,
}

impl Listing {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Resources, Self::Templates, Self::Prompts];

    /// What is listed.
    #[must_use]
    pub const fn of(self) -> Reading {
        match self {
            Self::Resources | Self::Templates => Reading::Resource,
            Self::Prompts => Reading::Prompt,
        }
    }

    /// The method, and the member of its result.
    pub(super) const fn method(self) -> (&'static str, &'static str) {
        match self {
            Self::Resources => ("resources/list", "resources"),
            Self::Templates => ("resources/templates/list", "resourceTemplates"),
            Self::Prompts => ("prompts/list", "prompts"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Reading;

    #[test]
    fn a_server_gets_what_the_protocol_has_and_nothing_else() {
        let given = json!({"uri": "a", "name": "b", "arguments": {"c": 1}, "_meta": {"x": 1}, "cursor": "d"});
        assert_eq!(Reading::Resource.params(given.clone()), json!({"uri": "a"}));
        assert_eq!(Reading::Prompt.params(given), json!({"name": "b", "arguments": {"c": 1}}));
        assert_eq!(Reading::Prompt.params(json!({"name": "b"})), json!({"name": "b"}));
    }
}
