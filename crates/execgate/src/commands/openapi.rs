//! `execgate openapi`: the description of what the gateway serves.

use std::process::ExitCode;

use clap::Args;
use execgate_web::{admin_document, openapi_document};

use crate::{terminal, wire};

/// The OpenAPI description.
#[derive(Debug, Args)]
pub(crate) struct Openapi {
    /// That of the administration
    #[arg(long)]
    admin: bool,
}

impl Openapi {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let document = if self.admin { admin_document } else { openapi_document };
        terminal::json(&document(wire::VERSION))?;
        Ok(ExitCode::SUCCESS)
    }
}
