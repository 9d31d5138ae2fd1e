//! The subcommands, and what they share.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::change::{Revoke, Rotate};
use super::create::Create;
use super::look::{List, Show};
use super::rules::SetPolicy;
use crate::commands::cli::{Common, DataDir};

/// Says who may ask, by which key.
#[derive(Debug, Subcommand)]
pub(crate) enum GrantCommand {
    /// Make a grant, and print its key, which is shown this once
    Create(Create),
    /// List grants, oldest first
    List(List),
    /// Show one grant
    Show(Show),
    /// Give a grant a new key, and print it; the old one is taken for a while
    Rotate(Rotate),
    /// Give a grant rules of its own, or take them away
    SetPolicy(SetPolicy),
    /// Revoke a grant for ever
    Revoke(Revoke),
}

/// The record that a subcommand works on.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) data: DataDir,
    #[command(flatten)]
    pub(super) common: Common,
}

impl GrantCommand {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Create(create) => create.execute(),
            Self::List(list) => list.execute(),
            Self::Show(show) => show.execute(),
            Self::Rotate(rotate) => rotate.execute(),
            Self::SetPolicy(set) => set.execute(),
            Self::Revoke(revoke) => revoke.execute(),
        }
    }
}
