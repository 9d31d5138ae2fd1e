//! What the operator decides once: image, languages, slots, tier. Never read from the environment here.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The guest's root, as the helper needs it: a folder and its name by content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageRoot {
    /// The folder that becomes `/`. Must hold `dev`, `proc`, `tmp` and `home/user`.
    pub path: PathBuf,
    /// The digest of its manifest; goes into every receipt.
    pub digest: String,
}

/// Everything that a [`crate::Sandbox`] is started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The guest's root.
    pub image: ImageRoot,
    /// The languages that may be run.
    pub languages: Vec<Language>,
    /// How many runs may be under way at once; at most [`Config::SLOTS_MAX`].
    pub slots: usize,
    /// Which tier to serve.
    pub tier: TierChoice,
    /// How many interpreters of a language may wait for runs in finished jails; 0 for none. Those languages have that
    /// have a [`Language::warm`].
    #[serde(default)]
    pub residents: usize,
    /// Whether runs may have [`crate::Network::Egress`]; without it, nothing of a sandbox has the host's network.
    #[serde(default)]
    pub egress: Option<EgressMeans>,
    /// Which block of user ids the guests have; two sandboxes that live at the same time need two.
    #[serde(default)]
    pub id_block: u8,
    /// When the image is read anew.
    #[serde(default)]
    pub image_checks: ImageChecks,
    /// When an interpreter that forks makes room for another.
    #[serde(default)]
    pub rotation: Rotation,
}

/// When an interpreter that forks makes room for a new one, whose layout, hash secret and canary nobody has seen:
/// whichever comes first. It serves until the other is warm and the image was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// After so many forks; one at the least.
    pub forks: u32,
    /// And after so long; [`Self::AGE_MIN`] at the least.
    pub age: Duration,
}

impl Rotation {
    /// The youngest that makes room by its age: some take as long to get warm, and would never serve.
    pub const AGE_MIN: Duration = Duration::from_secs(1);

    /// Whether one makes room that was forked so often, and is so old.
    pub(crate) fn is_due(self, forks: u32, age: Duration) -> bool {
        forks >= self.forks.max(1) || age >= self.age.max(Self::AGE_MIN)
    }
}

impl Default for Rotation {
    /// Ten thousand forks, ten minutes.
    fn default() -> Self {
        Self { forks: 10_000, age: Duration::from_secs(600) }
    }
}

/// When an image is read anew, all of it, while runs go on: only where something has run from it since the last time, and
/// beside that before an interpreter that forks is replaced by another. Nothing waits for it but the replacing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageChecks {
    /// How long after the start for the first time.
    pub first: Duration,
    /// How long after each time the next is.
    pub every: Duration,
}

impl Default for ImageChecks {
    /// The first after five seconds, which what starts a sandbox for one run does not come to; then every ten minutes, as
    /// often as interpreters are replaced.
    fn default() -> Self {
        Self { first: Duration::from_secs(5), every: Duration::from_secs(600) }
    }
}

/// What egress needs of the host, beside its network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressMeans {
    /// The name servers that are asked; those of the host's `/etc/resolv.conf` where none is named.
    #[serde(default)]
    pub name_servers: Vec<IpAddr>,
    /// The networks in which rules may open private addresses; where none is named,
    /// [`crate::EgressRules::allow_private`] opens none.
    #[serde(default)]
    pub private_cidrs: Vec<String>,
    /// Networks that no rule opens, whatever name leads there: those of the operator whose addresses look like anybody's.
    #[serde(default)]
    pub denied_cidrs: Vec<String>,
}

impl Config {
    /// Each slot has a user id, a cgroup and descriptors of its own, so that there is a bound.
    pub const SLOTS_MAX: usize = 1024;
}

/// How strong the isolation is. Named in every receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Every guest is the operator's own user id; for development.
    JailSingleUid,
    /// Every layer but cgroups: resource limits and a watchdog stand in; for development.
    JailNoCgroup,
    /// Every layer.
    Jail,
}

