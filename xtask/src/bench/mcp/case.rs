//! The case: who takes part, in which order, and what is told of it.

use std::collections::BTreeMap;
use std::env;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::doors::{Door, PIPED, REMOTE, gateway, upstream, write};
use super::memory::{of_process, of_sessions};
use super::pipes::Pipes;
use super::rules::Rules;
use super::upstream::TOOL;
use crate::bench::command::Plan;
use crate::bench::cpu;
use crate::bench::disk::Disk;
use crate::bench::nonce::Nonces;
use crate::bench::report::Case;
use crate::bench::series::{Paused, Row, Series, rotated};

/// Sessions at once.
const SESSIONS: [usize; 3] = [1, 8, 32];
const MOST: usize = 32;

/// Into how many slices each contender's time is cut.
const SLICES: u32 = 5;

/// Before anything counts, so that caches and pools are warm.
const WARM_UP: Duration = Duration::from_millis(300);

/// Refusals that are told; the rest are only counted.
const MAX_NOTES: usize = 3;

/// Where calls go.
enum Way {
    /// Nowhere: the disk alone, since every call of ours waits for it.
    Disk,
    /// Over pipes, by the sessions of this number.
    Pipes(usize),
    /// Over HTTP, to the door of this number.
    Door(usize),
}

struct Contender {
    way: Way,
    sessions: usize,
    /// Whose calls its own are held against.
    baseline: Option<usize>,
    series: Series,
}

/// Everything that is asked.
struct Field {
    disk: Disk,
    pipes: Vec<Pipes>,
    doors: Vec<Door>,
    nonces: Nonces,
}

/// Measures the case.
pub(crate) fn measure(plan: &Plan) -> Result<Case> {
    let folder = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(&plan.scratch)
        .context("failed to make a folder")?;
    let behind = upstream()?;
    let gateways = [Rules::One, Rules::Thousand].map(|rules| gateway(plan, folder.path(), &behind, rules));
    let [one, thousand] = gateways;
    let (one, thousand) = (one?, thousand?);
    let at = |server: &str| format!("/mcp/{server}");
    let doors = [
        ("direct, HTTP", Door::open(behind.address, "/mcp", MOST)?),
        ("gateway, HTTP, 1 rule", Door::open(one.address, &at(REMOTE), MOST)?),
        ("gateway, HTTP, 1,000 rules", Door::open(thousand.address, &at(REMOTE), MOST)?),
        ("gateway, pipe behind, 1 rule", Door::open(one.address, &at(PIPED), MOST)?),
    ];
    let pipes = [
        ("direct, pipes", Pipes::start((0..MOST).map(|_| itself()).collect::<Result<Vec<_>>>()?)?),
        ("proxy, 1 rule", proxies(plan, folder.path(), Rules::One, Record::Own)?),
        ("proxy, 1,000 rules", proxies(plan, folder.path(), Rules::Thousand, Record::Own)?),
        ("proxy, 1 rule, one record", proxies(plan, folder.path(), Rules::One, Record::Shared)?),
    ];
    let mut all = vec![Contender {
        way: Way::Disk,
        sessions: 1,
        baseline: None,
        series: Series::new("disk: 8 KiB append + fdatasync"),
    }];
    let ways = (0..pipes.len()).map(|number| (pipes[number].0, false, number));
    let ways = ways.chain((0..doors.len()).map(|number| (doors[number].0, true, number)));
    for (name, is_door, number) in ways {
        for sessions in SESSIONS {
            let way = if is_door { Way::Door(number) } else { Way::Pipes(number) };
            // The contenders of one way stand together, those that ask the server itself first.
            let baseline = (number > 0).then(|| all.len() - number * SESSIONS.len());
            all.push(Contender {
                way,
                sessions,
                baseline,
                series: Series::new(format!("{name}, {sessions}")),
            });
        }
    }
    let mut field = Field {
        disk: Disk::open(folder.path())?,
        pipes: pipes.into_iter().map(|(_, pipes)| pipes).collect(),
        doors: doors.into_iter().map(|(_, door)| door).collect(),
        nonces: Nonces::new()?,
    };
    let mut notes = take_turns(plan, &mut field, &mut all)?;
    let proxy = field.pipes[1].ids().next().context("a session has a process")?;
    let idle = of_sessions(&field.doors[1], one.id())?;
    let facts = BTreeMap::from([
        ("idle_session_bytes", idle.absent),
        ("idle_connected_session_bytes", idle.connected),
        ("proxy_process_bytes", of_process(proxy)?),
        ("gateway_process_bytes", of_process(one.id())?),
    ]);
    let baselines: Vec<Option<usize>> = all.iter().map(|contender| contender.baseline).collect();
    let rows: Vec<Row> = all
        .iter()
        .map(|one| one.series.row(one.baseline.map(|baseline| &all[baseline].series), Paused::Never))
        .collect();
    notes.extend(added(&rows, &baselines));
    // Sessions first, then gateways, all at once: each of those waits for whatever it may have left behind.
    drop((field, behind));
    one.terminate()?;
    thousand.terminate()?;
    let about =
        "tools/call of a server that only answers, distinct arguments, each session one call at a time"
            .to_owned();
    Ok(Case { name: "mcp", about, rows, facts, notes })
}

