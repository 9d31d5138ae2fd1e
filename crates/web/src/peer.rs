//! Who stands at the other end of a connection, as the kernel tells it.

use std::net::IpAddr;

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Anybody who reaches the listener.
    Network {
        /// From where.
        address: IpAddr,
    },
    /// A process of this machine: its user, at the time when it connected (`SO_PEERCRED`, unix(7)).
    User {
        /// The user id.
        uid: u32,
    },
}

impl Peer {
    /// From where it comes, over a network.
    pub(crate) const fn address(self) -> Option<IpAddr> {
        match self {
            Self::Network { address } => Some(address),
            Self::User { .. } => None,
        }
    }
}
