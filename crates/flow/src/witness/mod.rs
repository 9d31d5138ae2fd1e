//! **Witness**: the receipt, and the second durable point.
//!
//! Outcome, receipt, answer and leaf become durable in one transaction; only then may anything be answered.

mod close;
mod facts;
mod in_force;
mod render;
mod resolve;
mod room;
mod sign;

pub use facts::Facts;
pub use in_force::InForce;
pub use render::{Render, Summary};
pub use room::{Recording, Witness, Witnessed};