/// Everybody in turn, slice by slice.
fn take_turns(plan: &Plan, field: &mut Field, all: &mut [Contender]) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for contender in &mut *all {
        let name = contender.series.name.clone();
        field.run(contender, WARM_UP)?;
        contender.series = Series::new(name);
    }
    let slices = plan.rounds.unwrap_or(SLICES);
    for round in (0_usize..).take(usize::try_from(slices)?) {
        for at in rotated(all.len(), round) {
            let contender = &mut all[at];
            let before = cpu::of_descendants();
            let refusal = field.run(contender, plan.length / slices)?;
            if !matches!(contender.way, Way::Disk) {
                contender.series.add_cpu(cpu::of_descendants().saturating_sub(before));
            }
            if let Some(refusal) = refusal.filter(|_| notes.len() < MAX_NOTES) {
                notes.push(format!("refused ({}): {refusal}", contender.series.name));
            }
        }
    }
    Ok(notes)
}

impl Field {
    fn run(&mut self, contender: &mut Contender, length: Duration) -> Result<Option<String>> {
        let Contender { way, sessions, series, .. } = contender;
        match way {
            Way::Disk => self.disk.run(length, series).map(|()| None),
            Way::Pipes(number) => self.pipes[*number].run(*sessions, length, series, &mut self.nonces),
            Way::Door(number) => self.doors[*number].run(*sessions, length, series, &mut self.nonces),
        }
    }
}

/// What each contender adds to the calls of its baseline, at p50.
fn added<'r>(rows: &'r [Row], baselines: &'r [Option<usize>]) -> impl Iterator<Item = String> {
    rows.iter().zip(baselines).filter_map(|(row, baseline)| {
        let baseline = rows.get((*baseline)?)?;
        Some(format!("added at p50, {}: {:.0} µs", row.name, row.p50_us - baseline.p50_us))
    })
}

/// Whether the processes of several sessions write one record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Record {
    Own,
    Shared,
}

/// Sessions that start `execgate proxy`.
fn proxies(plan: &Plan, folder: &Path, rules: Rules, record: Record) -> Result<Pipes> {
    let kind = format!("{}{}", rules.word().replace([' ', ','], ""), u8::from(record == Record::Shared));
    let policy = folder.join(format!("proxy-{kind}.json"));
    write(&policy, &rules.policy(TOOL).to_string())?;
    let one = |number: usize| {
        let number = if record == Record::Own { number } else { 0 };
        let mut command = Command::new(&plan.binary);
        command.arg("proxy").arg("--policy").arg(&policy);
        command.arg("--data-dir").arg(folder.join(format!("data-{kind}-{number}")));
        command.args(["--name", "bench", "--sandbox", "off", "--"]).arg(env::current_exe()?).arg("upstream");
        command.stderr(Stdio::null());
        Ok(command)
    };
    Pipes::start((0..MOST).map(one).collect::<Result<Vec<_>>>()?)
}

/// The server itself.
fn itself() -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.arg("upstream");
    Ok(command)
}
