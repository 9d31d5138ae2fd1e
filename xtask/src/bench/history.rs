//! What history costs: the same calls while the record grows to a million runs, replays of it, and how soon a run stands in a
//! signed head of the log.
//!
//! Every run is a real one, over HTTP. The record is removed with its server.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::bench::command::Plan;
use crate::bench::http::{Connection, post};
use crate::bench::load::Load;
use crate::bench::nonce::Nonces;
use crate::bench::report::Case;
use crate::bench::series::{Paused, Series};
use crate::bench::server::Server;
use crate::bench::{cpu, floor};

/// Connections that fill the record.
const CONNECTIONS: usize = 64;

/// How long one slice of filling is: a line of the table each.
const SLICE: Duration = Duration::from_secs(20);

/// Runs after which replays are measured for the first time.
const YOUNG: u64 = 10_000;

/// Replays, and bare answers, that are timed.
const REPLAYS: u32 = 5_000;

/// Runs whose way into a checkpoint is timed.
const HEADS: u32 = 200;

/// Between two of them, so that each finds the log at rest.
const REST: Duration = Duration::from_millis(60);

/// The largest record, in bytes: beyond it the filling ends, and says so. A run takes some 6.5 KB.
const BYTES_MAX: u64 = 8_000_000_000;

/// The longest that it is filled.
const FILL_MAX: Duration = Duration::from_secs(420);

/// Leaves of a run: its intent and its end.
const LEAVES_OF_ONE: u64 = 2;

/// Without code: nothing of it is measured, and the server starts at once.
const CONFIGURATION: &str = "[surfaces]\ncode = \"off\"\n";

/// Fills a record and measures it.
pub(crate) fn measure(plan: &Plan) -> Result<Case> {
    let server = Server::start_as(&plan.binary, &plan.scratch, CONFIGURATION)?;
    let (address, data) = (server.address, server.home().join("data"));
    let floor = floor::start()?;
    let mut bare = Series::new("bare HTTP answer, 1 connection");
    let mut connection = Connection::open(floor)?;
    for number in 0..u64::from(REPLAYS) {
        ask(&mut connection, floor, number, &mut bare)?;
    }
    let mut rows = vec![bare.row(None, Paused::EachTime)];
    let mut notes = Vec::new();
    let mut filled = 0;
    let mut filling = Series::new("");
    while filled < plan.runs {
        let goal = if filled < YOUNG { YOUNG.min(plan.runs) } else { plan.runs };
        let before = (filled, cpu::of_descendants());
        let mut slice = Series::new("");
        while filled < goal && slice.wall < SLICE {
            // Short loads, so that a record is as large as was asked for and not much larger.
            let load = Load { server: address, connections: CONNECTIONS, length: Duration::from_millis(500) };
            let refusal = load.run(&mut slice, &mut |buffer| {
                post(buffer, address, "/execute", &body(filled));
                filled += 1;
            })?;
            ensure!(refusal.is_none(), "a run was refused: {}", refusal.unwrap_or_default());
        }
        slice.add_cpu(cpu::of_descendants().saturating_sub(before.1));
        slice.name = format!("echo, {} to {filled} runs", before.0);
        rows.push(slice.row(None, Paused::Never));
        filling.wall += slice.wall;
        if filled >= YOUNG && before.0 < YOUNG {
            rows.push(replays(address, filled)?.row(Some(&bare), Paused::EachTime));
        }
        if filled < plan.runs && (bytes(&data)? > BYTES_MAX || filling.wall > FILL_MAX) {
            notes.push(format!("filled no more: {BYTES_MAX} bytes, or {} s", FILL_MAX.as_secs()));
            break;
        }
    }
    rows.push(replays(address, filled)?.row(Some(&bare), Paused::EachTime));
    rows.push(heads(address, filled)?.row(None, Paused::EachTime));
    let facts =
        [("runs", filled), ("record_mb", bytes(&data)? / 1_000_000), ("filled_in_s", filling.wall.as_secs())];
    let about = "a record that grows, POST /execute of echo, and the same nonces again".to_owned();
    Ok(Case { name: "history", about, rows, facts: facts.into(), notes })
}

fn body(number: u64) -> String {
    json!({"action": "echo", "payload": {"n": number}, "nonce": format!("history-{number}")}).to_string()
}

/// One call, timed.
fn ask(connection: &mut Connection, server: SocketAddr, number: u64, series: &mut Series) -> Result<()> {
    let mut request = Vec::new();
    post(&mut request, server, "/execute", &body(number));
    let start = Instant::now();
    let (status, answer) = connection.ask(&request)?;
    series.latencies.push(start.elapsed());
    ensure!(status == 200, "answered {status}: {}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// Runs of all ages, asked for again.
fn replays(server: SocketAddr, runs: u64) -> Result<Series> {
    let mut series = Series::new(format!("a replay among {runs} runs"));
    let mut connection = Connection::open(server)?;
    let mut nonces = Nonces::new()?;
    for _ in 0..REPLAYS {
        ask(&mut connection, server, nonces.number() % runs, &mut series)?;
        let head = connection.head()?.to_ascii_lowercase();
        ensure!(head.contains("execgate-replayed: true"), "it was no replay: {head}");
    }
    Ok(series)
}

/// From the answer of a run to the checkpoint that has its last leaf.
fn heads(server: SocketAddr, runs: u64) -> Result<Series> {
    let mut series = Series::new("from an answer to its checkpoint");
    let mut connection = Connection::open(server)?;
    let mut size = settled(&mut connection, server)?;
    for number in (runs..).take(usize::try_from(HEADS)?) {
        sleep(REST);
        ask(&mut connection, server, number, &mut Series::new(""))?;
        let start = Instant::now();
        size += LEAVES_OF_ONE;
        while checkpoint(&mut connection, server)? < size {}
        series.latencies.push(start.elapsed());
    }
    Ok(series)
}

/// How many entries the newest checkpoint has, once it grows no more.
fn settled(connection: &mut Connection, server: SocketAddr) -> Result<u64> {
    let mut before = 0;
    loop {
        let size = checkpoint(connection, server)?;
        if size == before {
            return Ok(size);
        }
        before = size;
        sleep(Duration::from_secs(1));
    }
}

fn checkpoint(connection: &mut Connection, server: SocketAddr) -> Result<u64> {
    let request = format!("GET /log/checkpoint HTTP/1.1\r\nhost: {server}\r\n\r\n");
    let (status, note) = connection.ask(request.as_bytes())?;
    ensure!(status == 200, "the checkpoint was answered with {status}");
    let note = String::from_utf8(note).context("the checkpoint is no text")?;
    note.lines().nth(1).and_then(|size| size.parse().ok()).context("the checkpoint has no size")
}

fn bytes(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder).context("failed to list the server's data")? {
        let about = entry?.metadata()?;
        sum += if about.is_file() { about.len() } else { 0 };
    }
    Ok(sum)
}
