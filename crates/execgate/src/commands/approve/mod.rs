//! `execgate approvals`, `execgate approve` and `execgate approver`: what an approver does, on a machine of their own.
//!
//! Nothing here opens a record or a data directory: all goes over HTTP, and the key never leaves.

mod command;
mod gateway;
mod keygen;
mod passphrase;
mod personal;
mod shown;
mod sign;

pub(crate) use command::{Approvals, ApproverCommand};
pub(crate) use personal::PersonalKey;
pub(crate) use sign::Approve;
