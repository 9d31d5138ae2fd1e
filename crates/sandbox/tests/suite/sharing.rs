//! What runs at the same time has no open file in common: no place in it, no flag and no lock that one could see of another.

use std::fs;
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;

use execgate_sandbox::{Request, Sandbox, Stdin, Verdict};

use super::world::{descendants, sandbox, told};

/// Each tells that it is there, and waits until its input ends.
const CODES: [(&str, &str); 4] = [
    ("python", "import sys; print(1, flush=True); sys.stdin.read()"),
    ("javascript", "console.log(1); await new Promise((done) => process.stdin.on('end', done).resume());"),
    ("bash", "echo 1; read -r nothing || true"),
    ("r", "cat('1\\n'); invisible(readLines(file('stdin')))"),
];

/// How many of each language run at once.
const EACH: usize = 2;

/// Ids of a process from the outermost namespace inwards.
fn ids(pid: i32) -> Vec<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    line.split_whitespace().map(str::to_owned).collect()
}

/// The interpreters of the jails, that run code or wait for it: the second process of a namespace two below ours. And all
/// else: inits, stems.
fn interpreters(sandbox: &Sandbox) -> (Vec<i32>, Vec<i32>) {
    let all = descendants(sandbox.helper_pid());
    let is_guest = |pid: &i32| matches!(ids(*pid).as_slice(), [.., _, _, last] if last == "2");
    all.into_iter().partition(is_guest)
}

fn runs(pid: i32) -> bool {
    // What waits has null for its output.
    fs::read_link(format!("/proc/{pid}/fd/1")).is_ok_and(|link| link.to_string_lossy().starts_with("pipe:"))
}

#[test]
fn runs_at_the_same_time_have_no_open_file_in_common_with_anybody() {
    let sandbox = sandbox();
    let (seen, sees) = channel();
    thread::scope(|scope| {
        let all = CODES.into_iter().flat_map(|code| [code; EACH]);
        let running: Vec<_> = all
            .map(|(language, code)| {
                let (input, held) = rustix::pipe::pipe().unwrap();
                let mut request = Request::new(language, code);
                request.stdin = Stdin::Inherit(input);
                let seen = seen.clone();
                request.sink = Some(Box::new(move |_, _| seen.send(()).unwrap_or_default()));
                let sandbox = &sandbox;
                (scope.spawn(move || sandbox.run(request).unwrap()), held)
            })
            .collect();
        (0..CODES.len() * EACH).for_each(|_| sees.recv().unwrap());
        let (guests, others) = interpreters(&sandbox);
        let (guests, waiting): (Vec<i32>, Vec<i32>) = guests.into_iter().partition(|pid| runs(*pid));
        assert_eq!(guests.len(), CODES.len() * EACH, "{guests:?} beside {waiting:?} and {others:?}");
        let beside = waiting.into_iter().chain(others).chain([sandbox.helper_pid()]);
        let pids: Vec<String> = guests.iter().copied().chain(beside).map(|pid| pid.to_string()).collect();
        #[expect(clippy::disallowed_methods, reason = "the kernel is asked from outside of every jail")]
        let looked = Command::new("/usr/bin/python3")
            .args(["-I", "-c", include_str!("sharing.py"), &guests.len().to_string()])
            .args(pids)
            .output()
            .unwrap();
        let (told_of, why) =
            (String::from_utf8_lossy(&looked.stdout), String::from_utf8_lossy(&looked.stderr));
        assert_eq!(told_of, "looked True\n", "{why}");
        for (run, held) in running {
            drop(held);
            let run = run.join().unwrap();
            assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
        }
    });
}
