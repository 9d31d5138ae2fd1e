//! What a run costs beside a bare interpreter, both in turn. Not a promise: numbers to look at.
//! `cargo test --release -p execgate-sandbox --test all -- --ignored --nocapture what_a_run_costs`

use std::process::Command;
use std::time::{Duration, Instant};

use execgate_sandbox::Verdict;

use super::world::{PATIENCE, bash, python, sandbox};

/// Runs of each kind; the first tenth is not counted.
const RUNS: usize = 220;

fn bare(program: &str, args: &[&str]) {
    #[expect(clippy::disallowed_methods, reason = "the bare interpreter is the yardstick")]
    let output = Command::new(program).args(args).env_clear().output().unwrap();
    assert!(output.status.success());
}

fn percentile(times: &mut [Duration], per_cent: usize) -> f64 {
    times.sort_unstable();
    times[(times.len() - 1) * per_cent / 100].as_secs_f64() * 1e3
}

#[test]
#[ignore = "a measurement; run it alone on a quiet machine, in release"]
fn what_a_run_costs() {
    let sandbox = sandbox();
    let jailed_python = || {
        let run = sandbox.run(python("print('hi')")).unwrap();
        assert_eq!((run.verdict, run.stdout), (Verdict::Value, b"hi\n".to_vec()));
    };
    let jailed_bash = || assert_eq!(sandbox.run(bash("echo hi")).unwrap().stdout, b"hi\n");
    let kinds: [(&str, &dyn Fn()); 5] = [
        ("bare python", &|| bare("/usr/bin/python3", &["-c", "print('hi')"])),
        ("bare python -I", &|| bare("/usr/bin/python3", &["-I", "-c", "print('hi')"])),
        ("jailed python", &jailed_python),
        ("bare bash", &|| bare("/usr/bin/bash", &["-c", "echo hi"])),
        ("jailed bash", &jailed_bash),
    ];
    let mut times = vec![Vec::new(); kinds.len()];
    for round in 0..RUNS {
        for ((_, run), times) in kinds.iter().zip(&mut times) {
            let before = Instant::now();
            run();
            let taken = before.elapsed();
            // What a run leaves to be torn down is not the next one's cost.
            sandbox.quiesce(PATIENCE).unwrap();
            if round >= RUNS / 10 {
                times.push(taken);
            }
        }
    }
    for ((name, _), times) in kinds.iter().zip(&mut times) {
        println!("{name:<15} p50 {:6.2} ms   p95 {:6.2} ms", percentile(times, 50), percentile(times, 95));
    }
    for lanes in [1, 2, 4, 8] {
        let before = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..lanes {
                scope.spawn(|| (0..RUNS / lanes).for_each(|_| jailed_python()));
            }
        });
        let done = RUNS / lanes * lanes;
        println!(
            "{lanes} at once: {:.0} python runs a second",
            f64::from(u32::try_from(done).unwrap()) / before.elapsed().as_secs_f64()
        );
    }
}
