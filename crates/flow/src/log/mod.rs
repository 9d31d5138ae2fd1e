//! The transparency log over the leaves of the record: what makes it impossible to rewrite unseen.
//!
//! No room of the corridor: leaves are appended by the transactions of the rooms, and what stands here turns them into
//! a tree beside the answers. A tree head is committed first, and signed only as it was read back; what was seen
//! outside of the record is compared at the start, and a record that is behind it runs nothing for real.
//!
//! Read on in `sequence` (how it grows), `outside` and `fault` (what is compared), `read` (what others are shown), `cosign` (witnesses) and
//! `audit` (every leaf again).

mod audit;
mod begin;
mod cosign;
mod error;
mod fault;
mod gate;
mod keeper;
mod outside;
mod read;
mod rounds;
mod sequence;
mod signers;

pub use audit::{Audited, audit};
pub use cosign::{WitnessAnswer, WitnessLine, WitnessStanding, Witnesses};
pub use error::LogError;
pub use fault::LogFault;
pub use gate::LogGate;
pub use keeper::{Log, LogParts};
pub use outside::{Outside, Seen, SeenNote};
pub use signers::{LogKeys, LogSigners};
