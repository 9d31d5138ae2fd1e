//! The privileged half: owns namespaces, mounts, cgroups and slots; talks to the client in fixed messages. One
//! thread, one poll loop, no network, no keys. It never reads a guest's bytes: it passes descriptors on, and
//! what looks at a guest's files is a process of its own with the guest's rights.
//!
//! As root it stays root of the host in mount and network namespaces of its own; as an ordinary user it is root
//! of a user namespace of its own. Either way the stem and every guest live in a further user namespace.

mod begin;
mod bounds;
mod broker;
mod collecting;
mod collector;
mod ending;
mod entry;
mod house;
mod ids;
mod inspection;
mod live;
mod parent;
mod pool;
mod proxies;
mod scratch;
mod session;
mod starting;
mod stem_link;
mod stems;
mod waiting;
mod warming;
mod watchdog;

#[cfg(any(test, fuzzing))]
pub(crate) use collector::wants;
pub(crate) use entry::HELPER_LINK;
pub use entry::{HELPER_ARGUMENT, helper_main};
pub(crate) use parent::ENDED_WITHIN;
