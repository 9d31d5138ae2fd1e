//! Small calls over HTTP: what the corridor itself costs, from no load to a full one, beside what the disk alone takes
//! for one durable write.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::bench::command::Plan;
use crate::bench::disk::Disk;
use crate::bench::load::Load;
use crate::bench::nonce::Nonces;
use crate::bench::report::Case;
use crate::bench::series::{Paused, Series, rotated};
use crate::bench::server::Server;
use crate::bench::{cpu, floor, http};

/// Into how many slices each contender's time is cut.
const SLICES: u32 = 5;

/// Before anything counts, so that caches and pools are warm.
const WARM_UP: Duration = Duration::from_millis(500);

/// Refusals that are told; the rest are only counted.
const MAX_NOTES: usize = 3;

/// Calls whose rooms are looked at one by one.
const TIMED: usize = 500;

/// Entries of the policy file that a simulation is judged by.
const RULES: usize = 1000;

/// What is called.
pub(crate) struct Call {
    name: &'static str,
    about: &'static str,
    path: &'static str,
    body: fn(&mut Nonces) -> Value,
    /// The rules of the gateway, where it has any.
    policy: Option<fn() -> Value>,
}

/// An action that does nothing, without rules.
pub(crate) const ECHO: Call = Call {
    name: "echo",
    about: "POST /execute of echo, kept connections, a nonce for each request",
    path: "/execute",
    body: |nonces| {
        let number = nonces.number() % 1_000_000;
        json!({"action": "echo", "payload": {"n": number}, "nonce": nonces.next()})
    },
    policy: None,
};

/// A pure tool, simulated by running it, under a thousand rules.
pub(crate) const SIMULATE: Call = Call {
    name: "simulate",
    about: "POST /exec/simulate of hash_generate, kept connections, a policy file of 1,000 entries",
    path: "/exec/simulate",
    body: |nonces| json!({"tool": {"name": "hash_generate", "args": {"data": nonces.next()}}}),
    policy: Some(thousand_rules),
};

/// Entries by name, by the start of names and for everything, with conditions and a limit that has room.
fn thousand_rules() -> Value {
    let condition = json!([{"path": "args.data", "op": "regex", "value": "^never$"}]);
    let others = (1..RULES - 1).map(|n| (format!("tool_{n}_*"), json!({"deny_if": condition})));
    let mut tools: serde_json::Map<String, Value> = others.collect();
    let limits = json!([{"counter": "calls", "window": "hour", "max": 1_000_000_000}]);
    tools.insert("hash_generate".to_owned(), json!({"deny_if": condition, "limits": limits}));
    tools.insert(
        "hash_*".to_owned(),
        json!({"require": [{"path": "args.data", "op": "exists", "value": true}]}),
    );
    json!({"version": "1", "default": "deny", "tools": tools})
}

/// Who takes part.
#[derive(Clone, Copy)]
enum Contender {
    Disk,
    Floor,
    Ours { connections: usize },
}

/// The disk is the baseline: every answer waits for at least one flush.
const CONTENDERS: [Contender; 5] = [
    Contender::Disk,
    Contender::Floor,
    Contender::Ours { connections: 1 },
    Contender::Ours { connections: 16 },
    Contender::Ours { connections: 64 },
];

impl Contender {
    fn name(self, call: &Call) -> String {
        let name = call.name;
        match self {
            Self::Disk => "disk: 8 KiB append + fdatasync".to_owned(),
            Self::Floor => "bare HTTP answer, 1 connection".to_owned(),
            Self::Ours { connections: 1 } => format!("execgate {name}, 1 connection"),
            Self::Ours { connections } => format!("execgate {name}, {connections} connections"),
        }
    }
}

/// Measures the case.
pub(crate) fn measure(plan: &Plan, call: &Call) -> Result<Case> {
    let folder = tempfile::tempdir_in(&plan.scratch)?;
    let mut disk = Disk::open(folder.path())?;
    let floor = floor::start()?;
    let configuration = configuration(call, &plan.scratch)?;
    let server = Server::start_as(&plan.binary, &plan.scratch, &configuration)?;
    let mut nonces = Nonces::new()?;
    let slices = plan.rounds.unwrap_or(SLICES);
    let slice = plan.length / slices;
    let mut notes = Vec::new();
    let names = CONTENDERS.iter().map(|contender| contender.name(call));
    let mut all: Vec<Series> = names.map(Series::new).collect();

    let warm_up = Load { server: server.address, connections: 16, length: WARM_UP };
    warm_up.run(&mut Series::default(), &mut |buffer| request(buffer, call, warm_up.server, &mut nonces))?;
    for round in (0_usize..).take(usize::try_from(slices)?) {
        for at in rotated(CONTENDERS.len(), round) {
            let series = &mut all[at];
            let (address, connections) = match CONTENDERS[at] {
                Contender::Disk => {
                    disk.run(slice, series)?;
                    continue;
                }
                Contender::Floor => (floor, 1),
                Contender::Ours { connections } => (server.address, connections),
            };
            let load = Load { server: address, connections, length: slice };
            let before = cpu::of_descendants();
            let refusal = load.run(series, &mut |buffer| request(buffer, call, address, &mut nonces))?;
            if matches!(CONTENDERS[at], Contender::Ours { .. }) {
                series.add_cpu(cpu::of_descendants().saturating_sub(before));
            }
            if let Some(refusal) = refusal.filter(|_| notes.len() < MAX_NOTES) {
                notes.push(format!("refused ({}): {}", series.name, first_line_and_body(&refusal)));
            }
        }
    }
    let mut facts = rooms(call, server.address, &mut nonces)?;
    facts.insert("server_start_ms", u64::try_from(server.start_took.as_millis())?);
    let rows =
        all.iter().enumerate().map(|(at, series)| series.row((at > 0).then(|| &all[0]), Paused::Never));
    Ok(Case { name: call.name, about: call.about.to_owned(), rows: rows.collect(), facts, notes })
}

