//! What code must not contain: work left undone, tests left out, `unsafe` outside its two homes, sleeps.

use crate::tidy::file::SourceFile;
use crate::tidy::finding::Finding;
use crate::tidy::lex::{find_words, line_of, name_at};

/// The only places where `unsafe` is read with the care that it needs.
const UNSAFE_HOMES: [&str; 4] = [
    "crates/sandbox/src/sys",
    "crates/sandbox/forkpoint/",
    "crates/forkpoint/",
    "crates/powercut/src/sys.rs",
];

/// Marks of work left undone. In halves, so that this file does not hold them.
const UNDONE_MARKS: [&str; 2] = [concat!("FIX", "ME"), concat!("XX", "X")];

/// Macros of work left undone.
const UNDONE_MACROS: [&str; 2] = ["todo!", "unimplemented!"];

/// Nothing is left for later, and no test is left out.
pub(crate) fn undone(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut tell = |text: &str, word: &str, message: &str| {
        for at in find_words(text, word) {
            let message = format!("`{word}`: {message}");
            findings.push(Finding::error(&file.path, line_of(text, at), "undone", message));
        }
    };
    for word in UNDONE_MARKS {
        tell(&file.text, word, "do it now, or write down outside the code that it is not done");
    }
    for word in UNDONE_MACROS {
        tell(&file.code, word, "do it now, or leave the thing out");
    }
    tell(&file.code, "#[ignore", "a test that does not run proves nothing; mend it or delete it");
    findings
}

/// `unsafe` stands only in the sandbox's system call wrappers and in the fork-point library.
pub(crate) fn unsafe_code(file: &SourceFile) -> Vec<Finding> {
    if UNSAFE_HOMES.iter().any(|home| file.path.starts_with(home)) {
        return Vec::new();
    }
    let message = "only the sandbox's `sys` and the fork-point library may; write a safe wrapper there";
    find_words(&file.code, "unsafe")
        .map(|at| Finding::error(&file.path, line_of(&file.code, at), "unsafe", message))
        .collect()
}

/// Tests of several crates do not sleep: they advance the clock, or wait for what they wait for.
pub(crate) fn sleeps(file: &SourceFile) -> Vec<Finding> {
    if !is_journey(&file.path) {
        return Vec::new();
    }
    find_words(&file.code, "sleep")
        .filter(|at| is_call(&file.code, *at))
        .map(|at| {
            let message = "advance the simulated clock, or wait for the event itself";
            Finding::error(&file.path, line_of(&file.code, at), "sleep", message)
        })
        .collect()
}

fn is_journey(path: &str) -> bool {
    let inside = path.strip_prefix("crates/").and_then(|rest| rest.split_once('/'));
    inside.is_some_and(|(package, rest)| package == "testkit" || rest.starts_with("tests/"))
}

/// Whether `sleep` is called here as a function: a method of a simulated clock, or its definition, is not.
fn is_call(code: &str, at: usize) -> bool {
    let before = code[..at].trim_end();
    let is_method = before.ends_with('.');
    let is_definition = before.ends_with("fn") && name_at(code, at) == "sleep";
    code[at..].starts_with("sleep(") && !is_method && !is_definition
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile::new(path, text)
    }

    #[test]
    fn work_left_undone_is_caught_in_code_and_comments() {
        for word in UNDONE_MARKS {
            assert_eq!(undone(&file("a.md", &format!("a\n{word}: later\n"))).len(), 1, "{word}");
        }
        for code in
            ["fn a() { todo!() }", "fn a() { unimplemented!(\"b\") }", "#[ignore = \"slow\"]\nfn a() {}"]
        {
            assert_eq!(undone(&file("a.rs", code)).len(), 1, "{code}");
        }
    }

    #[test]
    fn words_that_only_look_undone_pass() {
        assert!(
            undone(&file("a.rs", "//! no todo!() here\nlet a = \"#[ignore]\"; let toXXXb = 1;")).is_empty()
        );
    }

    #[test]
    fn unsafe_is_caught_outside_its_homes() {
        let code = "fn a() { unsafe { b() } }";
        assert_eq!(unsafe_code(&file("crates/flow/src/a.rs", code)).len(), 1);
        assert_eq!(unsafe_code(&file("crates/sandbox/src/mounts.rs", code)).len(), 1);
        assert!(unsafe_code(&file("crates/sandbox/src/sys/mount.rs", code)).is_empty());
        assert!(unsafe_code(&file("crates/forkpoint/src/lib.rs", code)).is_empty());
        assert!(unsafe_code(&file("crates/flow/src/a.rs", "#![deny(unsafe_code)] // unsafe")).is_empty());
    }

    #[test]
    fn a_sleeping_journey_is_caught() {
        for path in ["crates/testkit/src/world.rs", "crates/web/tests/all.rs"] {
            assert_eq!(sleeps(&file(path, "thread::sleep(A); sleep(B); time::sleep(C)")).len(), 3, "{path}");
        }
    }

    #[test]
    fn a_simulated_clock_and_guest_code_may_sleep() {
        let code = "clock.sleep(A); fn sleep(a: u8) {} let code = \"time.sleep(5)\"; sleep_until(b);";
        assert!(sleeps(&file("crates/testkit/src/clock.rs", code)).is_empty());
        assert!(sleeps(&file("crates/web/src/a.rs", "thread::sleep(A)")).is_empty());
    }
}
