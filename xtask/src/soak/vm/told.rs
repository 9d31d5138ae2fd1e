//! What a machine says on its console: lines behind `vm:`, among whatever else is printed there.

use std::time::Duration;

/// What is behind the mark.
const MARK: &str = "vm: ";

/// What was found out about one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// The program of a test, or `check`.
    pub(super) program: String,
    pub(super) name: String,
    pub(super) passed: bool,
    pub(super) took: Duration,
    /// What explains a failure.
    pub(super) why: Vec<String>,
}

/// What was told so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The kernel's version, and the security modules that it has.
    pub(super) up: Option<String>,
    pub(super) findings: Vec<Finding>,
    /// Tests that the filter has left out.
    pub(super) left_out: u32,
    /// Everything was done.
    pub(super) is_done: bool,
    /// Whether the machine has named what it will do: without it, a count of what passed means nothing.
    pub(super) planned: Option<usize>,
}

impl Told {
    /// Takes one line; gives the finding that it tells.
    pub(super) fn line(&mut self, line: &str) -> Option<&Finding> {
        // The firmware leaves codes for a terminal before the first line.
        let (_, said) = line.trim_end().split_once(MARK)?;
        if let Some(why) = said.strip_prefix("| ") {
            self.findings.last_mut()?.why.push(why.to_owned());
            return None;
        }
        let (verb, rest) = said.split_once(' ').unwrap_or((said, ""));
        match verb {
            "up" => self.up = Some(rest.to_owned()),
            "planned" => self.planned = rest.parse().ok(),
            "left-out" => self.left_out = rest.parse().unwrap_or_default(),
            "done" => self.is_done = true,
            "ok" | "failed" => {
                self.findings.push(finding(verb == "ok", rest)?);
                return self.findings.last();
            }
            _ => {}
        }
        None
    }

    /// Whether everything was done, and nothing has failed.
    pub(super) fn passed(&self) -> bool {
        let tests = self.findings.iter().filter(|finding| finding.program != "check").count();
        let all_ran = self.planned.is_none_or(|planned| planned == tests);
        self.is_done && all_ran && !self.findings.is_empty() && self.failed().next().is_none()
    }

    pub(super) fn failed(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| !finding.passed)
    }
}

fn finding(passed: bool, rest: &str) -> Option<Finding> {
    let mut words = rest.split(' ');
    let (program, name, seconds) = (words.next()?, words.next()?, words.next()?.parse().ok()?);
    let (program, name) = (program.to_owned(), name.to_owned());
    Some(Finding { program, name, passed, took: Duration::from_secs(seconds), why: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str]) -> Told {
        let mut told = Told::default();
        for line in lines {
            told.line(line);
        }
        told
    }

    #[test]
    fn a_machine_that_did_everything_has_passed() {
        let lines = [
            "\u{1b}[2Jc[?7lvm: up 6.1.0-56-cloud-amd64 lockdown,landlock\r",
            "vm: ok check doctor 2",
            "    kernel ok",
            "vm: left-out 70",
            "vm: planned 1",
            "vm: ok all suite::limits::descriptors_are_limited 1",
            "vm: done 40",
        ];
        let told = told(&lines);
        assert_eq!(told.up.as_deref(), Some("6.1.0-56-cloud-amd64 lockdown,landlock"));
        assert_eq!((told.findings.len(), told.left_out, told.passed()), (2, 70, true));
    }

    #[test]
    fn a_machine_that_stopped_half_way_or_lost_a_test_has_not() {
        assert!(!told(&["vm: up 6.1", "vm: ok check doctor 2"]).passed());
        assert!(!told(&["vm: up 6.1", "vm: done 3"]).passed());
        assert!(!told(&["vm: ok check doctor 2", "vm: planned 1", "vm: done 3"]).passed());
    }

    #[test]
    fn a_failure_is_told_with_what_explains_it() {
        let told =
            told(&["vm: failed warm suite::r::a 3", "vm: | thread panicked", "vm: | at a.rs", "vm: done 4"]);
        let failed: Vec<_> = told.failed().collect();
        assert_eq!(failed[0].why, ["thread panicked", "at a.rs"]);
        assert_eq!((failed.len(), failed[0].took, told.passed()), (1, Duration::from_secs(3), false));
    }
}
