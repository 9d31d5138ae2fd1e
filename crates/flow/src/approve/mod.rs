//! **Approve**: a valid artifact, or the name of the rule by which none is needed.
//!
//! Execution authority never originates here: this room verifies what approvers signed, and signs nothing.
//! Read on in `judge` (what is wanted, and whether it is there), `people` (who may approve, and for whom not) and
//! `approval` (what a run uses up).

mod approval;
mod judge;
mod people;
mod standing;
mod wanted;

pub(crate) use approval::Used;
pub use approval::{Approval, Approved, ApprovedBy};
pub use judge::{ApprovalMode, Approve, Judgement, LASTS_AT_MOST_MS};
pub use people::{Holder, People, Person};
pub(crate) use wanted::BLOCKED;
pub use wanted::Wanted;
