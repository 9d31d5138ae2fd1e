//! A witness: a process with a key and a store of its own, which cosigns checkpoints of logs that it was told of.
//!
//! `store` is what it remembers, `desk` what it answers.

mod desk;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use desk::Desk;
pub(crate) use store::WitnessStore;
