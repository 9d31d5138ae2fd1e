//! Sessions over HTTP: at the server itself, and at a gateway before it.

use std::env;
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::pipes::{REVISION, call, greeting, initialized, is_result};
use super::rules::Rules;
use super::upstream::TOOL;
use crate::bench::command::Plan;
use crate::bench::http::Connection;
use crate::bench::load::Load;
use crate::bench::nonce::Nonces;
use crate::bench::program::Program;
use crate::bench::series::Series;
use crate::bench::server::Server;

/// How a gateway calls the servers behind it: one over HTTP, one over pipes.
pub(super) const REMOTE: &str = "remote";
pub(super) const PIPED: &str = "piped";

/// How long a gateway may take to have connected its servers.
const CONNECTS_WITHIN: Duration = Duration::from_secs(30);

/// Between two looks whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The server itself, over HTTP.
pub(super) fn upstream() -> Result<Program> {
    let mut command = Command::new(env::current_exe()?);
    Program::start(command.args(["upstream", "--http"]), "http://")
}

/// A gateway before that server and before one over pipes.
pub(super) fn gateway(plan: &Plan, folder: &Path, upstream: &Program, rules: Rules) -> Result<Server> {
    let file = folder.join(format!("gateway-{}.json", rules.word().replace([' ', ','], "")));
    let mut policy = rules.policy(&format!("{REMOTE}.{TOOL}"));
    policy["tools"][format!("{PIPED}.{TOOL}")] = policy["tools"][format!("{REMOTE}.{TOOL}")].clone();
    write(&file, &policy.to_string())?;
    let (url, program) = (format!("{}/mcp", upstream.url()), env::current_exe()?);
    let configuration = format!(
        "[surfaces]\ncode = \"off\"\n[policy]\nfile = {file:?}\n\
         [[upstream]]\nname = {REMOTE:?}\nurl = {url:?}\nallow_private = true\nfirst = \"accept\"\n\
         [[upstream]]\nname = {PIPED:?}\ncommand = [{program:?}, \"upstream\"]\nsandbox = false\nshareable = true\n\
         first = \"accept\"\n"
    );
    Server::start_as(&plan.binary, &plan.scratch, &configuration)
}

/// Writes a file that the user of a server may read.
pub(super) fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).and_then(|()| fs::set_permissions(file, Permissions::from_mode(0o644)))?;
    Ok(())
}

/// A path at which the tool is called, and sessions there.
pub(super) struct Door {
    address: SocketAddr,
    path: String,
    /// What each session is called; none of them keeps any.
    sessions: Vec<String>,
}

impl Door {
    /// Waits until the tool is there, and opens so many sessions.
    pub(super) fn open(address: SocketAddr, path: &str, sessions: usize) -> Result<Self> {
        let mut door = Self { address, path: path.to_owned(), sessions: Vec::new() };
        let start = Instant::now();
        while !door.lists_the_tool()? {
            ensure!(start.elapsed() < CONNECTS_WITHIN, "{path} has no tool");
            thread::sleep(LOOK_EVERY);
        }
        for _ in 0..sessions {
            let session = door.begin(&mut Connection::open(address)?)?;
            door.sessions.extend(session);
        }
        Ok(door)
    }

    /// Where it is.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    fn lists_the_tool(&self) -> Result<bool> {
        let asked = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).to_string();
        let mut request = Vec::new();
        self.post(&mut request, None, &asked);
        let (status, body) = Connection::open(self.address)?.ask(&request)?;
        Ok(status == 200 && String::from_utf8_lossy(&body).contains(&format!("\"name\":\"{TOOL}\"")))
    }

    /// Begins a session; what it is called, where it is called something.
    pub(super) fn begin(&self, connection: &mut Connection) -> Result<Option<String>> {
        let mut request = Vec::new();
        self.post(&mut request, None, &greeting());
        let (status, body) = connection.ask(&request)?;
        ensure!(status == 200, "the greeting is answered {status}: {}", String::from_utf8_lossy(&body));
        let lines = connection.head()?.lines().filter_map(|line| line.split_once(':'));
        let mut named = lines.filter(|(name, _)| name.eq_ignore_ascii_case("mcp-session-id"));
        let session = named.next().map(|(_, value)| value.trim().to_owned());
        request.clear();
        self.post(&mut request, session.as_deref(), &initialized());
        let (status, _) = connection.ask(&request)?;
        ensure!(status == 202, "a notification is answered {status}");
        Ok(session)
    }

    /// One call, to see that it is made.
    pub(super) fn call(
        &self,
        connection: &mut Connection,
        session: Option<&str>,
        nonces: &mut Nonces,
    ) -> Result<()> {
        let (mut request, data) = (Vec::new(), nonces.next());
        self.post(&mut request, session, &call(1, &data));
        let (status, body) = connection.ask(&request)?;
        let told = String::from_utf8_lossy(&body);
        ensure!(status == 200 && is_result(&body) && told.contains(&data), "answered {status}: {told}");
        Ok(())
    }

    /// Has so many sessions call, each on a connection of its own.
    pub(super) fn run(
        &self,
        sessions: usize,
        length: Duration,
        series: &mut Series,
        nonces: &mut Nonces,
    ) -> Result<Option<String>> {
        let load = Load { server: self.address, connections: sessions, length };
        let mut sessions = self.sessions.iter().take(sessions).cycle();
        let mut request = |buffer: &mut Vec<u8>| {
            let call = call(nonces.number() >> 12, &nonces.next());
            self.post(buffer, sessions.next().map(String::as_str), &call);
        };
        load.run_judged(series, &mut request, is_result)
    }

    fn post(&self, into: &mut Vec<u8>, session: Option<&str>, body: &str) {
        let session = session.map(|id| format!("mcp-session-id: {id}\r\n")).unwrap_or_default();
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\nmcp-protocol-version: {REVISION}\r\n{session}\
             content-length: {}\r\n\r\n",
            self.path,
            self.address,
            body.len()
        );
        into.extend_from_slice(head.as_bytes());
        into.extend_from_slice(body.as_bytes());
    }
}
