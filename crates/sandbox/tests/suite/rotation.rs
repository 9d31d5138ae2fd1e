//! An interpreter that forks makes room for another, by number and by age: runs go on meanwhile, and nobody waits for it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use execgate_sandbox::{ImageChecks, InterpreterStart, Rotation, Sandbox, Stdin, Verdict};

use super::image_checks::image_of;
use super::residents::interpreters;
use super::world::{PATIENCE, all_end, comes_true, python, start_as, told, watch};

/// Longer than any test takes.
const NEVER: Duration = Duration::from_secs(86_400);

/// What an interpreter shares with its forks, and with no other interpreter.
const SECRET: &str = "hash('which interpreter this came from')";

/// Pythons that are replaced. The image is small, and read once, at the start: what is replaced later needs no other look.
fn rotating(rotation: Rotation) -> Sandbox {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("small-images");
    let image = image_of(&cache, &["base-files", "bash", "coreutils", "libc-bin", "python3"]);
    let sandbox = start_as(|config| {
        config.languages.retain(|language| language.name == "python");
        config.image = image;
        config.image_checks = ImageChecks { first: Duration::ZERO, every: NEVER };
        config.rotation = rotation;
    });
    // It is read from the first run on: nothing runs beside that.
    assert_eq!(sandbox.run(python("1")).unwrap().verdict, Verdict::Value);
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
    sandbox
}

/// Runs code until it was run by forks of so many interpreters. Each run is a fork: nobody falls into a gap.
fn run_until(sandbox: &Sandbox, interpreters: usize) {
    let mut secrets = BTreeSet::new();
    assert!(comes_true(|| {
        let run = sandbox.run(python(SECRET)).unwrap();
        assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
        assert_eq!(run.enforced.interpreter, InterpreterStart::Forked);
        secrets.insert(run.value);
        secrets.len() >= interpreters
    }));
}

#[test]
fn after_so_many_forks_another_takes_its_place_and_the_old_one_ends_with_its_last_run() {
    let sandbox = rotating(Rotation { forks: 8, age: NEVER });
    let first = interpreters(&sandbox);
    let gone = watch(first.clone());
    let (input, held) = rustix::pipe::pipe().unwrap();
    let mut request = python("import sys; print(1, flush=True); sys.stdin.read(); 'whole'");
    request.stdin = Stdin::Inherit(input);
    let (seen, sees) = channel();
    request.sink = Some(Box::new(move |_, _| seen.send(()).unwrap_or_default()));
    thread::scope(|scope| {
        let running = scope.spawn(|| sandbox.run(request).unwrap());
        sees.recv().unwrap();
        run_until(&sandbox, 3);
        assert!(interpreters(&sandbox).is_superset(&first), "a run of it is under way");
        drop(held);
        let run = running.join().unwrap();
        assert_eq!(run.value.as_deref(), Some("'whole'"), "{}", told(&run));
    });
    assert!(all_end(&gone));
    sandbox.warm_up(PATIENCE).unwrap();
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
    // Those that make room have nobody left, and end.
    assert!(comes_true(|| interpreters(&sandbox).len() == 1));
}

#[test]
fn after_so_long_another_takes_its_place() {
    let sandbox = rotating(Rotation { forks: u32::MAX, age: Duration::from_millis(300) });
    run_until(&sandbox, 3);
    assert_eq!(sandbox.quiesce(PATIENCE).unwrap(), 0);
}
