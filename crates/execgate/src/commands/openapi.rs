//! `execgate openapi`: the description of the HTTP surface, as `/openapi.json` serves it.

use std::process::ExitCode;

use crate::terminal;

/// Prints it.
pub(crate) fn execute() -> anyhow::Result<ExitCode> {
    terminal::json(&execgate_web::openapi_document(crate::wire::VERSION))?;
    Ok(ExitCode::SUCCESS)
}
