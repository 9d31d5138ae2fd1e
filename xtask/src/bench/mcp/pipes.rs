//! Sessions over pipes: each is a process that a client has started, greeted, and then asks one call after the other.
//!
//! One epoll loop for all of them, for the same reason as [`Load`](crate::bench::load::Load).

use std::io::{ErrorKind, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use serde_json::json;

use super::upstream::TOOL;
use crate::bench::cpu;
use crate::bench::http::ANSWER_LIMIT;
use crate::bench::nonce::Nonces;
use crate::bench::series::Series;

/// The revision that is spoken.
pub(super) const REVISION: &str = "2025-06-18";

/// Sessions, each until this is dropped.
pub(super) struct Pipes(Vec<Session>);

struct Session {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    sent: Instant,
    /// The argument that the answer has to tell back.
    data: String,
    received: Vec<u8>,
}

/// What a call of the tool is, as JSON.
pub(super) fn call(id: u64, data: &str) -> String {
    let params = json!({"name": TOOL, "arguments": {"data": data}});
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string()
}

/// The greeting.
pub(super) fn greeting() -> String {
    let us = json!({"name": "bench", "version": "1"});
    let params = json!({"protocolVersion": REVISION, "capabilities": {}, "clientInfo": us});
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}).to_string()
}

/// What a client says when it was greeted.
pub(super) fn initialized() -> String {
    json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string()
}

/// Whether this is the result of a call that was made.
pub(super) fn is_result(answer: &[u8]) -> bool {
    let has = |part: &str| answer.windows(part.len()).any(|window| window == part.as_bytes());
    has("\"content\":[") && !has("\"isError\":true")
}

impl Pipes {
    /// Starts them all, then greets them all.
    pub(super) fn start(commands: impl IntoIterator<Item = Command>) -> Result<Self> {
        let started: Result<Vec<_>> = commands.into_iter().map(Session::start).collect();
        let mut pipes = Self(started?);
        for session in &mut pipes.0 {
            session.greet()?;
        }
        Ok(pipes)
    }

    /// The processes.
    pub(super) fn ids(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|session| session.child.id())
    }

    /// Has the first so many sessions ask for that long. Returns the first answer that was not a success.
    pub(super) fn run(
        &mut self,
        sessions: usize,
        length: Duration,
        series: &mut Series,
        nonces: &mut Nonces,
    ) -> Result<Option<String>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let lanes = self.0.get_mut(..sessions).context("there are not so many sessions")?;
        for (number, lane) in (0_u64..).zip(&*lanes) {
            epoll::add(&epoll, &lane.output, epoll::EventData::new_u64(number), epoll::EventFlags::IN)?;
        }
        let (start, cpu_before) = (Instant::now(), cpu::of_this_thread());
        for lane in &mut *lanes {
            lane.send(nonces)?;
        }
        let limit = Timespec::try_from(ANSWER_LIMIT).context("the limit is too long")?;
        let (mut refusal, mut waiting, mut events) = (None, lanes.len(), Vec::with_capacity(sessions));
        while waiting > 0 {
            match epoll::wait(&epoll, spare_capacity(&mut events), Some(&limit)) {
                Ok(0) => bail!("no answer within {} s", ANSWER_LIMIT.as_secs()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("failed to wait for answers"),
            }
            for event in events.drain(..) {
                let lane = usize::try_from(event.data.u64()).ok().and_then(|at| lanes.get_mut(at));
                let Some(lane) = lane else { continue };
                let Some(answer) = lane.receive()? else { continue };
                if is_result(&answer) && String::from_utf8_lossy(&answer).contains(&lane.data) {
                    series.latencies.push(lane.sent.elapsed());
                } else {
                    series.refused += 1;
                    refusal.get_or_insert_with(|| String::from_utf8_lossy(&answer).into_owned());
                }
                if start.elapsed() < length {
                    lane.send(nonces)?;
                } else {
                    waiting -= 1;
                }
            }
        }
        series.wall += start.elapsed();
        *series.client_cpu.get_or_insert_default() += cpu::of_this_thread().saturating_sub(cpu_before);
        Ok(refusal)
    }
}

impl Session {
    fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("failed to start {}", command.get_program().display()))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        Ok(Self {
            input: input.context("its input is piped")?,
            output: output.context("its output is piped")?,
            child,
            sent: Instant::now(),
            data: String::new(),
            received: Vec::with_capacity(4096),
        })
    }

    fn greet(&mut self) -> Result<()> {
        writeln!(self.input, "{}", greeting())?;
        let answer = loop {
            if let Some(answer) = self.receive()? {
                break answer;
            }
        };
        let answer = String::from_utf8_lossy(&answer).into_owned();
        ensure!(answer.contains("serverInfo"), "a server answers its greeting with {answer}");
        writeln!(self.input, "{}", initialized())?;
        Ok(())
    }

    fn send(&mut self, nonces: &mut Nonces) -> Result<()> {
        self.data = nonces.next();
        // Below 2^53, as identifiers of clients are.
        let mut line = call(nonces.number() >> 12, &self.data);
        line.push('\n');
        self.sent = Instant::now();
        self.input.write_all(line.as_bytes()).context("failed to send a call")
    }

    /// Reads what has come; a line that is an answer, once it is there. What is told unasked is passed over.
    fn receive(&mut self) -> Result<Option<Vec<u8>>> {
        let mut chunk = [0; 8 * 1024];
        let read = match self.output.read(&mut chunk) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(None),
            Err(error) => return Err(error).context("failed to read an answer"),
        };
        ensure!(read > 0, "a server hung up instead of answering");
        self.received.extend_from_slice(&chunk[..read]);
        while let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.received.drain(..=end).collect();
            if !line.windows(8).any(|window| window == b"\"method\"") {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        // All hear of it before one is waited for. A server over pipes ends when its client closes its end.
        let children: Vec<Child> = self.0.drain(..).map(|session| session.child).collect();
        for mut child in children {
            if let Err(error) = child.wait() {
                println!("failed to wait for a session: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers its greeting, and then every line with what `does` says.
    fn server(does: &str) -> Command {
        let script = format!("read a; echo '{{\"serverInfo\":1}}'; read b; while read c; do {does}; done");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]);
        command
    }

    #[test]
    fn every_session_asks_and_only_its_own_answer_counts() {
        let mut series = Series::new("echo");
        let tells = r#"echo '{"method":"m"}'; echo "\"content\":[ ${c#*data}""#;
        let mut pipes = Pipes::start([server(tells), server(tells)]).unwrap();
        let mut nonces = Nonces::new().unwrap();
        let refusal = pipes.run(2, Duration::from_millis(20), &mut series, &mut nonces).unwrap();
        assert_eq!((series.refused, refusal), (0, None));
        assert!(series.latencies.len() >= 2);
        assert_eq!(pipes.ids().count(), 2);

        let mut pipes = Pipes::start([server(r#"echo '"content":[ another'"#)]).unwrap();
        let refusal = pipes.run(1, Duration::ZERO, &mut series, &mut nonces).unwrap();
        assert_eq!((series.refused, refusal.as_deref()), (1, Some("\"content\":[ another\n")));
    }

    #[test]
    fn an_error_is_no_result() {
        assert!(is_result(br#"{"result":{"content":[],"isError":false}}"#));
        assert!(!is_result(br#"{"result":{"content":[],"isError":true}}"#));
        assert!(!is_result(br#"{"error":{"code":1}}"#));
    }
}
