//! The lists of attacks: read, run one after the other, and the host looked at after each.

use std::env::consts::ARCH;
use std::process;
use std::time::Duration;

use execgate_sandbox::{Enforced, Request, Run, Sandbox, Verdict};
use serde::Deserialize;
use toml::Table;

use super::super::world::{python, told};
use super::host::Host;

/// What every program begins with.
const PRELUDE: &str = include_str!("../../../attacks/prelude.py");

pub(crate) const LIFETIME: &str = include_str!("../../../attacks/lifetime.toml");
pub(crate) const PROTOCOL: &str = include_str!("../../../attacks/protocol.toml");
pub(crate) const REACH: &str = include_str!("../../../attacks/reach.toml");
pub(crate) const RESOURCES: &str = include_str!("../../../attacks/resources.toml");
pub(crate) const SURFACE: &str = include_str!("../../../attacks/surface.toml");

/// Every list.
pub(crate) const ALL: [&str; 5] = [LIFETIME, PROTOCOL, REACH, RESOURCES, SURFACE];

/// One attack: what it is called, the program, what it may use, and how it must end.
#[derive(Debug, Deserialize)]
pub(crate) struct Attack {
    name: String,
    code: String,
    answer: String,
    /// The answer where no cgroup counts.
    without_cgroup: Option<String>,
    arch: Option<String>,
    memory_mib: Option<u64>,
    processes: Option<u32>,
    disk_mib: Option<u64>,
    inodes: Option<u32>,
    seconds: Option<u64>,
}

/// A class of attacks, as its file has it.
#[derive(Deserialize)]
struct Class {
    attack: Vec<Attack>,
}

impl Attack {
    /// What processes that it leaves behind are called: a name that no other test looks for.
    fn left() -> String {
        format!("execgate-left-{}", process::id())
    }

    fn request(&self) -> Request {
        let mut request = python(&format!("LEFT = '{}'\n{PRELUDE}\n{}", Self::left(), self.code));
        let limits = &mut request.limits;
        limits.memory_bytes = self.memory_mib.map_or(limits.memory_bytes, |mib| mib << 20);
        limits.disk_bytes = self.disk_mib.map_or(limits.disk_bytes, |mib| mib << 20);
        limits.processes = self.processes.unwrap_or(limits.processes);
        limits.inodes = self.inodes.unwrap_or(limits.inodes);
        limits.wall = self.seconds.map_or(limits.wall, Duration::from_secs);
        request
    }

    /// The answers that are right: without cgroups whoever looks may be sooner than the limit of a process.
    fn expected(&self, enforced: &Enforced) -> Vec<&str> {
        let without = self.without_cgroup.as_deref().filter(|_| enforced.cgroup == "none");
        without.into_iter().chain([self.answer.as_str()]).collect()
    }
}

/// The attacks of a list that concern this machine.
pub(crate) fn read(list: &str) -> Vec<Attack> {
    let Class { attack } = toml::from_str(list).unwrap();
    attack.into_iter().filter(|attack| attack.arch.as_deref().is_none_or(|arch| arch == ARCH)).collect()
}

/// Runs every attack of a list; each must be answered as it says, and leave the host as it was.
pub(crate) fn is_held(list: &str, sandbox: &Sandbox) {
    let host = Host::look(sandbox, Attack::left());
    let mut wrong = Vec::new();
    for attack in read(list) {
        let run = sandbox.run(attack.request()).unwrap();
        let (got, expected) = (answer(&run), attack.expected(&sandbox.enforced()));
        if !expected.contains(&got.as_str()) {
            wrong.push(format!("{}: {expected:?} was expected and {got} came\n{}", attack.name, told(&run)));
        }
        if let Err(harm) = host.is_unharmed(sandbox) {
            wrong.push(format!("{}: the host is not as it was: {harm}", attack.name));
            // Nor will it be after the next one.
            break;
        }
    }
    assert!(wrong.is_empty(), "{} attacks\n{}", wrong.len(), wrong.join("\n\n"));
}

/// The line that an attack told, or what ended it. Whoever told that it got through did, whatever came then.
fn answer(run: &Run) -> String {
    let text = String::from_utf8_lossy(&run.stdout);
    if let Some(line) = text.lines().find(|line| line.starts_with("through ")) {
        return line.to_owned();
    }
    match run.verdict {
        Verdict::Value => text.lines().last().unwrap_or_default().to_owned(),
        Verdict::Exception => "an exception".to_owned(),
        Verdict::Limit(kind) => format!("ended {kind:?}"),
        Verdict::Exit(_) | Verdict::Timeout | Verdict::Cancelled => format!("ended {:?}", run.verdict),
    }
}

#[test]
fn every_list_says_only_what_is_read() {
    let known = [
        "name",
        "code",
        "answer",
        "without_cgroup",
        "arch",
        "memory_mib",
        "processes",
        "disk_mib",
        "inodes",
        "seconds",
        // What the comparison with other tools reads.
        "leaves",
        "ours_only",
    ];
    for list in ALL {
        let table: Table = list.parse().unwrap();
        let mut names = Vec::new();
        for attack in table["attack"].as_array().unwrap() {
            let attack = attack.as_table().unwrap();
            assert!(attack.keys().all(|key| known.contains(&key.as_str())), "{attack:?}");
            names.push(attack["name"].as_str().unwrap());
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a name is there twice");
    }
}
