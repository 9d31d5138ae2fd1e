//! Names of tools in the file, with the two wildcards that there are: `*`, and a star at the end. And those of what servers
//! have beside tools, which is named without its server.

use std::collections::{BTreeSet, HashMap};

use execgate_model::ActionName;

/// A name, the start of names, or every name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    Exact(ActionName),
    Prefix(String),
    /// The same of every server: what stands behind the last point.
    OfAnyServer(&'static str),
    Every,
}

impl Pattern {
    /// Reads a pattern. A star elsewhere than at the end would match other tools than its author believes.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Every);
        }
        let stem = text.strip_suffix('*');
        match (ActionName::new(stem.unwrap_or(text)), stem) {
            (Ok(name), None) => Ok(Self::Exact(name)),
            (Ok(name), Some(_)) => Ok(Self::Prefix(name.to_string())),
            (Err(_), _) => Err(format!(
                "a tool is named by {} (at most 128), with a `*` at the end at the most",
                ActionName::CHARACTERS
            )),
        }
    }

    /// Whether a tool is meant.
    pub(crate) fn fits(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact.as_str() == name,
            Self::Prefix(start) => name.starts_with(start),
            Self::OfAnyServer(last) => last_part(name) == *last,
            Self::Every => true,
        }
    }
}

/// Sections for what MCP servers have beside tools or ask of clients, and the action by which each is had. Their arguments are
/// those of the protocol: `args.uri`, `args.name`, `args.message`.
pub(crate) const BESIDE_TOOLS: [(&str, &str); 5] = [
    ("resources", "resources:read"),
    ("prompts", "prompts:get"),
    ("sampling", "sampling:create"),
    ("elicitation", "elicitation:create"),
    ("roots", "roots:list"),
];

/// Which of these sections are for what a server asks of a client within a call: no run of its own, which is allowed or denied.
pub(crate) const ASKED: [&str; 3] = ["sampling:create", "elicitation:create", "roots:list"];

/// Whether a name is that of something that a server has beside tools.
pub(crate) fn is_beside_tools(name: &str) -> bool {
    BESIDE_TOOLS.iter().any(|(_, action)| *action == last_part(name))
}

/// What a name says without the server before it.
fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Which of many patterns fit a name: one look-up for the name and one for each length of a prefix, so that a
/// decision costs the same among ten rules and among ten thousand.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    exact: HashMap<String, usize>,
    prefixes: HashMap<String, usize>,
    lengths: BTreeSet<usize>,
    of_any_server: HashMap<&'static str, usize>,
    every: Option<usize>,
}

impl Index {
    /// Adds a pattern under a number.
    pub(crate) fn add(&mut self, pattern: &Pattern, number: usize) {
        match pattern {
            Pattern::Exact(name) => drop(self.exact.insert(name.to_string(), number)),
            Pattern::Prefix(start) => {
                self.lengths.insert(start.len());
                self.prefixes.insert(start.clone(), number);
            }
            Pattern::OfAnyServer(last) => drop(self.of_any_server.insert(last, number)),
            Pattern::Every => self.every = Some(number),
        }
    }

    /// The number of the pattern that is the name itself.
    pub(crate) fn exact(&self, name: &str) -> Option<usize> {
        self.exact.get(name).copied()
    }

    /// The numbers of all patterns that fit, the narrowest first.
    pub(crate) fn find<'a>(&'a self, name: &'a str) -> impl Iterator<Item = usize> + Clone + 'a {
        let prefixes = self.lengths.iter().rev().filter_map(|length| name.get(..*length));
        let prefixes = prefixes.filter_map(|start| self.prefixes.get(start).copied());
        let of_any = self.of_any_server.get(last_part(name)).copied();
        self.exact(name).into_iter().chain(prefixes).chain(of_any).chain(self.every)
    }
}

#[cfg(test)]
mod tests {
    use super::{Index, Pattern};

    #[test]
    fn a_star_stands_alone_or_at_the_end() {
        for good in ["*", "git_*", "a", "server.tool"] {
            assert!(Pattern::read(good).is_ok(), "{good}");
        }
        for bad in ["", "*a", "a*b", "a**", "**", "a?", "a/b", "[a]"] {
            assert!(Pattern::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_servers_have_beside_tools_is_found_whatever_the_server() {
        let mut index = Index::default();
        index.add(&Pattern::OfAnyServer("resources:read"), 0);
        index.add(&Pattern::read("notes.*").unwrap(), 1);
        let found = |name| index.find(name).collect::<Vec<_>>();
        assert_eq!(found("resources:read"), [0]);
        assert_eq!(found("notes.resources:read"), [1, 0]);
        assert_eq!(found("notes.resources:reads"), [1]);
        assert_eq!(found("other.read"), Vec::<usize>::new());
    }

    #[test]
    fn the_index_finds_what_fits_and_the_narrowest_first() {
        let patterns = ["a*", "abc", "*", "ab*", "b*", "abc*", "abcd"];
        let patterns: Vec<_> = patterns.iter().map(|text| Pattern::read(text).unwrap()).collect();
        let mut index = Index::default();
        for (number, pattern) in patterns.iter().enumerate() {
            index.add(pattern, number);
        }
        for name in ["abc", "abcd", "ab", "a", "zebra", "b.c"] {
            let found: Vec<_> = index.find(name).collect();
            let mut sorted = found.clone();
            sorted.sort_unstable();
            let fit: Vec<_> = (0..patterns.len()).filter(|number| patterns[*number].fits(name)).collect();
            assert_eq!(sorted, fit, "{name}");
        }
        assert_eq!(index.find("abc").collect::<Vec<_>>(), [1, 5, 3, 0, 2]);
    }
}