/// The server's configuration, with its rules in a file that its user may read.
fn configuration(call: &Call, scratch: &Path) -> Result<String> {
    let Some(policy) = call.policy else { return Ok(String::new()) };
    let file = scratch.join("policy.json");
    fs::write(&file, policy().to_string()).context("failed to write the server's rules")?;
    Ok(format!("[policy]\nfile = {file:?}\n"))
}

/// What each room took by the server's own clock, in microseconds: half of the calls spent no longer in it.
fn rooms(call: &Call, server: SocketAddr, nonces: &mut Nonces) -> Result<BTreeMap<&'static str, u64>> {
    let mut connection = http::Connection::open(server)?;
    let mut series: BTreeMap<&'static str, Series> = BTreeMap::new();
    let mut buffer = Vec::new();
    for _ in 0..TIMED {
        request(&mut buffer, call, server, nonces);
        let (status, body) = connection.ask(&buffer)?;
        anyhow::ensure!(status == 200, "answered {status}: {}", String::from_utf8_lossy(&body));
        buffer.clear();
        for (room, took) in timing(connection.head()?) {
            series.entry(room).or_default().latencies.push(took);
        }
    }
    let rooms = series.iter().map(|(room, series)| (*room, series.percentile(500)));
    rooms.map(|(room, took)| Ok((room, u64::try_from(took.as_micros())?))).collect()
}

/// The rooms of a `Server-Timing` header whose cost is told.
fn timing(head: &str) -> impl Iterator<Item = (&'static str, Duration)> {
    let rooms = [
        ("propose", "propose_us"),
        ("pay", "pay_us"),
        ("authorise", "authorise_us"),
        ("execute", "execute_us"),
        ("witness", "witness_us"),
    ];
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let line = lines.filter(|(name, _)| name.eq_ignore_ascii_case("server-timing")).map(|(_, value)| value);
    line.flat_map(|value| value.split(',')).filter_map(move |entry| {
        let (name, ms) = entry.trim().split_once(";dur=")?;
        let (_, fact) = rooms.iter().find(|(room, _)| *room == name)?;
        Some((*fact, Duration::from_secs_f64(ms.parse::<f64>().ok()? / 1e3)))
    })
}

fn request(buffer: &mut Vec<u8>, call: &Call, server: SocketAddr, nonces: &mut Nonces) {
    http::post(buffer, server, call.path, &(call.body)(nonces).to_string());
}

fn first_line_and_body(answer: &str) -> String {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    format!("{} {body}", head.lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_json_with_its_own_nonce() {
        let mut nonces = Nonces::new().unwrap();
        let mut bodies = Vec::new();
        for _ in 0..2 {
            let mut buffer = Vec::new();
            request(&mut buffer, &ECHO, "127.0.0.1:9".parse().unwrap(), &mut nonces);
            let text = String::from_utf8(buffer).unwrap();
            let body = text.split_once("\r\n\r\n").unwrap().1;
            bodies.push(serde_json::from_str::<Value>(body).unwrap());
        }
        assert_eq!(bodies[0]["action"], "echo");
        assert!(bodies[0]["payload"]["n"].is_u64());
        assert_ne!(bodies[0]["nonce"], bodies[1]["nonce"]);
    }

    #[test]
    fn the_rules_are_a_thousand() {
        assert_eq!(thousand_rules()["tools"].as_object().unwrap().len(), RULES);
    }

    #[test]
    fn the_time_of_a_room_is_read_from_the_head() {
        let head = "HTTP/1.1 200 OK\r\nServer-Timing: propose;dur=0.019, authorise;dur=0.001, approve;dur=0.000\r\nA: b";
        let read: Vec<_> = timing(head).collect();
        let us = Duration::from_micros;
        assert_eq!(read, [("propose_us", us(19)), ("authorise_us", us(1))]);
    }

    #[test]
    fn a_refusal_is_told_without_its_headers() {
        assert_eq!(first_line_and_body("HTTP/1.1 503 Busy\r\nA: b\r\n\r\n{}"), "HTTP/1.1 503 Busy {}");
    }
}
