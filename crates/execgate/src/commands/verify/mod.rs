//! `execgate verify`: receipts, their places in the log, and pairs of checkpoints, offline by the `receipt` crate alone.

mod checkpoints;
mod command;
mod cosigned;
mod keys;
mod place;

pub(crate) use command::Verify;
