//! Starts a program of the operator's that fetches, waits for it with a deadline, and keeps of what it says one line.
//!
//! A program inherits the operator's environment, because that is where registries, proxies and certificates are set.
//! What it says may hold passwords: nothing of it is shown, passed on or logged but by [`Said`].

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::error::PackagesError;

/// How long one program may take: a gigabyte of packages over a slow line.
const DEADLINE: Duration = Duration::from_secs(30 * 60);

/// How much of what a program said last is looked at for the line that matters.
const TAIL_BYTES: u64 = 64 << 10;

/// The longest line of a program that is shown, in characters.
const MAX_LINE_CHARS: usize = 300;

/// A program to start in a folder of ours.
#[derive(Debug)]
pub(super) struct Tool {
    name: &'static str,
    command: Command,
    log: PathBuf,
}

/// What a program said that has ended.
#[derive(Debug)]
pub(super) struct Said {
    /// How it ended.
    pub(super) status: ExitStatus,
    /// The end of its output, passwords and all. Never to be shown.
    text: String,
}

impl Tool {
    /// A program that is `name` to people, started in `folder`, which also takes its temporary files.
    pub(super) fn new(name: &'static str, program: &Path, folder: &Path) -> Result<Self, PackagesError> {
        let temporary = folder.join("tmp");
        let arranged = fs::create_dir_all(&temporary);
        arranged.map_err(|source| PackagesError::Arrange { path: temporary.clone(), source })?;
        #[expect(
            clippy::disallowed_methods,
            reason = "starts a program that fetches, and nothing of a package"
        )]
        let mut command = Command::new(program);
        command.current_dir(folder).env("TMPDIR", &temporary).stdin(Stdio::null());
        Ok(Self { name, command, log: folder.join("log") })
    }

    /// Its arguments and environment.
    pub(super) fn with(mut self, arrange: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        arrange(&mut self.command);
        self
    }

    /// Runs it to its end.
    pub(super) fn run(mut self) -> Result<Said, PackagesError> {
        let Self { name: tool, ref log, .. } = self;
        let unwritten = |source| PackagesError::Arrange { path: log.clone(), source };
        let output = File::create(log).map_err(unwritten)?;
        let also = output.try_clone().map_err(unwritten)?;
        let started = self.command.stdout(also).stderr(output).spawn();
        let child = started.map_err(|source| PackagesError::Start { tool, source })?;
        let status = wait(child).map_err(|source| PackagesError::Start { tool, source })?;
        let status = status.ok_or(PackagesError::TooLong { tool, after: DEADLINE })?;
        let text = tail(log).map_err(unwritten)?;
        Ok(Said { status, text })
    }
}

impl Said {
    /// The line, or the part of one, that `choose` picks first, or else the last line.
    pub(super) fn line(&self, choose: impl Fn(&str) -> Option<&str>) -> String {
        let last = || self.text.lines().map(str::trim).rfind(|line| !line.is_empty());
        self.find(choose).unwrap_or_else(|| fit_to_show(last().unwrap_or("it said nothing")))
    }

    /// The line, or the part of one, that `choose` picks first.
    pub(super) fn find(&self, choose: impl Fn(&str) -> Option<&str>) -> Option<String> {
        self.text.lines().find_map(choose).map(fit_to_show)
    }
}

/// A line of a program's without passwords and control characters, and not too long.
fn fit_to_show(line: &str) -> String {
    let plain = line.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    let clean = without_secrets(&plain.collect::<String>());
    clean.chars().take(MAX_LINE_CHARS).collect::<String>().trim_end_matches(['.', ' ']).to_owned()
}

/// Waits for the end of a program; `None` when it had to be killed.
fn wait(mut child: Child) -> io::Result<Option<ExitStatus>> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidData)?;
    let watched = pidfd_open(pid, PidfdFlags::empty())?;
    let timeout = Timespec::try_from(DEADLINE).map_err(io::Error::other)?;
    let ended = loop {
        match poll(&mut [PollFd::new(&watched, PollFlags::IN)], Some(&timeout)) {
            // a signal to us begins the wait anew; whoever sends signals is there to see it
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    if ended == 0 {
        child.kill()?;
        child.wait()?;
        return Ok(None);
    }
    child.wait().map(Some)
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A text whose addresses have neither the user's part nor a query: where both may hold passwords.
fn without_secrets(text: &str) -> String {
    let mut clean = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        clean.push_str(before);
        let end = after.find(|letter: char| letter.is_whitespace() || "'\"<>`".contains(letter));
        let (address, behind) = after.split_at(end.unwrap_or(after.len()));
        // the last one: a password may have an `@` of its own, and a path that has one loses what is before it
        let address = address.rsplit_once('@').map_or(address, |(_, host)| host);
        clean.push_str(address.split_once(['?', '#']).map_or(address, |(place, _)| place));
        rest = behind;
    }
    clean + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_tokens_of_addresses_are_never_shown() {
        let cases = [
            ("no address", "no address"),
            ("at https://example.org/simple/a/: no", "at https://example.org/simple/a/: no"),
            ("https://user:pass@example.org/a b", "https://example.org/a b"),
            ("https://user:p@ss@example.org/a?token=x#y, end", "https://example.org/a end"),
            (
                "(git+ssh://git@example.org:22/a) and 'http://u@h/b'",
                "(git+ssh://example.org:22/a) and 'http://h/b'",
            ),
            ("https://u:p@h", "https://h"),
        ];
        for (text, clean) in cases {
            assert_eq!(without_secrets(text), clean);
        }
    }

    #[test]
    fn a_program_is_waited_for_and_one_line_of_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let run = |script: &str| {
            let tool = Tool::new("sh", Path::new("/bin/sh"), folder.path()).unwrap();
            tool.with(|command| command.args(["-c", script])).run().unwrap()
        };
        let said = run("echo one; echo 'ERROR: two at https://u:p@h/x' >&2; echo; exit 3");
        assert_eq!(said.status.code(), Some(3));
        assert_eq!(said.line(|line| line.strip_prefix("ERROR: ")), "two at https://h/x");
        assert_eq!(said.line(|_| None), "ERROR: two at https://h/x");
        assert_eq!(run("true").line(|_| None), "it said nothing");
        assert_eq!(run("printf \"$TMPDIR\"").line(|_| None), folder.path().join("tmp").to_str().unwrap());
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let tool = Tool::new("npm", Path::new("/nowhere/npm"), folder.path()).unwrap();
        assert_eq!(tool.run().unwrap_err().to_string(), "failed to start npm");
    }
}
