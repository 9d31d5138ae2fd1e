//! The names of upstream servers, and of what can be asked of one beside its tools.

use core::fmt;

use execgate_model::ActionName;

/// The longest name of a server, in bytes: it stands before the name of every tool.
const NAME_BYTES_MAX: usize = 32;

/// The name that the operator gives a server: `github`. Neither `.` nor `:` is in it, so that `github.search` has one
/// reading.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName(String);

impl ServerName {
    /// Checks a name.
    ///
    /// # Errors
    /// What the rule is.
    pub fn new(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.chars().all(fits) {
            return Err(format!(
                "a server is named by 1 to {NAME_BYTES_MAX} lower-case letters, digits and `- _`"
            ));
        }
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The action of a tool: `server.tool` (CONTRACTS 4). None where that is no name of an action.
    #[must_use]
    pub fn action(&self, tool: &str) -> Option<ActionName> {
        ActionName::new(format!("{}.{tool}", self.0)).ok()
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::ServerName;

    #[test]
    fn a_name_leaves_one_reading_of_what_it_stands_before() {
        let name = ServerName::new("git-hub_2").unwrap();
        assert_eq!(name.action("a.b").unwrap().as_str(), "git-hub_2.a.b");
        assert!(name.action("no blanks").is_none());
        for bad in ["", "a.b", "a:b", "A", "é", &"x".repeat(33)] {
            assert!(ServerName::new(bad).is_err(), "{bad}");
        }
    }
}
