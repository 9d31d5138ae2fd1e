//! **Notice**: every decision is seen once, at the end of its walk, by whoever keeps count.
//!
//! [`Notice`] is the port, [`Seen`] what it is told, [`Trail`] the taker that writes into the record. No taker can hold
//! up an answer, and none is told a value of an argument, a nonce, a key or a line of code.

mod bell;
mod port;
mod quota;
mod seen;
mod sight;
mod told;
mod trail;
mod witnessed;

pub use bell::{Bell, NoBell};
pub use port::{NoNotice, Notice, Several};
use quota::Quota;
pub use seen::{Seen, Weight};
pub(crate) use sight::Sight;
pub use told::told;
pub use trail::{Trail, TrailCounts};
