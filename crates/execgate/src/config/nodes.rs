//! Nodes of the operator's own, that show what a remote facilitator does: `[payment] rpc`.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use execgate_payment::evm::ChainId;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// As the file has it: one address, or one for each network. Addresses may hold keys: they are not shown.
#[derive(Clone)]
pub(crate) enum RpcSection {
    /// Of the one network that there is.
    One(String),
    /// By network.
    Each(BTreeMap<ChainId, String>),
}

impl fmt::Debug for RpcSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcSection").finish_non_exhaustive()
    }
}

impl<'de> Deserialize<'de> for RpcSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = RpcSection;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the address of a node, or a table of one for each network")
            }

            fn visit_str<E>(self, text: &str) -> Result<RpcSection, E> {
                Ok(RpcSection::One(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RpcSection, A::Error> {
                BTreeMap::deserialize(MapAccessDeserializer::new(map)).map(RpcSection::Each)
            }
        }

        deserializer.deserialize_any(Read)
    }
}

/// The nodes, by network.
#[derive(Clone, Default)]
pub(crate) struct Nodes(BTreeMap<ChainId, String>);

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Nodes {
    pub(super) fn resolve(
        section: Option<&RpcSection>,
        networks: &BTreeSet<ChainId>,
    ) -> anyhow::Result<Self> {
        match section {
            None => Ok(Self::default()),
            Some(RpcSection::One(address)) => {
                let mut networks = networks.iter();
                let (Some(network), None) = (networks.next(), networks.next()) else {
                    bail!(
                        "`payment.rpc` names one node, and there are several networks: [payment.rpc] names one for each"
                    );
                };
                Ok(Self(BTreeMap::from([(*network, address.clone())])))
            }
            Some(RpcSection::Each(nodes)) => {
                if let Some(network) = nodes.keys().find(|network| !networks.contains(network)) {
                    bail!("[payment.rpc] names a node of {network}, where nothing is paid");
                }
                Ok(Self(nodes.clone()))
            }
        }
    }

    /// Each network, and the address of its node.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ChainId, &str)> {
        self.0.iter().map(|(network, address)| (*network, address.as_str()))
    }

    /// Whether there is one of a network.
    pub(crate) fn has(&self, network: ChainId) -> bool {
        self.0.contains_key(&network)
    }
}
