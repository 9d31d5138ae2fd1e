//! How a file begins and how long it may be.

use crate::tidy::file::SourceFile;
use crate::tidy::finding::Finding;

/// Lines of code that a file aims to stay below; more is told, and is no fault.
const AIM_LINES: usize = 400;

/// Lines that no file may pass: nobody reads on in one that does. Unit tests at its end count apart, with
/// the same limit.
const MAX_LINES: usize = 600;

/// Extensions of what people here write as code.
const CODE: [&str; 9] = [".rs", ".py", ".js", ".mjs", ".ts", ".R", ".sh", ".css", ".sql"];

/// Every Rust file says at its top what it is for.
pub(crate) fn purpose(file: &SourceFile) -> Vec<Finding> {
    if !file.is_rust() || file.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![Finding::error(
        &file.path,
        1,
        "purpose",
        "begin with `//!`: what this file is for, where to read on",
    )]
}

/// No file is longer than a person reads.
pub(crate) fn length(file: &SourceFile) -> Vec<Finding> {
    if !CODE.iter().any(|extension| file.path.ends_with(extension)) {
        return Vec::new();
    }
    let (code, tests) = file.text.split_at(file.tests_start());
    let (code, tests) = (code.lines().count(), tests.lines().count());
    let mut findings = Vec::new();
    if code > MAX_LINES {
        findings.push(over(file, MAX_LINES, code, "lines"));
    } else if code > AIM_LINES {
        let message = format!("{code} lines of code, {AIM_LINES} are aimed at");
        findings.push(Finding::note(&file.path, AIM_LINES, "length", message));
    }
    if tests > MAX_LINES {
        findings.push(over(file, code + MAX_LINES, tests, "lines of tests"));
    }
    findings
}

fn over(file: &SourceFile, line: usize, count: usize, what: &str) -> Finding {
    let message = format!("{count} {what}, at most {MAX_LINES}: a second file wants to be born");
    Finding::error(&file.path, line, "length", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::finding::Weight;

    fn weights(path: &str, text: &str) -> Vec<Weight> {
        length(&SourceFile::new(path, text)).into_iter().map(|finding| finding.weight).collect()
    }

    #[test]
    fn a_file_without_a_purpose_is_caught() {
        assert_eq!(purpose(&SourceFile::new("a.rs", "use std::fs;\n")).len(), 1);
        assert_eq!(purpose(&SourceFile::new("a.rs", "//!\n")).len(), 1);
        assert!(purpose(&SourceFile::new("a.rs", "//! What it is for.\n")).is_empty());
        assert!(purpose(&SourceFile::new("a.py", "import os\n")).is_empty());
    }

    #[test]
    fn lengths_are_noted_and_then_refused() {
        assert!(weights("a.rs", &"x\n".repeat(AIM_LINES)).is_empty());
        assert_eq!(weights("a.rs", &"x\n".repeat(AIM_LINES + 1)), [Weight::Note]);
        assert_eq!(weights("a.py", &"x\n".repeat(MAX_LINES + 1)), [Weight::Error]);
        assert!(weights("a.json", &"x\n".repeat(MAX_LINES + 1)).is_empty());
    }

    #[test]
    fn unit_tests_count_apart() {
        let tests = |lines: usize| format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "x\n".repeat(lines - 3));
        let code = "x\n".repeat(AIM_LINES);
        assert!(weights("a.rs", &(code.clone() + &tests(MAX_LINES))).is_empty());
        assert_eq!(weights("a.rs", &(code + &tests(MAX_LINES + 1))), [Weight::Error]);
    }
}
