//! **Settle**: captures or releases what was held, and closes the run.
//!
//! Money follows only what the supervisor observed (CONTRACTS 3). A capture that nobody can tell the end of
//! is `pending` and is never repeated blindly: [`Settle::reconcile`] looks for it. What is agreed to be paid before the work is
//! captured when the intent is durable and nothing has started ([`Settle::before`]).

mod by_hand;
mod charge;
mod finality;
mod late;
mod reconcile;
mod room;
mod round;
mod said;
mod unsettled;
mod walking;
mod word;

pub use by_hand::{ByHand, ByHandError, EndedByHand};
pub use charge::due;
pub use reconcile::Reconciled;
pub(crate) use room::OPEN_HOLDS_MAX;
pub use room::{Held, Settle, unpaid};
pub use round::Round;
pub use unsettled::{Standing, Unsettled, unsettled};
pub use walking::Walking;
pub(crate) use walking::Walks;
pub use word::{Unasked, WordError};
