//! What the kernel says of itself while a soak runs: faults of its own, not those of programs.

use anyhow::Result;

use crate::shell;

/// How a line begins or what it holds that tells of a fault of the kernel's own.
const FAULTS: [&str; 11] = [
    "BUG:",
    "Oops",
    "WARNING:",
    "general protection fault:",
    "kernel panic",
    "soft lockup",
    "hard LOCKUP",
    "hung_task",
    "rcu_sched detected",
    "unable to handle",
    "refcount_t:",
];

/// How much of the log is there already.
pub(crate) struct KernelLog {
    lines: Vec<String>,
}

impl KernelLog {
    /// Takes note of what is there.
    ///
    /// # Errors
    /// If the log cannot be read: without it nobody can say that the kernel is well.
    pub(crate) fn note() -> Result<Self> {
        Ok(Self { lines: read()? })
    }

    /// Faults that were told since.
    pub(crate) fn faults(&self) -> Result<Vec<String>> {
        let now = read()?;
        let last = self.lines.last();
        let new = now.iter().rposition(|line| Some(line) == last).map_or(0, |at| at + 1);
        Ok(now[new..].iter().filter(|line| is_fault(line)).cloned().collect())
    }
}

fn read() -> Result<Vec<String>> {
    Ok(shell::captures(&mut shell::command("dmesg", &[]))?.lines().map(str::to_owned).collect())
}

/// A fault of a program, which the kernel tells too, names the program first and is none of its own.
fn is_fault(line: &str) -> bool {
    FAULTS.iter().any(|fault| line.contains(fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_the_kernel_is_told_from_one_of_a_program() {
        assert!(is_fault("[1.0] BUG: kernel NULL pointer dereference, address: 0"));
        assert!(is_fault("[1.0] WARNING: CPU: 1 PID: 7 at mm/slub.c:1"));
        assert!(!is_fault("[1.0] python3[3764]: segfault at 0 ip 00 sp 00 error 4 in libc.so.6"));
        assert!(!is_fault("[1.0] Memory cgroup out of memory: Killed process 28220 (python3)"));
        assert!(!is_fault("[1.0] traps: trinity-c1[9] general protection ip:1 sp:2 error:0 in trinity"));
    }
}
