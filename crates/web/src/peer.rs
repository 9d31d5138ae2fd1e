//! Who stands at the other end of a connection, as the kernel tells it.

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Anybody who reaches the listener.
    Network,
    /// A process of this machine: its user, at the time when it connected (`SO_PEERCRED`, unix(7)).
    User {
        /// The user id.
        uid: u32,
    },
}
