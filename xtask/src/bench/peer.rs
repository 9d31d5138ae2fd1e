//! Other ways to run a piece of code: a bare interpreter, and bubblewrap around it.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::bench::series::Series;
use crate::shell;

/// bubblewrap's words for about what our jail gives: every namespace, a read-only system, an empty `/tmp`.
const BWRAP: &str = "--unshare-all --die-with-parent --ro-bind /usr /usr --symlink usr/lib /lib \
    --symlink usr/lib64 /lib64 --symlink usr/bin /bin --proc /proc --dev /dev --tmpfs /tmp --clearenv \
    --ro-bind-try /etc/R /etc/R --ro-bind-try /etc/alternatives /etc/alternatives";

/// A program that runs the code and prints [`Peer::expected`].
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Its name in the table.
    pub(crate) name: &'static str,
    /// The program and its arguments.
    words: Vec<String>,
    /// What it has to print.
    pub(crate) expected: &'static str,
}

impl Peer {
    /// The interpreter itself, with an empty environment.
    pub(crate) fn bare(words: &[&str], expected: &'static str) -> Self {
        Self { name: "bare", words: words.iter().map(|word| (*word).to_owned()).collect(), expected }
    }

    /// The same within bubblewrap; `None` where that is not installed.
    pub(crate) fn bubblewrap(words: &[&str], expected: &'static str) -> Option<Self> {
        let program: PathBuf = shell::find_program("bwrap")?;
        let mut all = vec![program.to_str()?.to_owned()];
        all.extend(BWRAP.split_whitespace().chain(words.iter().copied()).map(str::to_owned));
        Some(Self { name: "bubblewrap", words: all, expected })
    }

    /// Runs it once: from before its start until its output is read and it has been waited for.
    pub(crate) fn run_once(&self) -> Result<Duration> {
        let (program, args) = self.words.split_first().context("a peer without a program")?;
        let start = Instant::now();
        let output = Command::new(program)
            .args(args)
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .with_context(|| format!("failed to start {program}"))?;
        let took = start.elapsed();
        let is_right = output.status.success() && output.stdout == self.expected.as_bytes();
        anyhow::ensure!(is_right, "{} does not print {:?}: {:?}", self.name, self.expected, output);
        Ok(took)
    }

    /// Runs it without pause, `threads` at a time.
    pub(crate) fn run_for(&self, length: Duration, threads: usize, series: &mut Series) -> Result<()> {
        let start = Instant::now();
        let one_thread = || {
            let mut latencies = Vec::new();
            while start.elapsed() < length {
                latencies.push(self.run_once()?);
            }
            anyhow::Ok(latencies)
        };
        let all = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(one_thread)).collect();
            workers.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        });
        for latencies in all {
            series.latencies.extend(latencies.ok().context("a thread of the client panicked")??);
        }
        series.wall += start.elapsed();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_prints_something_else_is_a_fault() {
        assert!(Peer::bare(&["/bin/sh", "-c", "echo hi"], "hi\n").run_once().is_ok());
        assert!(Peer::bare(&["/bin/sh", "-c", "echo ho"], "hi\n").run_once().is_err());
        assert!(Peer::bare(&["/bin/sh", "-c", "echo hi; exit 1"], "hi\n").run_once().is_err());
    }

    #[test]
    fn several_at_a_time_are_all_counted() {
        let mut series = Series::new("bare");
        let peer = Peer::bare(&["/bin/sh", "-c", "echo hi"], "hi\n");
        peer.run_for(Duration::from_millis(30), 2, &mut series).unwrap();
        assert!(series.latencies.len() >= 2);
        assert!(series.wall >= Duration::from_millis(30));
    }
}
