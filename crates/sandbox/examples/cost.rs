//! Measures what a run costs, as it is told line by line: `cargo xtask bench sandbox` asks it in turn with bare interpreters
//! and other sandboxes. It is also a small program that uses this library: see `main`.
//!
//! ```text
//! run KIND pool|request      microseconds from asked to verdict; `request`: none of those that wait fits
//! stream KIND LANES SECONDS  the microseconds of every run, without a pause between them
//! stages KIND ROUNDS         from asked to started, to output, to verdict, to an empty slot: microseconds, p50
//! idle PROGRAM               KiB that a waiting interpreter and its init have for themselves, page tables included
//! ```

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool for the bench, not a part of the product"
)]

use std::fs;
use std::io::{self, BufRead as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use std::{env, str};

use execgate_sandbox::image::{Image, Recipe};
use execgate_sandbox::{
    Config, HELPER_ARGUMENT, ImageChecks, ImageRoot, Language, Request, Rotation, Sandbox, Source, Tier,
    TierChoice, Verdict, VerdictBy, helper_main, spawn_helper,
};
use execgate_tool::code;

/// Longer than any jail takes to be torn down, and than any interpreter to be warm.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many interpreters of a language wait.
const RESIDENTS: usize = 2;

/// What can be run: its name, language, code and output.
const KINDS: [(&str, &str, &str, &str); 6] = [
    ("python", "python", "print('hi')", "hi\n"),
    ("numpy", "python", "import numpy; print(numpy.arange(5).sum())", "10\n"),
    ("javascript", "javascript", "console.log('hi')", "hi\n"),
    ("bash", "bash", "echo hi", "hi\n"),
    ("r", "r", "cat('hi\\n')", "hi\n"),
    ("true", "true", "", ""),
];

/// The two shapes of jail that take turns where none that waits is to fit.
const INODES: [u32; 2] = [9_998, 9_999];

fn main() -> ExitCode {
    if env::args().nth(1).as_deref() == Some(HELPER_ARGUMENT) {
        return helper_main();
    }
    // Before any thread is started.
    let helper = spawn_helper().unwrap();
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tmp/sandbox-images");
    let image = Image::ensure(&cache, &Recipe::host(), &mut |_| {}).unwrap();
    let config = Config {
        languages: code::present(&image.root).into_iter().chain([nothing()]).collect(),
        image: ImageRoot { path: image.root, digest: image.digest },
        slots: 8,
        tier: TierChoice::Exactly(Tier::Jail),
        residents: RESIDENTS,
        id_block: 0,
        egress: None,
        image_checks: ImageChecks::default(),
        rotation: Rotation::default(),
    };
    let sandbox = Sandbox::start(helper, config).unwrap();
    let mut turn = 0;
    for line in io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["run", kind, start] => {
                sandbox.warm_up(PATIENCE).unwrap();
                turn += 1;
                let shape = (*start == "request").then(|| INODES[turn % INODES.len()]);
                if shape.is_none() {
                    // So that those that wait are of its shape.
                    one(&sandbox, kind, shape);
                    sandbox.warm_up(PATIENCE).unwrap();
                }
                println!("{}", one(&sandbox, kind, shape).as_micros());
            }
            ["stream", kind, lanes, seconds] => {
                let length = Duration::from_secs_f64(seconds.parse().unwrap());
                let times = stream(&sandbox, kind, lanes.parse().unwrap(), length);
                let times: Vec<String> = times.iter().map(|time| time.as_micros().to_string()).collect();
                println!("{}", times.join(" "));
            }
            ["stages", kind, rounds] => println!("{}", stages(&sandbox, kind, rounds.parse().unwrap())),
            ["idle", program] => {
                sandbox.warm_up(PATIENCE).unwrap();
                println!("{}", idle(sandbox.helper_pid(), program));
            }
            _ => return ExitCode::FAILURE,
        }
    }
    ExitCode::SUCCESS
}

/// A language without an interpreter: what a jail costs by itself.
fn nothing() -> Language {
    Language {
        name: "true".to_owned(),
        argv: vec!["/usr/bin/true".to_owned()],
        env: Vec::new(),
        source: Source::Descriptor,
        verdict: VerdictBy::ExitStatus,
        warm: Vec::new(),
        preloads: false,
        idle_bytes: 0,
        session: None,
    }
}

fn request(kind: &str) -> (Request, &'static str) {
    let (_, language, code, expected) = KINDS.into_iter().find(|(name, ..)| *name == kind).unwrap();
    let mut request = Request::new(language, code);
    request.warm = code::suited(language, code);
    (request, expected)
}

/// From asked to verdict.
fn one(sandbox: &Sandbox, kind: &str, inodes: Option<u32>) -> Duration {
    let (mut request, expected) = request(kind);
    request.limits.inodes = inodes.unwrap_or(request.limits.inodes);
    let before = Instant::now();
    let run = sandbox.run(request).unwrap();
    let taken = before.elapsed();
    assert_eq!((run.verdict, str::from_utf8(&run.stdout).unwrap()), (Verdict::Value, expected));
    taken
}

fn stream(sandbox: &Sandbox, kind: &str, lanes: usize, length: Duration) -> Vec<Duration> {
    let before = Instant::now();
    let lane = || {
        let mut times = Vec::new();
        while before.elapsed() < length {
            times.push(one(sandbox, kind, None));
        }
        times
    };
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    })
}

/// Where the time of one run goes, as the client sees it.
fn stages(sandbox: &Sandbox, kind: &str, rounds: usize) -> String {
    let mut all = [const { Vec::new() }; 4];
    for _ in 0..rounds {
        sandbox.warm_up(PATIENCE).unwrap();
        let (seen, sees) = mpsc::channel();
        let mut request = request(kind).0;
        request.sink = Some(Box::new(move |_, _| seen.send(Instant::now()).unwrap()));
        let before = Instant::now();
        let run = sandbox.run(request).unwrap();
        let verdict = before.elapsed();
        let output = sees.recv().map_or(verdict, |at| at - before);
        sandbox.quiesce(PATIENCE).unwrap();
        let times = [verdict.saturating_sub(run.usage.wall), output, verdict, before.elapsed()];
        all.iter_mut().zip(times).for_each(|(all, one)| all.push(one));
    }
    all.map(|mut times| percentile(&mut times, 50).to_string()).join(" ")
}

fn percentile(times: &mut [Duration], per_cent: usize) -> u128 {
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) * per_cent / 100).copied().unwrap_or_default().as_micros()
}

/// The most that one interpreter of this name and its init have for themselves.
fn idle(helper: i32, program: &str) -> u64 {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids: Vec<i32> = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let parent = |pid: i32| number(pid, "status", "PPid:").and_then(|pid| i32::try_from(pid).ok());
    let is_named =
        |pid: i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == program);
    let waiting = pids.into_iter().filter(|pid| is_named(*pid)).filter_map(|pid| {
        let init = parent(pid)?;
        let stem = parent(init)?;
        (parent(stem)? == helper).then(|| own(pid) + own(init))
    });
    waiting.max().unwrap_or_default()
}

/// What a process shares with no other, in KiB.
fn own(pid: i32) -> u64 {
    ["Private_Clean:", "Private_Dirty:"]
        .iter()
        .filter_map(|name| number(pid, "smaps_rollup", name))
        .sum::<u64>()
        + number(pid, "status", "VmPTE:").unwrap_or_default()
}

fn number(pid: i32, file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
