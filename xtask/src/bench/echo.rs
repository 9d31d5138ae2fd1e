//! The `echo` action over HTTP: what the corridor itself costs, from no load to a full one, beside what
//! the disk alone takes for one durable write.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

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
    fn name(self) -> String {
        match self {
            Self::Disk => "disk: 8 KiB append + fdatasync".to_owned(),
            Self::Floor => "bare HTTP answer, 1 connection".to_owned(),
            Self::Ours { connections: 1 } => "execgate echo, 1 connection".to_owned(),
            Self::Ours { connections } => format!("execgate echo, {connections} connections"),
        }
    }
}

/// Measures the case.
pub(crate) fn measure(plan: &Plan) -> Result<Case> {
    let folder = tempfile::tempdir_in(&plan.scratch)?;
    let mut disk = Disk::open(folder.path())?;
    let floor = floor::start()?;
    let server = Server::start(&plan.binary, &plan.scratch)?;
    let mut nonces = Nonces::new()?;
    let slices = plan.rounds.unwrap_or(SLICES);
    let slice = plan.length / slices;
    let mut notes = Vec::new();
    let mut all: Vec<Series> = CONTENDERS.iter().map(|contender| Series::new(contender.name())).collect();

    let warm_up = Load { server: server.address, connections: 16, length: WARM_UP };
    warm_up.run(&mut Series::default(), &mut |buffer| request(buffer, &warm_up, &mut nonces))?;
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
            let refusal = load.run(series, &mut |buffer| request(buffer, &load, &mut nonces))?;
            if matches!(CONTENDERS[at], Contender::Ours { .. }) {
                series.add_cpu(cpu::of_descendants().saturating_sub(before));
            }
            if let Some(refusal) = refusal.filter(|_| notes.len() < MAX_NOTES) {
                notes.push(format!("refused ({}): {}", series.name, first_line_and_body(&refusal)));
            }
        }
    }
    let rows =
        all.iter().enumerate().map(|(at, series)| series.row((at > 0).then(|| &all[0]), Paused::Never));
    Ok(Case {
        name: "echo",
        about: "POST /execute, kept connections, a nonce for each request".to_owned(),
        rows: rows.collect(),
        facts: BTreeMap::from([("server_start_ms", u64::try_from(server.start_took.as_millis())?)]),
        notes,
    })
}

fn request(buffer: &mut Vec<u8>, load: &Load, nonces: &mut Nonces) {
    let (number, nonce) = (nonces.number() % 1_000_000, nonces.next());
    let body = format!(r#"{{"action":"echo","payload":{{"n":{number}}},"nonce":"{nonce}"}}"#);
    http::post(buffer, load.server, "/execute", &body);
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
        let load = Load { server: "127.0.0.1:9".parse().unwrap(), connections: 1, length: WARM_UP };
        let mut nonces = Nonces::new().unwrap();
        let mut bodies = Vec::new();
        for _ in 0..2 {
            let mut buffer = Vec::new();
            request(&mut buffer, &load, &mut nonces);
            let text = String::from_utf8(buffer).unwrap();
            let body = text.split_once("\r\n\r\n").unwrap().1;
            bodies.push(serde_json::from_str::<serde_json::Value>(body).unwrap());
        }
        assert_eq!(bodies[0]["action"], "echo");
        assert!(bodies[0]["payload"]["n"].is_u64());
        assert_ne!(bodies[0]["nonce"], bodies[1]["nonce"]);
    }

    #[test]
    fn a_refusal_is_told_without_its_headers() {
        assert_eq!(first_line_and_body("HTTP/1.1 503 Busy\r\nA: b\r\n\r\n{}"), "HTTP/1.1 503 Busy {}");
    }
}
