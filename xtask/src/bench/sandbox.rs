//! The sandbox as a library beside the bare interpreters and bubblewrap: what waits, what is forked when it is asked for,
//! two at a time without a pause, and what one that waits costs in memory.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::bench::command::Plan;
use crate::bench::peer::Peer;
use crate::bench::report::Case;
use crate::bench::series::{Paused, Series, rotated};
use crate::{metadata, shell};

/// Runs of each contender, one at a time.
const ROUNDS: u32 = 200;

/// Rounds that do not count.
const WARM_UP_ROUNDS: usize = 10;

/// Into how many slices the time without pause is cut.
const SLICES: u32 = 5;

/// How many run at a time in the part without pause.
const AT_A_TIME: usize = 2;

/// One kind ends after this, with fewer rounds.
const KIND_LIMIT: Duration = Duration::from_secs(240);

/// What is run, bare and in the jail.
struct Kind {
    name: &'static str,
    /// The name of the process that waits.
    program: &'static str,
    bare: &'static [&'static str],
    expected: &'static str,
}

const KINDS: [Kind; 5] = [
    Kind {
        name: "python",
        program: "python3",
        bare: &["/usr/bin/python3", "-c", "print('hi')"],
        expected: "hi\n",
    },
    Kind {
        name: "numpy",
        program: "python3",
        bare: &["/usr/bin/python3", "-c", "import numpy; print(numpy.arange(5).sum())"],
        expected: "10\n",
    },
    Kind {
        name: "javascript",
        program: "node",
        bare: &["/usr/bin/node", "-e", "console.log('hi')"],
        expected: "hi\n",
    },
    Kind { name: "bash", program: "bash", bare: &["/usr/bin/bash", "-c", "echo hi"], expected: "hi\n" },
    Kind {
        name: "r",
        program: "R",
        bare: &["/usr/bin/Rscript", "--vanilla", "-e", "cat('hi\\n')"],
        expected: "hi\n",
    },
];

/// The library, in a process of its own that is told what to do.
struct Library {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Library {
    fn start() -> Result<Self> {
        let built = shell::streams(&mut shell::cargo(&[
            "build",
            "--release",
            "--package",
            "execgate-sandbox",
            "--example",
            "cost",
        ]))?;
        ensure!(built, "the example does not build");
        let program = metadata::workspace()?.target_directory.join("release/examples/cost");
        let mut child = Command::new(program)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start the example")?;
        let asks = child.stdin.take().context("no way to ask the example")?;
        let answers = BufReader::new(child.stdout.take().context("no answers of the example")?);
        Ok(Self { child, asks, answers })
    }

    /// One line to it and one from it, as numbers.
    fn ask(&mut self, line: &str) -> Result<Vec<u64>> {
        writeln!(self.asks, "{line}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        let numbers = answer.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>();
        let numbers = numbers.ok().filter(|numbers| !numbers.is_empty());
        numbers.with_context(|| format!("`{line}` was answered by {answer:?}"))
    }

    fn time(&mut self, line: &str) -> Result<Duration> {
        Ok(Duration::from_micros(self.ask(line)?[0]))
    }

    /// It ends when nobody asks any more.
    fn end(mut self) -> Result<()> {
        drop(self.asks);
        ensure!(self.child.wait()?.success(), "the example failed");
        Ok(())
    }
}

/// Measures the case.
pub(crate) fn measure(plan: &Plan) -> Result<Case> {
    let mut library = Library::start()?;
    let (mut rows, mut facts, mut notes) = (Vec::new(), BTreeMap::new(), Vec::new());
    for kind in &KINDS {
        let mut peers = vec![Peer::bare(kind.bare, kind.expected)];
        peers.extend(Peer::bubblewrap(kind.bare, kind.expected));
        let paused = one_at_a_time(plan, kind, &peers, &mut library)?;
        let unpaused = without_pause(plan, kind, &peers, &mut library)?;
        for (all, pause) in [(&paused, Paused::EachTime), (&unpaused, Paused::Never)] {
            rows.extend(
                all.iter().enumerate().map(|(at, series)| series.row((at > 0).then(|| &all[0]), pause)),
            );
        }
        let stages = library.ask(&format!("stages {} {}", kind.name, WARM_UP_ROUNDS * 10))?;
        let names = ["started", "output", "verdict", "empty slot"];
        let stages: Vec<String> = names.iter().zip(stages).map(|(name, at)| format!("{name} {at}")).collect();
        notes.push(format!("{}, from the pool, µs from asked to: {}", kind.name, stages.join(", ")));
    }
    for (fact, kind) in [
        ("idle_python_kib", "python"),
        ("idle_javascript_kib", "javascript"),
        ("idle_bash_kib", "bash"),
        ("idle_r_kib", "r"),
    ] {
        let program = KINDS.iter().find(|one| one.name == kind).map_or("", |one| one.program);
        facts.insert(fact, library.ask(&format!("idle {program}"))?[0]);
    }
    library.end()?;
    let about =
        "hello by the library, in turn with its peers; the ratio is to the bare interpreter".to_owned();
    Ok(Case { name: "sandbox", about, rows, facts, notes })
}

/// The peers, then ours from the pool, then ours when none that waits fits.
fn one_at_a_time(plan: &Plan, kind: &Kind, peers: &[Peer], library: &mut Library) -> Result<Vec<Series>> {
    let start = Instant::now();
    let rounds = usize::try_from(plan.rounds.unwrap_or(ROUNDS))?;
    let named = |name: &str| Series::new(format!("{}: {name}", kind.name));
    let mut all: Vec<Series> = peers.iter().map(|peer| named(peer.name)).collect();
    let ours = ["pool", "request"];
    all.extend(ours.map(|way| named(&format!("execgate, {way}"))));
    for round in 0..WARM_UP_ROUNDS + rounds {
        if start.elapsed() > KIND_LIMIT {
            break;
        }
        for at in rotated(all.len(), round) {
            let took = match peers.get(at) {
                Some(peer) => peer.run_once()?,
                None => library.time(&format!("run {} {}", kind.name, ours[at - peers.len()]))?,
            };
            if round >= WARM_UP_ROUNDS {
                all[at].latencies.push(took);
            }
        }
    }
    Ok(all)
}

fn without_pause(plan: &Plan, kind: &Kind, peers: &[Peer], library: &mut Library) -> Result<Vec<Series>> {
    let named = |name: &str| Series::new(format!("{}: {name}, {AT_A_TIME} at a time", kind.name));
    let mut all: Vec<Series> = peers.iter().map(|peer| named(peer.name)).collect();
    all.push(named("execgate"));
    let slice = plan.length / SLICES;
    for round in (0_usize..).take(usize::try_from(SLICES)?) {
        for at in rotated(all.len(), round) {
            let series = &mut all[at];
            if let Some(peer) = peers.get(at) {
                peer.run_for(slice, AT_A_TIME, series)?;
                continue;
            }
            let line = format!("stream {} {AT_A_TIME} {}", kind.name, slice.as_secs_f64());
            let before = Instant::now();
            let times = library.ask(&line)?;
            series.wall += before.elapsed();
            series.latencies.extend(times.into_iter().map(Duration::from_micros));
        }
    }
    Ok(all)
}
