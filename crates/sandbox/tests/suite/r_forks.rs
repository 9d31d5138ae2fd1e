//! Forks of one R: each is for one run, shows nothing of what it was forked from, and shares nothing random with another.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use execgate_sandbox::{Request, Run, Sandbox, Verdict};

use super::residents::{held, jailed, parent};
use super::sessions::run as run_cell;
use super::tongues::open_in_language;
use super::world::{PATIENCE, SLOWNESS, cold, comes_true, descendants, python, sandbox, start_as, told};

/// Longer than a start of R takes on a loaded machine.
const WALL: Duration = Duration::from_secs(30 * SLOWNESS as u64);

fn run_in(sandbox: &Sandbox, code: &str) -> Run {
    let mut request = Request::new("r", code);
    request.limits.wall = WALL;
    sandbox.run(request).unwrap()
}

/// One in which nothing waits but forks of one R.
fn only_r() -> Sandbox {
    start_as(|config| config.languages.retain(|language| language.name == "r"))
}

/// The stems that are interpreters of a program.
fn stems(sandbox: &Sandbox, program: &str) -> Vec<i32> {
    let is_one = |pid: &i32| {
        parent(*pid) == sandbox.helper_pid()
            && fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(program.as_bytes()))
    };
    descendants(sandbox.helper_pid()).into_iter().filter(is_one).collect()
}

/// What code can see of its process. Of what is open, the one thing that is left out is the file that an R which is
/// executed reads `-e` from: a fork has read it.
const VISIBLE: &str = r#"
told <- function(...) cat(..., "\n")
told(search())
told(sort(loadedNamespaces()))
told(names(getLoadedDLLs()))
told(ls(all.names = TRUE), length(sys.calls()), exists(".Random.seed"), RNGkind())
kept <- options()
for (name in sort(names(kept))) told(name, gsub("<[^>]*>", "", deparse(kept[[name]])))
Sys.unsetenv("R_SESSION_TMPDIR")
told(sort(paste(names(Sys.getenv()), Sys.getenv())), sep = "\n")
told(getwd(), format(Sys.umask()), commandArgs(), interactive(), Sys.getpid(), nchar(tempdir()), dir.exists(tempdir()))
told(geterrmessage(), nrow(showConnections()), length(warnings()), sink.number(), .libPaths(), Sys.getlocale())
for (fd in 0:4) told(sub(":.*", "", Sys.readlink(file.path("/proc/self/fd", fd))))
mounts <- strsplit(readLines("/proc/self/mountinfo"), " ")
told(sapply(mounts, function(line) paste(line[5:6], collapse = " ")), sep = "\n")
told(grep("Seccomp:|NoNewPrivs|Cap|Sig(Blk|Ign|Cgt)|Umask|Threads|NSpid", readLines("/proc/self/status"), value = TRUE))
told(list.files(c("/tmp", ".", "/dev/shm", tempdir()), all.files = TRUE, no.. = TRUE) |> sub(pattern = "^Rtmp.*", replacement = "Rtmp"))
told(sort(ls(baseenv(), all.names = TRUE)))
for (name in c("quit", "q", "file", "scan", "stdin", "readline")) told(deparse(get(name)))
told(compiler::enableJIT(-1L), getOption("keep.source"), Cstack_info()[["size"]])
"#;

#[test]
fn code_sees_the_same_r_whether_it_was_forked_or_not() {
    let [executed, forked] = [cold(), sandbox()].map(|sandbox| {
        let run = run_in(&sandbox, VISIBLE);
        assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
        assert!(run.stderr.is_empty(), "{}", told(&run));
        String::from_utf8(run.stdout).unwrap()
    });
    assert!(executed.contains("/dev/shm"), "{executed}");
    for (one, other) in executed.lines().zip(forked.lines()) {
        assert_eq!(one, other);
    }
    assert_eq!(executed, forked);
}

#[test]
fn a_fork_ends_as_one_that_was_executed_does() {
    let codes = [
        "quit(status = 3)",
        ".Last <- function() quit(status = 7)\n1",
        ".Last <- function() quit(status = 7)\nstop('first')",
        "stop('x')",
        "tools::pskill(Sys.getpid(), 11)",
        "reg.finalizer(globalenv(), function(e) cat('finalized'), onexit = TRUE)\ninvisible(pdf('own.pdf'))",
        "suppressWarnings(library(data.table))\nd <- data.table(a = 1:4, b = c('x', 'y'))\nd[, sum(a), by = b]$V1",
        "cat('no newline')\nmessage('said')\nwrite('last', stderr())",
    ];
    let sandboxes = [cold(), sandbox()];
    for code in codes {
        let [executed, forked] = sandboxes.each_ref().map(|sandbox| {
            let run = run_in(sandbox, code);
            let traceback = run.exception.map(|exception| (exception.name, exception.traceback));
            // R takes what a signal says of its sender for an address.
            let said = String::from_utf8(run.stderr).unwrap();
            let said: Vec<_> =
                said.lines().filter(|line| !line.starts_with("address ")).map(str::to_owned).collect();
            (run.verdict, run.value, traceback, run.stdout, said)
        });
        assert_eq!(executed, forked, "{code}");
    }
}

