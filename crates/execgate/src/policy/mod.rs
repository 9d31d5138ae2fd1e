//! The operator's policy file: how it is read, watched and vouched for.

mod book;
mod changes;
mod signature;

pub(crate) use book::{Ground, Loaded, RuleBook, parse, read, unknown_approvers};
pub(crate) use changes::{PolicyChanges, PolicyFile};
pub(crate) use signature::{sign, signature_of};
