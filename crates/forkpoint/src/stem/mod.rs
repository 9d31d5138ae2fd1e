//! The stem's life once it is in its own jail: it clones an init for each message, until the helper closes the socket.
//!
//! It never sees a byte of a request: descriptors it passes on to the init and closes its copies, or the helper hands
//! them to the interpreter itself. It holds no secret, because everything in its memory is shared with every guest that
//! is cloned from it.

mod networks;
mod seed;
mod serve;

use rustix::thread::CapabilitySet;

pub use seed::{Networked, Seed, SlotIds};
pub(crate) use serve::refuse_to_serve;
pub use serve::{Hooks, Resident, await_message, serve, warm_seed};

/// What a stem needs to build jails, and nothing more: mounts and namespaces, identities, the bounding set,
/// the death signal of its children.
const JAILS: CapabilitySet = CapabilitySet::SYS_ADMIN
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::KILL);

/// What the native stem has: the loopback of a run's own network namespace, too.
pub const STEM_CAPABILITIES: CapabilitySet = JAILS.union(CapabilitySet::NET_ADMIN);

/// What an interpreter has that is a stem: its forks are for runs without a network.
pub const INTERPRETER_CAPABILITIES: CapabilitySet = JAILS;

/// Where things are in a stem once its descriptors are arranged.
pub mod place {
    use std::os::fd::RawFd;

    /// The socket to the helper.
    pub const CONTROL: RawFd = 3;
    /// This library, for an interpreter to load.
    pub const LIBRARY: RawFd = 4;
    /// The seed of an interpreter.
    pub const SEED: RawFd = 5;
    /// What the inits become that an interpreter makes.
    pub const REAPER: RawFd = 6;
}
