//! The unprivileged half: hands runs to the helper, follows their pipes, and gives the verdict.
//!
//! It never has a right that a guest could gain by it: what it sends are descriptors and numbers.

mod capture;
mod carrier;
mod follow;
mod frames;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod gathering;
mod handing;
mod judge;
mod link;
mod recovery;
mod sandbox;
mod session;
mod slots;

pub use link::{HelperLink, spawn_helper, spawn_helper_of};
pub use sandbox::Sandbox;
pub use session::{Checkpoint, Session};
pub use slots::{Depth, Slot, Waiting};
