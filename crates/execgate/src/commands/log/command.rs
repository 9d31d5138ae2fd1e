//! What can be done with the log.

use std::process::ExitCode;

use clap::Subcommand;

use super::{export, new_origin, tail};

/// The transparency log.
#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Show where the log stands, and its newest entries
    Tail(tail::Tail),
    /// Copy the log into a folder, as tiles and checkpoint: a mirror that others can check offline
    Export(export::Export),
    /// Give the log a new name, and go on from the record as it is, after it was restored
    NewOrigin(new_origin::NewOrigin),
}

impl LogCommand {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Tail(tail) => tail.execute(),
            Self::Export(export) => export.execute(),
            Self::NewOrigin(new_origin) => new_origin.execute(),
        }
    }
}
