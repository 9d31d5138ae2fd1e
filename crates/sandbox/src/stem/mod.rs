//! The native zygote: a process in its own namespaces, pivoted into the image, from which every init is cloned.
//! Later an interpreter's own zygote takes its place behind the same messages.
//!
//! It never sees a byte of a request: it passes descriptors on to the init and closes its copies. It holds no
//! secret, because everything in its memory is shared with every guest that is cloned from it.

mod enter;
mod networks;
mod serve;

use rustix::thread::CapabilitySet;

use crate::jail::Program;
use crate::sys::SockFilter;

pub(crate) use serve::become_stem;

/// What the stem needs to build jails, and nothing more: mounts and namespaces, identities, the bounding set,
/// the death signal of its children.
pub(crate) const STEM_CAPABILITIES: CapabilitySet = CapabilitySet::SYS_ADMIN
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::KILL);

/// What a stem is made with; copied from the helper by the clone.
#[derive(Debug)]
pub(crate) struct Seed {
    pub(crate) programs: Vec<Program>,
    pub(crate) filter: Vec<SockFilter>,
    pub(crate) landlock_abi: u32,
    /// The stem's own id inside its user namespace.
    pub(crate) stem_id: u32,
    pub(crate) ids: SlotIds,
}

/// Whether slots have ids of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotIds {
    /// Each slot its own.
    Own,
    /// All the same, because only one id is mapped.
    Shared,
}