impl Tier {
    /// Every tier, from the weakest to the strongest.
    pub const ALL: [Self; 3] = [Self::JailSingleUid, Self::JailNoCgroup, Self::Jail];

    /// The tier of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.name() == name)
    }

    /// The name in configuration, answers and receipts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jail => "jail",
            Self::JailNoCgroup => "jail-no-cgroup",
            Self::JailSingleUid => "jail-single-uid",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which tier the operator wants. A tier that was asked for is never replaced by a weaker one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TierChoice {
    /// This one, or refuse to start.
    Exactly(Tier),
    /// The best that this host has, named in every receipt.
    Strongest,
}

/// One language: how its interpreter is started and how its end is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Language {
    /// The name that requests use.
    pub name: String,
    /// The interpreter and its arguments; the first is an absolute path in the image. A request's own
    /// arguments follow.
    pub argv: Vec<String>,
    /// Added to `PATH`, `HOME`, `LANG` and `TMPDIR`, which are all that a guest's environment holds.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// How the code gets there.
    pub source: Source,
    /// How the end of a run is told.
    pub verdict: VerdictBy,
    /// How an interpreter can be there before its run is; the first is for runs of which nothing else is said. Others
    /// hold more, and suit the code that needs it (see [`crate::Request::warm`]).
    #[serde(default)]
    pub warm: Vec<Warm>,
    /// Whether an interpreter that is there before its run or serves a session loads the fork-point library before its own,
    /// by `LD_PRELOAD`, so that some of its calls come to that library. Its script takes the variable away.
    #[serde(default)]
    pub preloads: bool,
    /// What its interpreter asks of the kernel to write to and leaves alone, in bytes. Where no cgroup counts what is used, each
    /// process may have so much more data.
    #[serde(default)]
    pub idle_bytes: u64,
    /// How an interpreter can be a session's; none where it cannot.
    #[serde(default)]
    pub session: Option<SessionStart>,
}

/// How an interpreter that serves a session is started where none waits that can: in the session's jail. It waits as one
/// of [`Warm::Wait`] does; what it is told then says that it is for a session, and from then on it waits anew for each
/// run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionStart {
    /// The interpreter and its arguments; the first is an absolute path in the image.
    pub argv: Vec<String>,
    /// Whether it can be copied, to be gone back to.
    #[serde(default)]
    pub checkpoints: bool,
}

/// How an interpreter can be there before its run is: started as these arguments say, the first of which is its
/// absolute path in the image. It loads the fork-point library from descriptor 4, and waits in that; when that comes back
/// the run's descriptors are in their places, and it runs the code as one does that was started for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Warm {
    /// It is started once, outside the jails, and forks into each.
    Fork(Vec<String>),
    /// It is started in the jail of its run.
    Wait(Vec<String>),
    /// As [`Warm::Fork`], unless it says that it is none that can be forked; then as [`Warm::Wait`].
    ForkOrWait {
        /// How the one that forks is started.
        fork: Vec<String>,
        /// How each of those is that are started in their jails.
        wait: Vec<String>,
    },
}

/// How code is delivered to the interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Source {
    /// As a sealed, read-only memory file on descriptor 3.
    Descriptor,
}

/// How the end of a run is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictBy {
    /// By one terminal frame (`value` or `exception`) on descriptor 4; without one, by the exit status.
    Frames,
    /// By the exit status alone; descriptor 4 is not there.
    ExitStatus,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Rotation;

    #[test]
    fn no_interpreter_makes_room_before_it_was_forked_once_or_is_a_second_old() {
        let never = Duration::from_secs(1_000_000);
        let endless = Rotation { forks: 0, age: Duration::ZERO };
        assert!(!endless.is_due(0, Rotation::AGE_MIN - Duration::from_nanos(1)));
        assert!(endless.is_due(1, Duration::ZERO) && endless.is_due(0, Rotation::AGE_MIN));
        let usual = Rotation { forks: 8, age: never };
        assert!(!usual.is_due(7, never - Duration::from_nanos(1)));
        assert!(usual.is_due(8, Duration::ZERO) && usual.is_due(0, never));
    }
}
