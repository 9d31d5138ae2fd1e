//! `string_transform`: operations on a text, one after the other.

mod operation;
mod tool;
mod words;

pub(super) use tool::COMPUTATION;
