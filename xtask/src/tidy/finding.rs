//! What a rule says of a place in the tree.

use std::fmt;

/// Whether a finding fails the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Worth knowing.
    Note,
    /// Fails the test.
    Error,
}

/// One finding, shown as `path:line: rule: message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Relative to the root of the work tree.
    pub(crate) path: String,
    /// From 1.
    pub(crate) line: usize,
    /// The rule's short name.
    pub(crate) rule: &'static str,
    /// What is wrong, and what to do instead.
    pub(crate) message: String,
    /// Whether it fails the test.
    pub(crate) weight: Weight,
}

impl Finding {
    /// A finding that fails the test.
    pub(crate) fn error(path: &str, line: usize, rule: &'static str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule, message: message.into(), weight: Weight::Error }
    }

    /// A finding that is only told.
    pub(crate) fn note(path: &str, line: usize, rule: &'static str, message: impl Into<String>) -> Self {
        Self { weight: Weight::Note, ..Self::error(path, line, rule, message) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, rule, message, weight } = self;
        let note = if *weight == Weight::Note { "note: " } else { "" };
        write!(f, "{path}:{line}: {rule}: {note}{message}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_like_a_compiler_message() {
        let finding = Finding::error("a/b.rs", 7, "length", "too long");
        assert_eq!(finding.to_string(), "a/b.rs:7: length: too long");
        assert_eq!(Finding::note("a", 1, "length", "long").to_string(), "a:1: length: note: long");
    }
}
