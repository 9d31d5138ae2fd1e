//! The Landlock layer: read and execute everywhere, write in the scratch folders and on the device nodes, no TCP
//! without a network profile, no abstract socket or signal that leaves the jail. A right that the kernel knows is never left unhandled.

use std::io;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};

/// From this version on, TCP can be restricted.
pub const TCP_SINCE: u32 = 4;

/// From this version on, abstract sockets and signals can be kept inside.
const SCOPES_SINCE: u32 = 6;

/// Where a guest may write.
const SCRATCH: [&str; 3] = ["/tmp", "/home/user", "/dev/shm"];

/// Whether TCP is restricted too, where the kernel can do that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tcp {
    /// No port can be bound or connected to.
    Forbidden,
    /// The run's own network namespace is what holds it.
    InNamespace,
}

/// Restricts the calling process and its descendants, for good.
pub(super) fn restrict(abi: u32, tcp: Tcp) -> io::Result<()> {
    let known = ABI::from(i32::try_from(abi).unwrap_or(i32::MAX));
    let write = AccessFs::from_all(known) & !(AccessFs::MakeChar | AccessFs::MakeBlock);
    let mut devices = AccessFs::ReadFile | AccessFs::WriteFile;
    devices |= AccessFs::from_all(known) & AccessFs::IoctlDev;
    let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    ruleset = ruleset.handle_access(AccessFs::from_all(known)).map_err(io::Error::other)?;
    if abi >= TCP_SINCE && tcp == Tcp::Forbidden {
        ruleset = ruleset.handle_access(AccessNet::from_all(known)).map_err(io::Error::other)?;
    }
    if abi >= SCOPES_SINCE {
        ruleset = ruleset.scope(Scope::from_all(known)).map_err(io::Error::other)?;
    }
    let mut created = ruleset.create().map_err(io::Error::other)?;
    let beneath = |path: &str, access| -> io::Result<_> {
        Ok(PathBeneath::new(PathFd::new(path).map_err(io::Error::other)?, access))
    };
    created = created.add_rule(beneath("/", AccessFs::from_read(known))?).map_err(io::Error::other)?;
    created = created.add_rule(beneath("/dev", devices)?).map_err(io::Error::other)?;
    for folder in SCRATCH {
        created = created.add_rule(beneath(folder, write)?).map_err(io::Error::other)?;
    }
    let status = created.restrict_self().map_err(io::Error::other)?;
    if status.ruleset == RulesetStatus::FullyEnforced {
        Ok(())
    } else {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}
