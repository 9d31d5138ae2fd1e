//! A real gateway of one test: started on a free port with a data directory of its own, ended by its id.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// No answer takes longer than the longest deadline that a test asks for, and a margin.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary, with nothing of this process's environment but what it needs to find its image.
pub(super) fn execgate() -> Command {
    #[expect(clippy::disallowed_methods, reason = "the binary itself is under test")]
    let mut command = Command::new(env!("CARGO_BIN_EXE_execgate"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/root").env("TMPDIR", std::env::temp_dir());
    command
}

/// Runs the binary to its end.
pub(super) fn run(args: &[&str], stdin: &str) -> Output {
    let mut child = execgate()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Asks again until it is so.
#[track_caller]
pub(super) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what} has not come");
    }
}

/// A gateway.
pub(super) struct Server {
    child: Child,
    address: SocketAddr,
    _stdout: BufReader<ChildStdout>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A data directory that outlives its servers.
pub(super) struct Data(TempDir);

impl Data {
    pub(super) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("execgate-journey-").tempdir().unwrap();
        // The server drops root, and has to reach its folder through this one.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.0.path().join("data")
    }
}

impl Server {
    pub(super) fn start(data: &Path) -> Self {
        Self::start_with(data, &[], &[])
    }

    pub(super) fn start_with(data: &Path, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = execgate()
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .args(args)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().rsplit_once("http://").and_then(|(_, address)| address.parse().ok());
        Self { address: address.unwrap_or_else(|| panic!("no address in {line:?}")), child, _stdout: stdout }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The processes that it has started: the parents of its sandboxes' helpers.
    pub(super) fn children(&self) -> Vec<i32> {
        children_of(self.child.id().try_into().unwrap())
    }

    /// The helpers of its sandboxes, each below a parent that starts the next one.
    pub(super) fn helpers(&self) -> Vec<i32> {
        self.children().into_iter().flat_map(children_of).collect()
    }

    /// Sends bytes as they are on a connection of their own, and reads to its end.
    pub(super) fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        exchange(self.address, bytes)
    }

    /// Sends a request without waiting for its answer.
    pub(super) fn background(&self, bytes: Vec<u8>) -> JoinHandle<Reply> {
        let address = self.address;
        thread::spawn(move || reply(&exchange(address, &bytes)))
    }

    pub(super) fn get(&self, path: &str) -> Reply {
        reply(
            &self.raw(
                format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes(),
            ),
        )
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Reply {
        reply(&self.raw(&post_bytes(path, body)))
    }

    pub(super) fn execute(&self, action: &str, payload: Value, nonce: &str) -> Reply {
        self.post("/execute", &json!({"action": action, "payload": payload, "nonce": nonce}))
    }

    /// `kill -9`, and wait until it is gone.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, without waiting.
    pub(super) fn terminate(&self) {
        signal(i32::try_from(self.child.id()).unwrap(), Signal::TERM);
    }

    /// SIGTERM, and the exit code, with what it has left to be looked at.
    pub(super) fn end(&mut self) -> Option<i32> {
        self.terminate();
        self.child.wait().unwrap().code()
    }

    /// The exit code of a server that was told to end.
    pub(super) fn ended(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The children of a process.
fn children_of(pid: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    list.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

/// Sends a signal to a process that this test has started.
pub(super) fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

pub(super) fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

pub(super) fn post_bytes(path: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub(super) fn reply(bytes: &[u8]) -> Reply {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or_else(|| {
        panic!("no head in {:?}", String::from_utf8_lossy(bytes));
    });
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head, body: bytes[end + 4..].to_vec() }
}
