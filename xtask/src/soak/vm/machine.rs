//! What is booted: a kernel, a userland, and what is expected of execgate there. From cheap to dear.

use anyhow::{Result, ensure};

/// A virtual machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) name: &'static str,
    /// Where the kernel comes from.
    pub(super) kernel: Release,
    /// Where everything else comes from.
    pub(super) userland: Release,
    /// What is done there.
    pub(super) work: Work,
    /// What it shows that the others do not.
    pub(super) why: &'static str,
    /// Tests that cannot pass there, as an extended regular expression.
    pub(super) left_out: &'static str,
}

/// No test has such a name.
const NOTHING: &str = "^$";

/// A release of Debian, by its name in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Release {
    pub(super) suite: &'static str,
    /// Whether its Node is one that execgate runs code with: 20 or later.
    pub(super) has_node: bool,
    /// Sources of APT beside the release itself.
    pub(super) also: &'static [&'static str],
}

/// What is done in a machine. A function of `guest/suite.sh` has the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Everything must be refused, clearly.
    Refuses,
    /// The tiers must be had, and the tests must pass.
    Serves,
}

impl Work {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Refuses => "refuses",
            Self::Serves => "serves",
        }
    }
}

const BULLSEYE: Release = Release { suite: "bullseye", has_node: false, also: &[] };
const BOOKWORM: Release = Release { suite: "bookworm", has_node: false, also: &["bookworm-security"] };
const TRIXIE: Release = Release { suite: "trixie", has_node: true, also: &["trixie-security"] };
const TRIXIE_BACKPORTS: Release = Release { suite: "trixie-backports", has_node: true, also: &[] };
const SID: Release = Release { suite: "sid", has_node: true, also: &[] };

/// All of them.
const MACHINES: [Machine; 4] = [
    Machine {
        name: "5.10",
        kernel: BULLSEYE,
        userland: BOOKWORM,
        work: Work::Refuses,
        why: "no Landlock: nothing may run",
        left_out: NOTHING,
    },
    Machine {
        name: "6.1",
        kernel: BOOKWORM,
        userland: BOOKWORM,
        work: Work::Serves,
        why: "Landlock of ABI 2, no peak of memory that can be reset; Python 3.11, R 4.2, no Node",
        left_out: "suite::(javascript|node_fork|node_checkpoints|sharing|tongues)::",
    },
    Machine {
        name: "7.3",
        kernel: TRIXIE_BACKPORTS,
        userland: TRIXIE,
        work: Work::Serves,
        why: "the newest kernel; Python 3.13, Node 20, R 4.5",
        left_out: NOTHING,
    },
    Machine {
        name: "6.12",
        kernel: TRIXIE,
        userland: SID,
        work: Work::Serves,
        why: "Landlock of ABI 6; the newest userland: Python 3.14, Node 24, R 4.6",
        left_out: NOTHING,
    },
];

/// Those that are asked for.
pub(super) fn chosen(only: &[String]) -> Result<Vec<&'static Machine>> {
    let names = MACHINES.each_ref().map(|machine| machine.name);
    let unknown = only.iter().find(|name| !names.contains(&name.as_str()));
    ensure!(
        unknown.is_none(),
        "there is no machine `{}`; there are {}",
        unknown.map_or("", |name| name),
        names.join(", ")
    );
    let is_chosen = |machine: &&Machine| only.is_empty() || only.iter().any(|name| name == machine.name);
    Ok(MACHINES.iter().filter(is_chosen).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_chosen_by_its_name_and_one_that_is_not_there_is_told() {
        let names = |only: &[&str]| {
            let only: Vec<String> = only.iter().map(ToString::to_string).collect();
            chosen(&only).map(|machines| machines.iter().map(|machine| machine.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).unwrap(), ["5.10", "6.1", "7.3", "6.12"]);
        assert_eq!(names(&["6.12", "6.1"]).unwrap(), ["6.1", "6.12"]);
        let told = names(&["2.4"]).unwrap_err().to_string();
        assert_eq!(told, "there is no machine `2.4`; there are 5.10, 6.1, 7.3, 6.12");
    }
}
