//! `cargo xtask tidy`: a test of the house, for the rules that no compiler checks.
//!
//! Each rule is a small pure function over one [`file::SourceFile`], over the [`tree::Tree`] or over
//! cargo's metadata, with tests that show it both catching and passing; a rule that cannot fail is a
//! defect. Adding one is a function in the file of its kind and a line in `check.rs`.

mod check;
mod doors;
mod errors;
mod file;
mod finding;
mod forbidden;
mod imports;
mod layout;
mod lex;
mod links;
mod registry;
mod tree;
mod words;

pub(crate) use check::run;
