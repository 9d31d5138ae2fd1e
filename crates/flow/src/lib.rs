//! The floor plan.
//!
//! ```text
//! propose → pay → authorise → approve → execute → witness → settle
//! ```
//!
//! | room | what happens there | evidence of the move |
//! | --- | --- | --- |
//! | [`propose`] | checks the request, names the price | [`propose::Quote`] |
//! | [`pay`] | verifies the credential, holds the money, looks up an earlier run of the nonce | `payment::Hold` |
//! | [`authorise`] | identity, IAM, policy | `policy::Allow` |
//! | [`approve`] | an artifact is verified, or the rule is named by which none is needed | [`approve::Approval`] |
//! | [`execute`] | the claim (first durable point), then the handler | [`execute::Claim`], [`execute::Ended`] |
//! | [`witness`] | the receipt, and the second durable point | [`witness::Witnessed`] |
//! | [`settle`] | captures or releases, closes the run | `payment::Settlement` |
//! | [`recover`] | "we died in this room": one answer per stage | |
//!
//! [`administer`] is no room: what it changes is who may come in, and whether anybody may. Nor is [`log`]: it makes a
//! tree of the leaves that the rooms leave. Nor is [`examine`], which reads the whole record and says what does not hold.
//!
//! [`Corridor`] alone knows their order; [`ticket::Ticket`] makes a skipped room a compile error.

pub mod administer;
mod among;
pub mod approve;
pub mod authorise;
mod batch;
mod corridor;
mod crash;
mod due;
pub mod examine;
pub mod execute;
mod laps;
pub mod log;
pub mod notice;
mod own_thread;
pub mod parking;
mod passage;
pub mod pay;
mod presence;
pub mod propose;
pub mod recover;
pub mod settle;
pub mod ticket;
pub mod witness;

pub use batch::{AfterFailure, BATCH_MAX, Batch, BatchRefusal, Batched};
pub use corridor::{Corridor, Rooms};
pub use crash::{CRASH_POINTS, PARKING_POINTS};
pub(crate) use laps::Laps;
pub use own_thread::Thread;
pub use passage::{Passage, Refusal, Room};
