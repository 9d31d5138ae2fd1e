//! What this host can enforce, found out by doing: each tier is really built, in a helper of its own.

use std::fs;
use std::path::{Path, PathBuf};

use execgate_forkpoint::sys;
use serde::Serialize;

use crate::client::{Sandbox, spawn_helper};
use crate::config::{Config, EgressMeans, ImageChecks, ImageRoot, Rotation, Tier, TierChoice};
use crate::enforced::Enforced;
use crate::error::SandboxError;

/// One thing that a tier rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is.
    pub name: &'static str,
    /// Whether it is there.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// The command that mends it, where there is one.
    pub mend: Option<String>,
}

/// Whether this host gives a tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TierReport {
    /// The tier.
    pub tier: Tier,
    /// What was enforced, where it was built.
    pub enforced: Option<Enforced>,
    /// Why it could not be built.
    pub refusal: Option<String>,
}

/// What this host can enforce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What the tiers rest on.
    pub checks: Vec<Check>,
    /// The tiers, the strongest first.
    pub tiers: Vec<TierReport>,
}

impl Report {
    /// Whether the default tier can be had.
    #[must_use]
    pub fn has_jail(&self) -> bool {
        self.tiers.iter().any(|report| report.tier == Tier::Jail && report.enforced.is_some())
    }
}

/// Builds every tier once over an empty root, and reports. Must be called before any thread is started.
/// `scratch` is a folder of the caller's that others may search; a skeleton is made in it and stays.
#[must_use]
pub fn probe(scratch: &Path) -> Report {
    let tiers: Vec<_> = [Tier::Jail, Tier::JailNoCgroup, Tier::JailSingleUid]
        .into_iter()
        .map(|tier| {
            match skeleton(scratch)
                .map_err(|error| error.to_string())
                .and_then(|root| build(tier, root, None))
            {
                Ok(enforced) => TierReport { tier, enforced: Some(enforced), refusal: None },
                Err(refusal) => TierReport { tier, enforced: None, refusal: Some(refusal) },
            }
        })
        .collect();
    let mut checks = checks(&tiers);
    if let Some(report) = tiers.iter().find(|report| report.enforced.is_some()) {
        checks.push(network(report.tier, scratch));
    }
    Report { checks, tiers }
}

/// The folders that a jail needs to be mounted on.
fn skeleton(scratch: &Path) -> std::io::Result<PathBuf> {
    let root = scratch.join("root");
    for folder in ["dev", "proc", "tmp", "home/user"] {
        fs::create_dir_all(root.join(folder))?;
    }
    Ok(root)
}

fn build(tier: Tier, root: PathBuf, egress: Option<EgressMeans>) -> Result<Enforced, String> {
    let image = ImageRoot { path: root, digest: String::new() };
    let tier = TierChoice::Exactly(tier);
    let config = Config {
        image,
        languages: Vec::new(),
        slots: 1,
        tier,
        residents: 0,
        id_block: 0,
        egress,
        image_checks: ImageChecks::default(),
        rotation: Rotation::default(),
    };
    let started = spawn_helper().and_then(|link| Sandbox::start(link, config));
    match started {
        Ok(sandbox) => Ok(sandbox.enforced()),
        Err(SandboxError::Refused(why)) => Err(why),
        Err(error) => {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            Err(format!("{error}{cause}"))
        }
    }
}

/// Which networks runs can have. What a loopback needs, every jail needs; egress needs a process in the host's network.
fn network(tier: Tier, scratch: &Path) -> Check {
    let root = skeleton(scratch).map_err(|error| error.to_string());
    let detail = match root.and_then(|root| build(tier, root, Some(EgressMeans::default()))) {
        Ok(_) => "none, loopback, egress".to_owned(),
        Err(why) => format!("none, loopback; not egress: {why}"),
    };
    Check { name: "network", ok: true, detail, mend: None }
}

fn checks(tiers: &[TierReport]) -> Vec<Check> {
    let built = |tier: Tier| {
        tiers.iter().find(|report| report.tier == tier).and_then(|report| report.enforced.as_ref())
    };
    let any = tiers.iter().find_map(|report| report.enforced.as_ref());
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let landlock = sys::landlock_abi();
    let own_ids = any.is_some_and(|enforced| enforced.own_uid_per_slot);
    let cgroup =
        built(Tier::Jail).or(built(Tier::JailSingleUid)).filter(|enforced| enforced.cgroup != "none");
    let refusal = tiers.iter().find_map(|report| report.refusal.clone()).unwrap_or_default();
    vec![
        Check { name: "kernel", ok: true, detail: kernel, mend: None },
        Check {
            name: "landlock",
            ok: landlock > 0,
            detail: if landlock > 0 { format!("ABI {landlock}") } else { "not enabled".to_owned() },
            mend: (landlock == 0).then(|| "boot with lsm=landlock,… (CONFIG_SECURITY_LANDLOCK=y)".to_owned()),
        },
        Check {
            name: "namespaces",
            ok: any.is_some(),
            detail: any.map_or(refusal, |enforced| format!("user, {}", enforced.namespaces.join(", "))),
            mend: any.is_none().then(|| {
                "sysctl -w user.max_user_namespaces=10000 kernel.apparmor_restrict_unprivileged_userns=0".to_owned()
            }),
        },
        Check {
            name: "own uids",
            ok: own_ids,
            detail: any.map_or_else(|| "unknown".to_owned(), |enforced| format!("uid map {}", enforced.uid_map)),
            mend: (!own_ids).then(|| {
                "apt-get install uidmap && usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER; or run as root"
                    .to_owned()
            }),
        },
        Check {
            name: "cgroups",
            ok: cgroup.is_some(),
            detail: cgroup.map_or_else(
                || "none that this user may use".to_owned(),
                |enforced| format!("{}: {}", enforced.cgroup, enforced.controllers.join(", ")),
            ),
            mend: cgroup.is_none().then(|| "run as root, or: systemd-run --user --scope -p Delegate=yes execgate …".to_owned()),
        },
        Check {
            name: "seccomp",
            ok: any.is_some(),
            detail: any.map_or_else(
                || "unknown".to_owned(),
                |enforced| format!("{} system calls allowed, filter {:.12}", enforced.seccomp_rules, enforced.seccomp_sha256),
            ),
            mend: None,
        },
    ]
}
