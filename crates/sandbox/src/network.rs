//! Which network a run has. Never a route of its own: at most a loopback, and a proxy that dials for it.

use execgate_forkpoint::wire::NetworkProfile;

use crate::egress::Egress;

/// Which network a run has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Network {
    /// Nothing: no INET socket can be made.
    #[default]
    None,
    /// A loopback of its own, which nobody else is on.
    Loopback,
    /// The same, and a proxy on it that dials what these rules name, and nothing else.
    Egress(Egress),
}

impl Network {
    /// The name in configuration, answers and receipts.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Loopback => "loopback",
            Self::Egress(_) => "egress",
        }
    }

    pub(crate) fn profile(&self) -> NetworkProfile {
        match self {
            Self::None => NetworkProfile::None,
            Self::Loopback => NetworkProfile::Loopback,
            Self::Egress(_) => NetworkProfile::Egress,
        }
    }
}
