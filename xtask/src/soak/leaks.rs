//! `cargo xtask soak leaks`: thousands of runs one after the other, then as many at a time as there may be, over HTTP, and
//! a count of everything before and after.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::bench::{Connection, Nonces, Server, adopt_orphans, post};
use crate::soak::binary;
use crate::soak::census::Census;

/// Runs that make what is made once: slots, groups, network namespaces, interpreters.
const WARM_UP: u32 = 300;

/// Runs of each lane in the part of many at a time.
const ROUNDS: u32 = 16;

/// How often it is told where the soak stands.
const TOLD_EVERY: u32 = 1000;

/// How long what was begun behind the last answer may take: inits that are reaped, interpreters that are made to wait.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);

/// What each part may have grown, in KiB: pages that were written for the first time. One KiB a run, lost, would be ten
/// thousand.
const MEMORY_SLACK_KIB: u64 = 8 << 10;

/// What the server's record keeps in memory once it is large, in KiB: 32 MiB where it writes, 4 MiB for each that reads.
const RECORD_KIB: u64 = 56 << 10;

/// How many objects of the kernel there may be more, for each hundred runs: others use this machine too.
const KERNEL_SLACK_PER_HUNDRED: u64 = 10;

/// The status of a house that is full: a slot whose run has ended may still be cleared.
const FULL: u16 = 503;

/// How often a run that was turned away is asked for again.
const FULL_MAX: u32 = 1000;

/// `cargo xtask soak leaks`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many runs, one after the other.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    runs: u32,
    /// How many at a time, afterwards.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=64))]
    at_once: u32,
    /// Soak this binary instead of building one.
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// Runs the soak; `true` if nothing is left over.
pub(crate) fn run(args: &Args) -> Result<bool> {
    adopt_orphans()?;
    let (binary, scratch) = binary::of(args.binary.as_deref())?;
    let server = Server::start_as(&binary, &scratch, &format!("[sandbox]\nslots = {}\n", args.at_once))?;
    one_after_the_other(&server, WARM_UP)?;
    // As many as later, so that every slot has had its first run.
    at_once(&server, args.at_once, ROUNDS)?;
    let before = settled(&server, None);
    let start = Instant::now();
    one_after_the_other(&server, args.runs)?;
    let took = start.elapsed();
    println!("{} runs one after the other in {} s", args.runs, took.as_secs());
    let between = settled(&server, Some(&before));
    at_once(&server, args.at_once, ROUNDS)?;
    println!("{} runs, {} at a time", args.at_once * ROUNDS, args.at_once);
    let after = settled(&server, Some(&before));
    println!("\n{}", table(&[&before, &between, &after]));
    let wrong = wrong(&before, &after, args.runs + args.at_once * ROUNDS);
    for line in &wrong {
        println!("LEAK {line}");
    }
    println!("leaks: {}", if wrong.is_empty() { "none".to_owned() } else { wrong.len().to_string() });
    Ok(wrong.is_empty())
}

/// The code of a run: most in Python, some in each other language, and each leaves something behind and tells its number.
fn code(number: u32) -> (&'static str, String, String) {
    match number % 50 {
        0 => ("r", format!("x <- tempfile(); cat('x', file = x); cat({number})"), number.to_string()),
        1..=4 => (
            "javascript",
            format!("require('fs').writeFileSync('/tmp/x', 'x'); console.log({number})"),
            format!("{number}\n"),
        ),
        5..=14 => ("bash", format!("sleep 60 & echo x > /tmp/x; echo {number}"), format!("{number}\n")),
        15 => (
            "python",
            format!(
                "import os, subprocess\nsubprocess.Popen(['sleep', '60'], start_new_session=True)\nopen('/tmp/x', 'x').write('x' * 9999)\nprint({number})"
            ),
            format!("{number}\n"),
        ),
        16 => (
            "python",
            format!("import os\nprint({number}, flush=True)\nos.kill(os.getpid(), 9)"),
            format!("{number}\n"),
        ),
        17 => ("python", format!("print({number}); 1 / 0"), format!("{number}\n")),
        _ => ("python", format!("open('/tmp/x', 'x').write('x'); print({number})"), format!("{number}\n")),
    }
}

