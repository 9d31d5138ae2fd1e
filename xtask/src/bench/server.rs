//! The binary under test, serving on the loopback address from a data directory of its own.
//!
//! Ends only what it started: the child by its handle, and by id what the child left behind, which
//! [`cpu::adopt_orphans`] has made children of this process.

use std::collections::VecDeque;
use std::env;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::bench::cpu;

/// The first start may copy a guest's image of several hundred MiB.
const START_LIMIT: Duration = Duration::from_secs(600);

/// A server that is told to stop and has nothing to do stops at once; this is generous.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// What comes before the port in the line that tells where the server listens.
const LISTENING: &str = "http://127.0.0.1:";

/// Lines of its output that are kept to explain a failure.
const KEPT_LINES: usize = 40;

/// Variables that the server inherits; nothing else of this environment may change what is measured.
const INHERITED: [&str; 4] = ["PATH", "HOME", "XDG_CACHE_HOME", "TMPDIR"];

/// The last lines that the server printed.
type Lines = Arc<Mutex<VecDeque<String>>>;

/// A running server; stopped when dropped.
pub(crate) struct Server {
    child: Child,
    lines: Lines,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// From its start until it said where it listens.
    pub(crate) start_took: Duration,
    /// Holds its data; removed after the server is gone.
    home: TempDir,
}

impl Server {
    /// Starts `binary serve` and waits until it says where it listens.
    pub(crate) fn start(binary: &Path, scratch: &Path) -> Result<Self> {
        Self::start_as(binary, scratch, "")
    }

    /// The same with a configuration, in TOML.
    pub(crate) fn start_as(binary: &Path, scratch: &Path, configuration: &str) -> Result<Self> {
        // The server gives up root for a user of its own, who has to pass through this folder.
        let home = tempfile::Builder::new()
            .prefix("serve-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(scratch)
            .context("failed to make a folder for the server's data")?;
        let written = home.path().join("execgate.toml");
        // A line for each decision is written, as by default; but nobody has to read it meanwhile.
        let log = home.path().join("log");
        fs::write(&log, "").and_then(|()| fs::set_permissions(&log, Permissions::from_mode(0o666)))?;
        let configuration = format!("{configuration}\n[log]\nfile = {log:?}\n");
        fs::write(&written, configuration).context("failed to write the server's configuration")?;
        let start = Instant::now();
        let mut child = Command::new(binary)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(home.path().join("data"))
            .arg("--config")
            .arg(written)
            .env_clear()
            .envs(INHERITED.iter().filter_map(|name| Some((name, env::var_os(name)?))))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("failed to start {}", binary.display()))?;
        let lines = Lines::default();
        let (found, listening) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            follow(stdout, Arc::clone(&lines), found.clone());
        }
        if let Some(stderr) = child.stderr.take() {
            follow(stderr, Arc::clone(&lines), found.clone());
        }
        drop(found);
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { child, lines, address: unknown, start_took: Duration::ZERO, home };
        server.address = match listening.recv_timeout(START_LIMIT) {
            Ok(address) => address,
            Err(RecvTimeoutError::Timeout) => bail!("the server did not listen in time:\n{}", server.said()),
            Err(RecvTimeoutError::Disconnected) => bail!("the server ended:\n{}", server.said()),
        };
        server.start_took = start.elapsed();
        Ok(server)
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its data are.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The last lines that it printed.
    pub(crate) fn said(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect::<Vec<_>>().join("\n")
    }

    /// Tells it to stop, and does not wait.
    pub(crate) fn terminate(&self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).context("failed to tell a server to stop")
    }

    fn stop(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            // The child has not been waited for, so the id is still its own.
            kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        }
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            if asked.elapsed() > STOP_LIMIT {
                println!("the server did not stop within {} s and is killed", STOP_LIMIT.as_secs());
                self.child.kill()?;
            }
            thread::sleep(Duration::from_millis(10));
        }
        end_what_is_left()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            println!("failed to stop the server: {error:#}");
        }
    }
}

/// Ends processes that the server started and left behind, and says so: there should be none.
fn end_what_is_left() -> Result<()> {
    let stopped = Instant::now();
    let mut left = cpu::living_descendants();
    while !left.is_empty() && stopped.elapsed() < STOP_LIMIT {
        thread::sleep(Duration::from_millis(10));
        left = cpu::living_descendants();
    }
    if !left.is_empty() {
        println!("processes that outlived the server by {} s and are killed: {left:?}", STOP_LIMIT.as_secs());
    }
    for id in left.into_iter().filter_map(Pid::from_raw) {
        if let Err(error) = kill_process(id, Signal::KILL) {
            println!("failed to end process {id:?}: {error}");
        }
    }
    Ok(())
}

/// Reads a stream of the server to its end, so that the server never waits for a reader. Until it
/// listens, its lines are shown: a first start may have much to tell.
fn follow(stream: impl Read + Send + 'static, lines: Lines, found: Sender<SocketAddr>) {
    thread::spawn(move || {
        let mut found = Some(found);
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if let Some(sender) = &found {
                println!("  server: {line}");
                // The receiver is gone once the other stream has told the address.
                if listening_at(&line).is_some_and(|address| sender.send(address).is_ok()) {
                    found = None;
                }
            }
            let mut kept = lines.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == KEPT_LINES {
                kept.pop_front();
            }
            kept.push_back(line);
        }
    });
}

fn listening_at(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(LISTENING)?;
    let digits = &rest[..rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len())];
    Some(SocketAddr::from(([127, 0, 0, 1], digits.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that takes any arguments and runs this shell script.
    fn program(folder: &Path, script: &str) -> std::path::PathBuf {
        let path = folder.join("program");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn the_address_is_found_within_a_line() {
        let address = listening_at("INFO listening on http://127.0.0.1:5091/ (free mode)").unwrap();
        assert_eq!(address.port(), 5091);
        assert_eq!(listening_at("listening on http://127.0.0.1:x"), None);
        assert_eq!(listening_at("starting"), None);
    }

    #[test]
    fn a_server_is_stopped_with_what_it_left_and_its_folder_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let script = "cat & echo listening on http://127.0.0.1:5091 >&2; trap 'kill $!; exit 0' TERM; wait";
        let binary = program(scratch.path(), script);
        let server = Server::start(&binary, scratch.path()).unwrap();
        assert_eq!(server.address.port(), 5091);
        drop(server);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1, "only the program is left");
    }

    #[test]
    fn a_server_that_ends_is_told_with_its_last_words() {
        let scratch = tempfile::tempdir().unwrap();
        let binary = program(scratch.path(), "echo no key >&2; exit 1");
        let told = Server::start(&binary, scratch.path()).err().unwrap().to_string();
        assert_eq!(told, "the server ended:\nno key");
    }
}
