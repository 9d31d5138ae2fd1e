//! What libFuzzer says of a turn on its standard error.
//!
//! Format: the section "Output" of the libFuzzer documentation of LLVM. A line that is not known is passed over.

use std::collections::VecDeque;
use std::path::PathBuf;

/// Lines that are kept to explain an end: what broke and the top of the stack, or else the last words.
const KEPT_LINES: usize = 24;

/// How a fault begins: of Rust, of the sanitizer, of libFuzzer.
const FAULTS: [&str; 4] = ["panicked at ", "ERROR: AddressSanitizer", "ERROR: libFuzzer", "ALARM: "];

/// What comes before the path of the input that a target died of.
const REPRODUCER: &str = "Test unit written to ";

/// What was told so far.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// How often the target was called.
    pub(crate) executions: u64,
    /// How many edges of its code were reached.
    pub(crate) coverage: u64,
    /// How many inputs are worth keeping.
    pub(crate) corpus: u64,
    /// The input that it died of.
    pub(crate) reproducer: Option<PathBuf>,
    fault: Vec<String>,
    last: VecDeque<String>,
}

impl Told {
    /// Takes one line.
    pub(crate) fn line(&mut self, line: &str) {
        if let Some(numbers) = line.strip_prefix('#') {
            self.executions = leading(numbers).unwrap_or(self.executions);
            self.coverage = after(line, " cov: ").unwrap_or(self.coverage);
            self.corpus = after(line, " corp: ").unwrap_or(self.corpus);
        }
        if let Some(executions) = after(line, "stat::number_of_executed_units: ") {
            self.executions = executions;
        }
        if let Some((_, path)) = line.split_once(REPRODUCER) {
            self.reproducer = Some(PathBuf::from(path.trim()));
        }
        if !self.fault.is_empty() || FAULTS.iter().any(|fault| line.contains(fault)) {
            self.fault.extend((self.fault.len() < KEPT_LINES).then(|| line.to_owned()));
        }
        if self.last.len() == KEPT_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line.to_owned());
    }

    /// What broke, or the last lines where nothing says so.
    pub(crate) fn why(&self) -> String {
        let last = || self.last.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        if self.fault.is_empty() { last() } else { self.fault.join("\n") }
    }
}

fn after(line: &str, mark: &str) -> Option<u64> {
    leading(line.split_once(mark)?.1)
}

fn leading(text: &str) -> Option<u64> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str]) -> Told {
        let mut told = Told::default();
        lines.iter().for_each(|line| told.line(line));
        told
    }

    #[test]
    fn a_turn_that_ends_well_is_told_by_its_last_numbers() {
        let told = told(&[
            "INFO: Seed: 1",
            "#7\tINITED cov: 12 ft: 13 corp: 3/40b exec/s: 0 rss: 50Mb",
            "#4096\tpulse  cov: 40 ft: 80 corp: 9/120b lim: 43 exec/s: 2048 rss: 60Mb",
            "stat::number_of_executed_units: 5000",
        ]);
        assert_eq!((told.executions, told.coverage, told.corpus), (5000, 40, 9));
        assert_eq!(told.reproducer, None);
    }

    #[test]
    fn a_crash_is_told_with_its_input_and_what_broke() {
        let mut told =
            told(&["#12\tNEW    cov: 3 ft: 3 corp: 2/2b", "thread 'x' panicked at a.rs:1:2:", "why"]);
        (0..1_000).for_each(|frame| told.line(&format!("    #{frame} 0x1")));
        told.line("artifact_prefix='a/'; Test unit written to a/crash-1");
        assert_eq!((told.executions, told.reproducer.clone()), (12, Some(PathBuf::from("a/crash-1"))));
        assert!(told.why().starts_with("thread 'x' panicked at a.rs:1:2:\nwhy\n"));
        assert_eq!(told.why().lines().count(), KEPT_LINES);
    }

    #[test]
    fn an_end_without_a_fault_is_told_by_the_last_lines() {
        let mut told = Told::default();
        (0..1_000).for_each(|number| told.line(&format!("line {number}")));
        assert_eq!(told.why().lines().count(), KEPT_LINES);
        assert!(told.why().ends_with("line 999"));
    }
}
