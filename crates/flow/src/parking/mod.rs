//! Runs that wait for people. No room: what happens between **approve**, which says that people are asked, and
//! **execute**, which claims.
//!
//! A parked run belongs to the record and not to a process. It is claimed when it is parked, with its nonce and limits;
//! it leaves `parked` once, to be started or to be refused, and whoever takes it out walks the rooms again before that.
//!
//! Read on in `request` (what is kept), `today` (what the rules of now ask), `walk` (in and out), `yard` (whose turn it is), `withdraw` (what its caller takes back),
//! `desk` (what people say) and `waiting` (what is told).

mod desk;
mod request;
mod today;
mod waiting;
mod walk;
mod withdraw;
mod yard;

pub use desk::{Decided, DecisionError};
pub use request::{ParkedRequest, Term};
pub use today::Today;
pub use waiting::{Closed, Closing, Waiting, never_started};
pub(crate) use walk::Found;
pub use withdraw::Withdrawn;
pub use yard::{Boundless, Lodging};
pub(crate) use yard::{Running, Trace, Turn, Yard};
