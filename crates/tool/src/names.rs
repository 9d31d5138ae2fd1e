//! Which names are tools, and which of them are blocked (PRODUCT A, CONTRACTS 4). Data only: the approve room refuses.

use std::borrow::Cow;
use std::collections::BTreeSet;

use execgate_model::Namespace;
use serde_json::{Value, json};

/// The tools of `/exec/*`. Whatever else is registered is no tool there.
pub const TOOLS: [&str; 10] = [
    "data_filter",
    "hash_generate",
    "http_get",
    "json_parse",
    "math_compute",
    "mock_api_call",
    "regex_match",
    "schema_validate",
    "string_transform",
    "timestamp_parse",
];

/// A tool that nothing but an approval unlocks, in every mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocked {
    /// Its name.
    pub name: &'static str,
    /// What an approval would unlock.
    pub behind: Behind,
}

/// What stands behind a blocked name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// Text that is run or written; the arguments that it takes, each a string.
    Handler(&'static [&'static str]),
    /// Nothing: it stays refused whatever is approved.
    Nothing,
}

/// Every blocked tool.
pub const BLOCKED: [Blocked; 10] = [
    Blocked { name: "bash", behind: Behind::Handler(&["command"]) },
    Blocked { name: "deploy", behind: Behind::Nothing },
    Blocked { name: "docker_exec", behind: Behind::Nothing },
    Blocked { name: "file_write", behind: Behind::Handler(&["path", "content"]) },
    Blocked { name: "kubectl", behind: Behind::Nothing },
    Blocked { name: "metasploit", behind: Behind::Nothing },
    Blocked { name: "python_exec", behind: Behind::Handler(&["code"]) },
    Blocked { name: "shell_exec", behind: Behind::Handler(&["command"]) },
    Blocked { name: "sql_write", behind: Behind::Handler(&["statement"]) },
    Blocked { name: "sqlmap", behind: Behind::Nothing },
];

impl Blocked {
    /// The blocked tool that a name stands for. Among actions `bash` is a language, and is run in the jail.
    #[must_use]
    pub fn find(name: &str, namespace: Namespace) -> Option<Self> {
        let is_language = namespace == Namespace::Actions && name == "bash";
        BLOCKED.into_iter().find(|blocked| blocked.name == name && !is_language)
    }

    /// The name under which its handler is registered: `bash` is a language, and the handler of the tool another's.
    #[must_use]
    pub fn handler(self) -> Option<&'static str> {
        match self.behind {
            Behind::Handler(_) if self.name == "bash" => Some("shell_exec"),
            Behind::Handler(_) => Some(self.name),
            Behind::Nothing => None,
        }
    }

    /// The JSON Schema of its arguments.
    #[must_use]
    pub fn schema(self) -> Value {
        let Behind::Handler(arguments) = self.behind else { return json!({"type": "object"}) };
        let mut properties: serde_json::Map<_, _> =
            arguments.iter().map(|name| ((*name).to_owned(), json!({"type": "string"}))).collect();
        if self.name == "sql_write" {
            properties.insert("params".to_owned(), json!({"type": "array"}));
        }
        json!({
            "type": "object", "required": arguments, "properties": properties, "additionalProperties": false
        })
    }
}

/// The names that are tools of one gateway.
#[derive(Debug, Clone)]
pub struct ToolNames(BTreeSet<Cow<'static, str>>);

impl Default for ToolNames {
    fn default() -> Self {
        Self(TOOLS.map(Cow::Borrowed).into())
    }
}

impl ToolNames {
    /// The same and these: actions of the operator's that are tools too.
    #[must_use]
    pub fn and<N: Into<Cow<'static, str>>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.0.extend(names.into_iter().map(Into::into));
        self
    }

    /// Whether a name is a tool in this namespace. Among actions everything that is registered may be called.
    #[must_use]
    pub fn has(&self, name: &str, namespace: Namespace) -> bool {
        namespace == Namespace::Actions || self.0.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use execgate_model::Namespace;

    use super::{BLOCKED, Blocked, TOOLS, ToolNames};

    #[test]
    fn bash_is_a_language_among_actions_and_blocked_among_tools() {
        assert_eq!(Blocked::find("bash", Namespace::Actions), None);
        assert!(Blocked::find("bash", Namespace::Tools).is_some());
        for blocked in BLOCKED.iter().filter(|blocked| blocked.name != "bash") {
            assert_eq!(Blocked::find(blocked.name, Namespace::Actions), Some(*blocked));
            assert_eq!(Blocked::find(blocked.name, Namespace::Tools), Some(*blocked));
        }
        assert_eq!(Blocked::find("echo", Namespace::Tools), None);
    }

    #[test]
    fn no_tool_is_blocked_and_no_language_is_a_tool() {
        let names = ToolNames::default();
        for tool in TOOLS {
            assert!(names.has(tool, Namespace::Tools) && Blocked::find(tool, Namespace::Tools).is_none());
        }
        for other in ["python", "echo", "bash", "Http_get"] {
            assert!(!names.has(other, Namespace::Tools), "{other}");
            assert!(names.has(other, Namespace::Actions), "{other}");
        }
    }
}
