//! The system-call filter: an allow-list as commented data ([`rules`]), compiled to a search tree ([`tree`]).
//!
//! A security boundary: every change of a rule needs a second reader.

mod filter;
mod rules;
mod tree;

pub(crate) use filter::{Filter, guest_filter, proxy_filter};
pub(crate) use rules::{Memory, Sockets};

#[cfg(test)]
mod tests;
