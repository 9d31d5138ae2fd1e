//! One network namespace a slot: empty, its loopback down. Kept between runs, because making one costs more than
//! all else of a jail; never shared by two runs at a time, because the names of abstract sockets are per namespace
//! and can be listed in it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use crate::sys::{self, clone_flags};

/// The namespaces that slots have had so far.
#[derive(Debug, Default)]
pub(super) struct Networks(BTreeMap<u32, OwnedFd>);

impl Networks {
    /// The slot's namespace, made when the slot is first used.
    pub(super) fn of_slot(&mut self, slot: u32) -> io::Result<&OwnedFd> {
        match self.0.entry(slot) {
            Entry::Occupied(namespace) => Ok(namespace.into_mut()),
            Entry::Vacant(place) => {
                // The stem itself needs none, and moves from one to the next.
                sys::unshare(clone_flags::NEWNET)?;
                let namespace = File::open("/proc/self/ns/net")?;
                Ok(place.insert(namespace.into()))
            }
        }
    }
}
