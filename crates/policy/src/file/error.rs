//! Why a policy file is refused. A file that is refused is never in force in part.

use std::borrow::Cow;

/// What is wrong with a policy file, and where. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}, at line {line} column {column}{}", shown(.pointer))]
pub struct PolicyError {
    /// What is wrong.
    pub what: String,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
    /// A JSON pointer (RFC 6901) to it; empty for the file itself.
    pub pointer: String,
}

fn shown(pointer: &str) -> Cow<'static, str> {
    if pointer.is_empty() { Cow::Borrowed("") } else { Cow::Owned(format!(" ({pointer})")) }
}