/// Runs one, and checks that the answer is its own. A house that is full is asked again.
fn ask(connection: &mut Connection, server: &Server, nonces: &mut Nonces, number: u32) -> Result<()> {
    let (action, code, expected) = code(number);
    for _ in 0..FULL_MAX {
        let mut request = Vec::new();
        let body = json!({"action": action, "payload": {"code": code}, "nonce": nonces.next()});
        post(&mut request, server.address, "/execute", &body.to_string());
        let (status, body) = connection.ask(&request)?;
        if status == FULL {
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        let answer: Option<Value> = serde_json::from_slice(&body).ok();
        let printed = answer.as_ref().and_then(|answer| answer.get("result")?.get("stdout")?.as_str());
        let said = String::from_utf8_lossy(&body);
        ensure!(printed == Some(&expected), "run {number} in {action} answered {status}: {said}");
        return Ok(());
    }
    bail!("run {number} in {action} was turned away {FULL_MAX} times")
}

fn one_after_the_other(server: &Server, runs: u32) -> Result<()> {
    let (mut connection, mut nonces) = (Connection::open(server.address)?, Nonces::new()?);
    let start = Instant::now();
    for number in 1..=runs {
        ask(&mut connection, server, &mut nonces, number).with_context(|| server.said())?;
        if number % TOLD_EVERY == 0 {
            let memory = Census::of(server).server_kib();
            println!("  {number} of {runs} runs, {} s, server {memory} KiB", start.elapsed().as_secs());
        }
    }
    Ok(())
}

fn at_once(server: &Server, lanes: u32, rounds: u32) -> Result<()> {
    thread::scope(|scope| {
        let lane = |lane: u32| -> Result<()> {
            let (mut connection, mut nonces) = (Connection::open(server.address)?, Nonces::new()?);
            (0..rounds)
                .try_for_each(|round| ask(&mut connection, server, &mut nonces, lane * 1000 + round * 7 + 15))
        };
        let lanes: Vec<_> = (0..lanes).map(|number| scope.spawn(move || lane(number))).collect();
        lanes.into_iter().try_for_each(|lane| lane.join().ok().context("a thread of the client panicked")?)
    })
}

/// Counts once nothing changes any more, or once nothing is more than it was.
fn settled(server: &Server, before: Option<&Census>) -> Census {
    let start = Instant::now();
    let mut last = Census::of(server);
    let mut same_since = Instant::now();
    loop {
        thread::sleep(Duration::from_millis(250));
        let now = Census::of(server);
        if now.exact != last.exact {
            same_since = Instant::now();
        }
        let is_calm = same_since.elapsed() > Duration::from_secs(3);
        let is_fine = before.is_none_or(|before| now.grown(before).is_empty());
        if (is_calm && is_fine) || start.elapsed() > SETTLE_LIMIT {
            return now;
        }
        last = now;
    }
}

/// What grew that must not.
fn wrong(before: &Census, after: &Census, runs: u32) -> Vec<String> {
    let mut wrong = after.grown(before);
    for (what, now) in &after.memory_kib {
        let then = before.memory_kib.get(what).copied().unwrap_or_default();
        let slack = MEMORY_SLACK_KIB + if *what == "server" { RECORD_KIB } else { 0 };
        if *now > then + slack {
            wrong.push(format!("memory of {what}: {then} KiB and now {now} KiB"));
        }
    }
    for (what, now) in &after.kernel {
        let then = before.kernel.get(what).copied().unwrap_or_default();
        if *now > then + u64::from(runs) * KERNEL_SLACK_PER_HUNDRED / 100 {
            wrong.push(format!("objects of the kernel, {what}: {then} and now {now}"));
        }
    }
    wrong
}

/// Everything that was counted, a column a time.
fn table(all: &[&Census]) -> String {
    let mut lines = vec![format!("{:<34} {:>10} {:>10} {:>10}", "", "before", "between", "after")];
    let Some(first) = all.first() else { return String::new() };
    for part in [
        |census: &Census| census.exact.clone(),
        |census: &Census| census.memory_kib.clone(),
        |census: &Census| census.kernel.clone(),
    ] {
        for what in part(first).keys() {
            let numbers = all.iter().map(|census| part(census).get(what).copied().unwrap_or_default());
            let cells: Vec<String> = numbers.map(|number| format!("{number:>10}")).collect();
            lines.push(format!("{what:<34} {}", cells.join(" ")));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::census::Counts;

    fn census(processes: u64, memory: u64, mounts: u64) -> Census {
        Census {
            exact: Counts::from([("processes", processes)]),
            memory_kib: Counts::from([("helper", memory)]),
            kernel: Counts::from([("mnt_cache", mounts)]),
        }
    }

    #[test]
    fn a_process_much_memory_and_many_objects_are_leaks_and_a_few_are_not() {
        let before = census(5, 1000, 100);
        assert!(wrong(&before, &census(5, 1000 + MEMORY_SLACK_KIB, 1100), 10_000).is_empty());
        assert_eq!(wrong(&before, &census(6, 1001 + MEMORY_SLACK_KIB, 1101), 10_000).len(), 3);
    }

    #[test]
    fn every_run_tells_its_own_number_in_every_language() {
        let languages: std::collections::BTreeSet<_> = (1..=50).map(|number| code(number).0).collect();
        assert_eq!(languages.len(), 4);
        assert!((1..=50).all(|number| code(number).1.contains(&number.to_string())
            && code(number).2.starts_with(&number.to_string())));
        assert!(table(&[&census(1, 2, 3); 3]).contains("mnt_cache"));
    }
}
