//! What reading and checking a call costs without running it: calls that are refused at their very last check, beside
//! a page that reads nothing, both over one kept connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::bench::command::Plan;
use crate::bench::http::{self, Connection};
use crate::bench::report::Case;
use crate::bench::series::{Paused, Series, rotated};
use crate::bench::server::Server;

/// Calls of each contender.
const ROUNDS: u32 = 2000;

/// Rounds that do not count.
const WARM_UP_ROUNDS: usize = 100;

/// The longest code of the smallest offer, in characters.
const LONG_CODE: usize = 10_000;

/// A request and the status that it has to have.
struct Contender {
    name: &'static str,
    request: Vec<u8>,
    status: u16,
}

/// Measures the case.
pub(crate) fn measure(plan: &Plan) -> Result<Case> {
    let server = Server::start(&plan.binary, &plan.scratch)?;
    let mut connection = Connection::open(server.address)?;
    let contenders = contenders(server.address);
    let mut all: Vec<Series> = contenders.iter().map(|one| Series::new(one.name)).collect();
    for round in 0..WARM_UP_ROUNDS + usize::try_from(plan.rounds.unwrap_or(ROUNDS))? {
        for at in rotated(contenders.len(), round) {
            let took = ask(&mut connection, &contenders[at])?;
            if round >= WARM_UP_ROUNDS {
                all[at].latencies.push(took);
            }
        }
    }
    let rows = all
        .iter()
        .enumerate()
        .map(|(at, series)| series.row((at > 0).then(|| &all[0]), Paused::EachTime))
        .collect();
    let about = "POST /api/code-run refused at its last check, nothing runs; the difference to the page is \
                 the cost of reading and checking"
        .to_owned();
    Ok(Case { name: "mapping", about, rows, facts: BTreeMap::new(), notes: Vec::new() })
}

fn contenders(server: SocketAddr) -> Vec<Contender> {
    // No image has this profile: found out when everything else has been read and checked.
    let call = |name, code: String| {
        let mut request = Vec::new();
        let body = json!({"code": code, "language": "python", "args": ["a"], "profile": "no-such-profile"});
        http::post(&mut request, server, "/api/code-run", &body.to_string());
        Contender { name, request, status: 400 }
    };
    let page = format!("GET /version HTTP/1.1\r\nhost: {server}\r\n\r\n").into_bytes();
    vec![
        Contender { name: "GET /version", request: page, status: 200 },
        call("a call of one line", "print('hi')".to_owned()),
        call("a call of 10,000 characters", "x = 1\n".repeat(LONG_CODE / 6)),
    ]
}

fn ask(connection: &mut Connection, contender: &Contender) -> Result<Duration> {
    let start = Instant::now();
    let (status, body) = connection.ask(&contender.request)?;
    let took = start.elapsed();
    ensure!(status == contender.status, "answered {status}: {}", String::from_utf8_lossy(&body));
    Ok(took)
}
