//! **Approve**: a valid artifact, or the name of the rule by which none is needed.
//!
//! Execution authority never originates here: this room verifies what approvers signed, and signs nothing.

mod judge;

pub(crate) use judge::BLOCKED;
pub use judge::{Approval, ApprovalMode, Approve};
