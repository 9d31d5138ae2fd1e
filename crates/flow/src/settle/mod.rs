//! **Settle**: captures or releases what was held, and closes the run.
//!
//! Money follows only what the supervisor observed (CONTRACTS 3). A capture that nobody can tell the end of
//! is `pending` and is never repeated blindly.

mod charge;
mod room;

pub use charge::is_charged;
pub(crate) use charge::is_charged_word;
pub use room::{Held, Settle};
