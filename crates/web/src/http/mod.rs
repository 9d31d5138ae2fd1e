//! The HTTP surfaces, one folder each. A handler reads, asks and writes; it decides nothing.

pub(crate) mod admin;
pub(crate) mod approvals;
pub(crate) mod catalogue;
pub(crate) mod code;
pub(crate) mod ep;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod openexec;
mod pieces;
pub(crate) mod receipts;
pub(crate) mod runs;
pub(crate) mod secureexec;
pub(crate) mod service;
pub(crate) mod workspace;
mod write;

pub(crate) use pieces::Pieces;
pub(crate) use write::{json, passage, write};
