//! Runs that wait for people: what approvers look at, and where they hand in what they have signed.
//!
//! No key of an approver is here, and no way to approve without one.

mod decide;
mod list;
mod page;
mod show;

pub(crate) use decide::decide;
pub(crate) use list::list;
pub(crate) use show::show;
