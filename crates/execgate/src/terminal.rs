//! The only place that writes to the terminal.
#![expect(clippy::print_stderr, reason = "this is the door to the terminal")]

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::plain;

/// The exit code of a wrong use of the command line, of a configuration that cannot be, and of our own faults.
pub(crate) const USAGE: u8 = 2;

/// Says why a command failed, cause by cause.
pub(crate) fn fault(error: &anyhow::Error) -> ExitCode {
    // Causes may quote what others have sent.
    eprintln!("execgate: {}", plain::text(&error.to_string()));
    for cause in error.chain().skip(1) {
        eprintln!("  because: {}", plain::text(&cause.to_string()));
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

/// The longest line that is read from a person, in bytes.
const LINE_BYTES_MAX: u64 = 1_024;

/// The terminal of this process, wherever its standard streams lead.
fn tty() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/tty")
}

/// Asks the person at the terminal, and waits for a line.
pub(crate) fn ask(prompt: &str) -> io::Result<String> {
    let mut tty = tty()?;
    tty.write_all(prompt.as_bytes())?;
    let mut line = String::new();
    BufReader::new(tty.take(LINE_BYTES_MAX)).read_line(&mut line)?;
    Ok(line)
}

/// Shows again what is typed, however asking ends.
struct Echo<'t> {
    tty: &'t File,
    before: Termios,
}

impl Drop for Echo<'_> {
    fn drop(&mut self) {
        // A terminal that has gone away shows nothing.
        let _gone = tcsetattr(self.tty, OptionalActions::Flush, &self.before);
    }
}

/// The same, without showing what is typed.
pub(crate) fn ask_hidden(prompt: &str) -> io::Result<Zeroizing<String>> {
    let mut tty = tty()?;
    let echo = Echo { tty: &tty.try_clone()?, before: tcgetattr(&tty)? };
    let mut silent = echo.before.clone();
    silent.local_modes -= LocalModes::ECHO;
    tcsetattr(&tty, OptionalActions::Flush, &silent)?;
    tty.write_all(prompt.as_bytes())?;
    let mut line = Zeroizing::new(String::with_capacity(1_024));
    let read = BufReader::new((&tty).take(LINE_BYTES_MAX)).read_line(&mut line);
    drop(echo);
    tty.write_all(b"\n")?;
    read?;
    Ok(Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned()))
}
