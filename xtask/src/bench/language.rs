//! A hello in a process of its own, over HTTP and in the jail, beside the bare interpreter and bubblewrap.
//!
//! First one at a time, contenders alternating; then as many at a time as this kind of machine has cores.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::bench::command::Plan;
use crate::bench::cpu;
use crate::bench::http::{self, Connection};
use crate::bench::load::Load;
use crate::bench::nonce::Nonces;
use crate::bench::peer::Peer;
use crate::bench::report::Case;
use crate::bench::series::{Paused, Series, rotated};
use crate::bench::server::Server;

/// Runs of each contender, one at a time.
const ROUNDS: u32 = 200;

/// Rounds that do not count.
const WARM_UP_ROUNDS: u32 = 10;

/// Into how many slices the time without pause is cut.
const SLICES: u32 = 5;

/// How many run at a time in the part without pause.
const AT_A_TIME: usize = 2;

/// One case ends after this, with fewer rounds.
const CASE_LIMIT: Duration = Duration::from_secs(600);

/// A language and its hello.
pub(crate) struct Language {
    /// The case and the action.
    name: &'static str,
    /// What is run in the jail.
    code: &'static str,
    /// The same by the bare interpreter: the distribution's own, since a version manager's shim is slower.
    bare: &'static [&'static str],
    /// What both print.
    expected: &'static str,
}

/// Python.
pub(crate) const PYTHON: Language = Language {
    name: "python",
    code: "print('hi')",
    bare: &["/usr/bin/python3", "-c", "print('hi')"],
    expected: "hi\n",
};

/// Node.
pub(crate) const JAVASCRIPT: Language = Language {
    name: "javascript",
    code: "console.log('hi')",
    bare: &["/usr/bin/node", "-e", "console.log('hi')"],
    expected: "hi\n",
};

/// R.
pub(crate) const R: Language = Language {
    name: "r",
    code: "cat('hi\\n')",
    bare: &["/usr/bin/Rscript", "--vanilla", "-e", "cat('hi\\n')"],
    expected: "hi\n",
};

/// Bash.
pub(crate) const BASH: Language =
    Language { name: "bash", code: "echo hi", bare: &["/usr/bin/bash", "-c", "echo hi"], expected: "hi\n" };

/// Our side of the case.
struct Ours<'a> {
    language: &'a Language,
    server: SocketAddr,
    connection: Connection,
    nonces: Nonces,
}

/// Measures the case.
pub(crate) fn measure(plan: &Plan, language: &Language) -> Result<Case> {
    let start = Instant::now();
    let mut peers = vec![Peer::bare(language.bare, language.expected)];
    let mut notes = Vec::new();
    match Peer::bubblewrap(language.bare, language.expected) {
        Some(peer) => peers.push(peer),
        None => notes.push("bubblewrap is not installed: `cargo xtask setup --bench` installs it".to_owned()),
    }
    let server = Server::start(&plan.binary, &plan.scratch)?;
    let connection = Connection::open(server.address)?;
    let mut ours = Ours { language, server: server.address, connection, nonces: Nonces::new()? };
    let first = ours.run_once().with_context(|| format!("the server said:\n{}", server.said()))?;
    let facts = BTreeMap::from([
        ("server_start_ms", u64::try_from(server.start_took.as_millis())?),
        ("first_run_ms", u64::try_from(first.as_millis())?),
    ]);
    let paused = one_at_a_time(plan, &peers, &mut ours, start)?;
    let unpaused = without_pause(plan, &peers, &mut ours, &mut notes)?;
    let mut rows = Vec::new();
    for (all, pause) in [(&paused, Paused::EachTime), (&unpaused, Paused::Never)] {
        rows.extend(all.iter().enumerate().map(|(at, series)| series.row((at > 0).then(|| &all[0]), pause)));
    }
    let about = format!("POST /execute `{}`, a process for each run; rounds alternate", language.code);
    Ok(Case { name: language.name, about, rows, facts, notes })
}