#[test]
fn what_is_random_differs_between_two_forks_of_one_r() {
    let sandbox = only_r();
    let code = "cat(tempdir(), tempfile(), basename(tempfile('a')), runif(1), sample(1e9, 1), rnorm(1), sep = '\\n')";
    let seen: Vec<String> = (0..8)
        .flat_map(|_| {
            let run = run_in(&sandbox, code);
            assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
            String::from_utf8(run.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(seen.len(), 8 * 6, "{seen:?}");
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len(), "{seen:?}");
}

/// R makes each word of the first state of the one before it, beginning with 32 bits of clock and process id. Code that draws
/// nothing leaves that state as it is; and so it is each time that it was taken away, and in what R forks by itself.
#[test]
fn what_r_draws_in_a_fork_or_a_session_is_not_seeded_by_the_clock() {
    let code = "begun <- function() { sample(3, 0); .Random.seed }\n\
                made <- function(seed) { words <- seed[-(1:2)] %% 2^32; sum((words[-624] * 69069 + 1) %% 2^32 == words[-1], na.rm = TRUE) }\n\
                kind <- RNGkind(); was <- exists('.Random.seed'); first <- begun(); rm(.Random.seed); second <- begun(); rm(.Random.seed)\n\
                forked <- parallel::mccollect(parallel::mcparallel(begun(), mc.set.seed = FALSE))[[1]]; set.seed(7)\n\
                cat(was, length(first), first[1:2], made(first), made(second), made(forked), made(.Random.seed), \
                    identical(first, second), identical(first, forked), runif(1) == {set.seed(7); runif(1)})";
    let expected = "FALSE 626 10403 624 0 0 0 623 FALSE FALSE TRUE";
    let sandbox = only_r();
    let run = run_in(&sandbox, code);
    assert_eq!(String::from_utf8(run.stdout.clone()).unwrap(), expected, "{}", told(&run));
    // As R does it by itself.
    let plain = run_in(&cold(), code);
    let expected_of_plain = "FALSE 626 10403 624 623 623 623 623 FALSE FALSE TRUE";
    assert_eq!(String::from_utf8(plain.stdout.clone()).unwrap(), expected_of_plain, "{}", told(&plain));
    // A session of a fork, and of one that was started for it.
    for sandbox in [sandbox, cold()] {
        let mut session = open_in_language(&sandbox, "r", |_| ());
        assert_eq!(String::from_utf8(run_cell(&mut session, code).stdout).unwrap(), expected);
    }
}

#[test]
fn what_the_code_starts_has_no_word_in_what_its_run_tells() {
    let sandbox = only_r();
    let run = run_in(&sandbox, "system(\"bash -c 'printf \\\"\\\\002\\\" >&4'\", ignore.stderr = TRUE) == 0");
    assert_eq!(run.value.as_deref(), Some("[1] FALSE"), "{}", told(&run));
}

#[test]
fn a_stem_has_nothing_left_of_what_its_start_wrote() {
    let sandbox = sandbox();
    let all = [stems(&sandbox, "/usr/lib/R/"), stems(&sandbox, "/usr/bin/python3")];
    assert!(all.iter().all(|stems| !stems.is_empty()), "{all:?}");
    for stem in all.concat() {
        let mounts = fs::read_to_string(format!("/proc/{stem}/mountinfo")).unwrap();
        assert!(mounts.contains(" /proc ") && !mounts.contains(" /tmp "), "{mounts}");
    }
    let code = "[line.split()[4] for line in open('/proc/self/mountinfo')].count('/tmp')";
    assert_eq!(sandbox.run(python(code)).unwrap().value.as_deref(), Some("1"));
}

#[test]
fn hundreds_of_forks_leave_an_r_as_it_was() {
    let sandbox = only_r();
    let stem = || {
        let [stem] = stems(&sandbox, "/usr/lib/R/")[..] else { panic!("one R") };
        stem
    };
    let before = stem();
    let some = |count: usize| {
        for round in 0..count {
            let run = run_in(&sandbox, &format!("writeLines('{round}', '/tmp/x')\n{round}"));
            assert_eq!(run.value, Some(format!("[1] {round}")), "{}", told(&run));
        }
    };
    some(20);
    let held_before = held(before);
    some(300);
    let held_after = held(before);
    assert_eq!(stem(), before, "none has died");
    assert!(held_after <= held_before + 64, "{held_before} KiB, {held_after} KiB after 300 forks");
    assert!(comes_true(|| {
        sandbox.warm_up(PATIENCE).unwrap();
        // Those that wait, each with its init.
        sandbox.quiesce(PATIENCE).unwrap() == 0 && jailed(&sandbox).len() == 4
    }));
}
