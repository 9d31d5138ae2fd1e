//! The rules that calls are held against: one entry, or a thousand of which one is meant.

use serde_json::{Map, Value, json};

/// How many rules a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    One,
    Thousand,
}

/// Entries of the larger file.
const MANY: usize = 1_000;

impl Rules {
    /// The word in the name of a contender.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::One => "1 rule",
            Self::Thousand => "1,000 rules",
        }
    }

    /// A policy for this tool: everything else is denied, and its argument is looked at.
    pub(super) fn policy(self, tool: &str) -> Value {
        let condition = json!([{"path": "args.data", "op": "regex", "value": "^never$"}]);
        let others = match self {
            Self::One => 0..0,
            Self::Thousand => 1..MANY,
        };
        let start = tool.split_once('.').map_or("other", |(server, _)| server);
        let others = others.map(|number| (format!("{start}.t{number}_*"), json!({"deny_if": condition})));
        let mut tools: Map<String, Value> = others.collect();
        tools.insert(tool.to_owned(), json!({"deny_if": condition}));
        json!({"version": "1", "default": "deny", "tools": tools})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tool_is_one_of_the_entries() {
        for (rules, entries) in [(Rules::One, 1), (Rules::Thousand, MANY)] {
            let policy = rules.policy("bench.note");
            let tools = policy["tools"].as_object().unwrap();
            assert_eq!(tools.len(), entries);
            assert!(tools.contains_key("bench.note"));
        }
    }
}