/// The last contender is ours.
fn one_at_a_time(plan: &Plan, peers: &[Peer], ours: &mut Ours<'_>, start: Instant) -> Result<Vec<Series>> {
    let rounds = usize::try_from(plan.rounds.unwrap_or(ROUNDS))?;
    let warm_up = usize::try_from(WARM_UP_ROUNDS)?;
    let mut all: Vec<Series> = peers.iter().map(|peer| Series::new(peer.name)).collect();
    all.push(Series::new("execgate"));
    let mut servers_before = cpu::of_descendants();
    for round in 0..warm_up + rounds {
        if round == warm_up {
            all.iter_mut().for_each(|series| *series = Series::new(std::mem::take(&mut series.name)));
            servers_before = cpu::of_descendants();
        }
        if start.elapsed() > CASE_LIMIT {
            break;
        }
        for at in rotated(all.len(), round) {
            let took = match peers.get(at) {
                Some(peer) => counting_cpu(&mut all[at], |_| peer.run_once())?,
                None => ours.run_once()?,
            };
            all[at].latencies.push(took);
        }
    }
    // The server clears up and prepares behind its answers: all that it did belongs to its runs.
    all[peers.len()].add_cpu(cpu::of_descendants().saturating_sub(servers_before));
    Ok(all)
}

fn without_pause(
    plan: &Plan,
    peers: &[Peer],
    ours: &mut Ours<'_>,
    notes: &mut Vec<String>,
) -> Result<Vec<Series>> {
    let name = |name: &str| Series::new(format!("{name}, {AT_A_TIME} at a time, no pause"));
    let mut all: Vec<Series> = peers.iter().map(|peer| name(peer.name)).collect();
    all.push(name("execgate"));
    for round in (0_usize..).take(usize::try_from(SLICES)?) {
        for at in rotated(all.len(), round) {
            let series = &mut all[at];
            if let Some(peer) = peers.get(at) {
                counting_cpu(series, |series| peer.run_for(plan.length / SLICES, AT_A_TIME, series))?;
                continue;
            }
            let load = Load { server: ours.server, connections: AT_A_TIME, length: plan.length / SLICES };
            let before = cpu::of_descendants();
            let refusal = load.run(series, &mut |buffer| ours.request(buffer))?;
            series.add_cpu(cpu::of_descendants().saturating_sub(before));
            if let Some(refusal) = refusal {
                notes.push(format!("refused: {}", refusal.lines().last().unwrap_or_default()));
                notes.dedup();
            }
        }
    }
    Ok(all)
}

/// Adds what the peers that `act` starts took of the processor, with what they left behind.
fn counting_cpu<T>(series: &mut Series, act: impl FnOnce(&mut Series) -> Result<T>) -> Result<T> {
    let (known, before) = (cpu::children(), cpu::of_finished_children());
    let done = act(series)?;
    cpu::reap_others(&known);
    series.add_cpu(cpu::of_finished_children().saturating_sub(before));
    Ok(done)
}

impl Ours<'_> {
    fn request(&mut self, buffer: &mut Vec<u8>) {
        let nonce = self.nonces.next();
        let body =
            json!({"action": self.language.name, "payload": {"code": self.language.code}, "nonce": nonce});
        http::post(buffer, self.server, "/execute", &body.to_string());
    }

    /// Runs the hello once: from before the request is sent until its answer is read.
    fn run_once(&mut self) -> Result<Duration> {
        let mut request = Vec::new();
        self.request(&mut request);
        let start = Instant::now();
        let (status, body) = self.connection.ask(&request)?;
        let took = start.elapsed();
        let is_right = status == 200 && printed(&body).as_deref() == Some(self.language.expected);
        ensure!(is_right, "{} answered {status}: {}", self.language.name, String::from_utf8_lossy(&body));
        Ok(took)
    }
}

/// What the code printed, by the answer's envelope.
fn printed(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    Some(answer.get("result")?.get("stdout")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_printed_is_read_from_the_envelope() {
        assert_eq!(printed(br#"{"result":{"stdout":"hi\n","error":null}}"#).as_deref(), Some("hi\n"));
        assert_eq!(printed(br#"{"result":null}"#), None);
        assert_eq!(printed(b"busy"), None);
    }
}
