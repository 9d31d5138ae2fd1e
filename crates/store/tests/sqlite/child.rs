//! This test binary again as a process of its own, to be killed and starved.

use std::env;
use std::io::{BufRead, BufReader, Lines, Write, stdin, stdout};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::folder::{instance, open};
use crate::contract::{block_on, claim};

const TASK: &str = "EXECGATE_STORE_CHILD_TASK";
const FOLDER: &str = "EXECGATE_STORE_CHILD_FOLDER";
const SAYS: &str = "child: ";

/// A process that does its task, and then waits to be let go or killed.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    input: ChildStdin,
    /// Kept open: a child that cannot write its last lines fails.
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    #[expect(clippy::disallowed_methods, reason = "a second process is what is tested")]
    pub(super) fn start(task: &str, folder: &Path) -> Self {
        // A file limit that is hit must be an error and not a signal; an ignored signal stays ignored over exec.
        let mut child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(env::current_exe().unwrap())
            .args(["--exact", "sqlite::child::a_child_does_what_it_is_told", "--nocapture"])
            .env(TASK, task)
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, input, output }
    }

    /// The next thing that it says.
    pub(super) fn word(&mut self) -> String {
        let mut words =
            self.output.by_ref().filter_map(|line| Some(line.unwrap().split_once(SAYS)?.1.to_owned()));
        words.next().unwrap()
    }

    /// Kills it with a signal that it cannot catch.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets it come to its end.
    pub(super) fn end(mut self) {
        drop(self.input);
        assert_eq!(self.output.by_ref().filter(Result::is_err).count(), 0);
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the task comes through the environment")]
fn a_child_does_what_it_is_told() {
    let (Ok(task), Ok(folder)) = (env::var(TASK), env::var(FOLDER)) else { return };
    let folder = Path::new(&folder);
    let word = match task.as_str() {
        "claim" => block_on(claim_and_stay(folder)),
        "stream" => block_on(claim_on_and_on(folder)),
        "starve" => block_on(super::disk::starve(folder)),
        other => panic!("nobody knows the task {other}"),
    };
    say(&word);
    // Until the parent lets go, or kills.
    stdin().lines().next();
}

fn say(word: &str) {
    println!("{SAYS}{word}");
    stdout().flush().unwrap();
}

async fn claim_and_stay(folder: &Path) -> String {
    let store = open(folder, instance(500)).unwrap();
    store.claim(claim(store.instance(), 500)).await.unwrap();
    // Never closed: the process is to die, or to end, with its run open.
    std::mem::forget(store);
    "claimed".to_owned()
}

async fn claim_on_and_on(folder: &Path) -> String {
    let store = open(folder, instance(500)).unwrap();
    for number in 0.. {
        store.claim(claim(store.instance(), number)).await.unwrap();
        say(&number.to_string());
    }
    "done with all numbers".to_owned()
}
