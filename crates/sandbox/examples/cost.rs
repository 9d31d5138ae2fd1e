//! Measures what a run costs beside a bare interpreter, both in turn; and where its time goes.
//!
//! `cargo run --release -p execgate-sandbox --example cost [ROUNDS]`, as root. Numbers depend on the machine and on
//! what else it does, so compare only what one run of this has printed. It is also the smallest program that uses
//! this library: see `main`.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool for the bench, not a part of the product"
)]

use std::env;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use execgate_sandbox::image::{Image, Recipe};
use execgate_sandbox::{
    Config, HELPER_ARGUMENT, ImageRoot, Language, Request, Sandbox, Source, Tier, TierChoice, Verdict,
    VerdictBy, helper_main, spawn_helper,
};
use execgate_tool::code;

/// Longer than any jail takes to be torn down.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let argument = env::args().nth(1);
    if argument.as_deref() == Some(HELPER_ARGUMENT) {
        return helper_main();
    }
    let rounds = argument.and_then(|rounds| rounds.parse().ok()).unwrap_or(200);
    // Before any thread is started.
    let helper = spawn_helper().unwrap();
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tmp/sandbox-images");
    let image = Image::ensure(&cache, &Recipe::host(), &mut |_| {}).unwrap();
    let config = Config {
        languages: code::present(&image.root).into_iter().chain([nothing()]).collect(),
        image: ImageRoot { path: image.root, digest: image.digest },
        slots: 8,
        tier: TierChoice::Exactly(Tier::Jail),
        residents: env::args().nth(2).and_then(|residents| residents.parse().ok()).unwrap_or(0),
        id_block: 0,
    };
    let sandbox = Sandbox::start(helper, config).unwrap();
    in_turn(&sandbox, rounds);
    stages(&sandbox, rounds);
    at_once(&sandbox, rounds);
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
    }
}

fn jailed(sandbox: &Sandbox, language: &str, code: &str) {
    let run = sandbox.run(Request::new(language, code)).unwrap();
    assert_eq!(run.verdict, Verdict::Value);
}

fn bare(program: &str, args: &[&str]) {
    #[expect(clippy::disallowed_methods, reason = "the bare interpreter is the yardstick")]
    let output = Command::new(program).args(args).env_clear().output().unwrap();
    assert!(output.status.success());
}

/// The same program bare and jailed, one after the other, so that both meet the same machine.
fn in_turn(sandbox: &Sandbox, rounds: usize) {
    let kinds: [(&str, &dyn Fn()); 7] = [
        ("bare python", &|| bare("/usr/bin/python3", &["-c", "print('hi')"])),
        ("bare python -I", &|| bare("/usr/bin/python3", &["-I", "-c", "print('hi')"])),
        ("jailed python", &|| jailed(sandbox, "python", "print('hi')")),
        ("bare bash", &|| bare("/usr/bin/bash", &["-c", "echo hi"])),
        ("jailed bash", &|| jailed(sandbox, "bash", "echo hi")),
        ("bare true", &|| bare("/usr/bin/true", &[])),
        ("jailed true", &|| jailed(sandbox, "true", "")),
    ];
    let mut times = vec![Vec::new(); kinds.len()];
    for round in 0..rounds + rounds / 10 {
        for ((_, run), times) in kinds.iter().zip(&mut times) {
            let before = Instant::now();
            run();
            let taken = before.elapsed();
            // What a run leaves to be torn down is not the next one's cost.
            sandbox.quiesce(PATIENCE).unwrap();
            if round >= rounds / 10 {
                times.push(taken);
            }
        }
    }
    for ((name, _), times) in kinds.iter().zip(&mut times) {
        println!("{name:<16} {}", percentiles(times));
    }
}

/// Where the time of one run goes, as the client sees it.
fn stages(sandbox: &Sandbox, rounds: usize) {
    let (mut first, mut verdict, mut clock, mut recycled) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (seen, sees) = mpsc::channel();
        let before = Instant::now();
        let mut request = Request::new("python", "print('hi', flush=True)");
        request.sink = Some(Box::new(move |_, _| seen.send(Instant::now()).unwrap()));
        let run = sandbox.run(request).unwrap();
        verdict.push(before.elapsed());
        let handed_out = before.elapsed().saturating_sub(run.usage.wall);
        sandbox.quiesce(PATIENCE).unwrap();
        recycled.push(before.elapsed());
        clock.push(handed_out);
        first.push(sees.recv().unwrap() - before);
    }
    for (name, times) in [
        ("asked to started", &mut clock),
        ("asked to output", &mut first),
        ("asked to verdict", &mut verdict),
        ("asked to empty", &mut recycled),
    ] {
        println!("{name:<16} {}", percentiles(times));
    }
}

fn at_once(sandbox: &Sandbox, rounds: usize) {
    for lanes in [1, 2, 4, 8] {
        let before = Instant::now();
        thread::scope(|scope| {
            for _ in 0..lanes {
                scope.spawn(|| (0..rounds / lanes).for_each(|_| jailed(sandbox, "python", "print('hi')")));
            }
        });
        let done = f64::from(u32::try_from(rounds / lanes * lanes).unwrap());
        println!("{lanes} at once        {:.0} python runs a second", done / before.elapsed().as_secs_f64());
    }
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |per_cent: usize| times[(times.len() - 1) * per_cent / 100].as_secs_f64() * 1e3;
    format!("p50 {:7.2} ms   p99 {:7.2} ms", at(50), at(99))
}
