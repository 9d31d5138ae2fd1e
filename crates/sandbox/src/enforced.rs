//! What held a run, for its receipt. Filled by the helper from what it did; of its two ways to hold a run, without a
//! network and with one, the client names that which the run was asked for with.

use serde::{Deserialize, Serialize};

use crate::config::Tier;
use crate::network::Network;

/// What held a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enforced {
    /// Version of this structure.
    pub v: u32,
    /// The tier.
    pub tier: Tier,
    /// How user ids inside map to the helper's: `inside outside count`.
    pub uid_map: String,
    /// Whether each slot has a user id of its own.
    pub own_uid_per_slot: bool,
    /// `v1`, `v2` or `none`.
    pub cgroup: String,
    /// The controllers in force.
    pub controllers: Vec<String>,
    /// SHA-256 of the system-call filter.
    pub seccomp_sha256: String,
    /// How many system calls it lets through, some of them by argument.
    pub seccomp_rules: u32,
    /// The Landlock version in force.
    pub landlock_abi: u32,
    /// Whether Landlock denies TCP: from version 4 on, and to runs without a network.
    #[serde(default)]
    pub landlock_tcp: bool,
    /// The namespaces that no two runs share at a time; all are new for each run,
    /// but for the network's of one without a network.
    pub namespaces: Vec<String>,
    /// The network profile: `none`, `loopback` or `egress`.
    pub network: String,
    /// The digest of the image.
    pub image: String,
    /// How the interpreter came to its run. Of a sandbox: what every run can have.
    pub interpreter: InterpreterStart,
}

/// How an interpreter comes to its run; the layers are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InterpreterStart {
    /// It was executed for it.
    Executed,
    /// It was executed ahead of it, in its jail, and has waited there.
    Waited,
    /// It is a fork, made in its jail, of one that has seen no run: what forks share, it shares.
    Forked,
}

/// What a receipt says of a system-call filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Calls {
    pub(crate) sha256: String,
    pub(crate) rules: u32,
}

/// What holds the runs of a sandbox, whichever network they have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Guarded {
    /// A run without a network.
    pub(crate) enforced: Enforced,
    /// The filter of one that has one.
    pub(crate) networked: Calls,
}

impl Guarded {
    /// What holds a run with this network.
    pub(crate) fn of(&self, network: &Network) -> Enforced {
        let enforced = Enforced { network: network.name().to_owned(), ..self.enforced.clone() };
        match network {
            Network::None => enforced,
            Network::Loopback | Network::Egress(_) => Enforced {
                seccomp_sha256: self.networked.sha256.clone(),
                seccomp_rules: self.networked.rules,
                landlock_tcp: false,
                ..enforced
            },
        }
    }
}
