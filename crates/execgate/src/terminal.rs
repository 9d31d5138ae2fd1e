//! The only place that writes to the terminal.
#![expect(clippy::print_stderr, reason = "this is the door to the terminal")]

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use serde::Serialize;

/// The exit code of a wrong use of the command line, of a configuration that cannot be, and of our own faults.
pub(crate) const USAGE: u8 = 2;

/// Says why a command failed, cause by cause.
pub(crate) fn fault(error: &anyhow::Error) -> ExitCode {
    eprintln!("execgate: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
    ExitCode::from(USAGE)
}

/// A line for people or programs, on standard output. A reader that has gone away is no fault of ours.
pub(crate) fn line(text: impl core::fmt::Display) {
    drop(writeln!(io::stdout().lock(), "{text}"));
}

/// A line of many; false once nobody reads them any more.
pub(crate) fn told(text: impl core::fmt::Display) -> bool {
    writeln!(io::stdout().lock(), "{text}").is_ok()
}

/// A line beside the data, on standard error.
pub(crate) fn note(text: impl core::fmt::Display) {
    eprintln!("{text}");
}

/// A value as indented JSON, on standard output.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Bytes as they are, on standard output or standard error.
pub(crate) fn raw(to_stderr: bool, bytes: &[u8]) {
    let written = if to_stderr {
        io::stderr().lock().write_all(bytes).and_then(|()| io::stderr().lock().flush())
    } else {
        io::stdout().lock().write_all(bytes).and_then(|()| io::stdout().lock().flush())
    };
    drop(written);
}

/// Whether a person reads standard output.
pub(crate) fn is_watched() -> bool {
    io::stdout().is_terminal()
}

/// Draws over the last progress line, if a person watches standard error.
pub(crate) fn progress(text: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[2K{text}");
    }
}

/// Ends a progress line.
pub(crate) fn progress_end() {
    progress("");
}
