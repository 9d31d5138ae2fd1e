//! The machine and the state of the project that numbers belong to.

use std::{fmt, fs, thread};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::shell;

/// Where and of what something was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cores: usize,
    cpu: String,
    kernel: String,
    /// Processes that wanted a core over the last minute, before anything was measured.
    load: String,
    /// The commit; `+changes` where the work tree differs from it.
    commit: String,
}

impl Machine {
    /// Reads this machine.
    pub(crate) fn read() -> Result<Self> {
        let cores = thread::available_parallelism().context("failed to count the cores")?.get();
        let info = fs::read_to_string("/proc/cpuinfo").context("failed to read the processor's name")?;
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let loads = fs::read_to_string("/proc/loadavg").context("failed to read the load")?;
        let load = loads.split_whitespace().next().unwrap_or_default().to_owned();
        Ok(Self { cores, cpu: model(&info), kernel, load, commit: commit() })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, cpu, kernel, load, commit } = self;
        write!(f, "machine: {cores} cores, {cpu}, Linux {kernel}, load {load}; commit {commit}")
    }
}

fn model(info: &str) -> String {
    let line = info.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim());
    name.unwrap_or("unknown processor").to_owned()
}

fn commit() -> String {
    let git = |args: &[&str]| shell::captures(&mut shell::command("git", args));
    let Ok(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "none".to_owned() };
    let is_clean = git(&["status", "--porcelain"]).is_ok_and(|changes| changes.trim().is_empty());
    commit.trim().to_owned() + if is_clean { "" } else { "+changes" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_has_a_name() {
        assert_eq!(model("processor\t: 0\nmodel name\t: Fast: 3 GHz\n"), "Fast: 3 GHz");
        assert_eq!(model("Hardware: x"), "unknown processor");
        assert!(Machine::read().unwrap().to_string().starts_with("machine: "));
    }
}
