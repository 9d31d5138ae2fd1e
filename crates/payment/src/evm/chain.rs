//! Which chain: CAIP-2 of the namespace `eip155`, and the short names that x402 had before.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A chain of the Ethereum kind, by its number. Written `eip155:8453`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainId(u64);

/// Why a text names no such chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainIdError {
    /// It is not `eip155:` and a number.
    #[error("a network is written as eip155 and the number of the chain, such as eip155:8453 (CAIP-2)")]
    Form,
}

/// The names of version 1 of x402, by the number of the chain. What has none here has none there.
const SHORT_NAMES: [(u64, &str); 8] = [
    (8453, "base"),
    (84532, "base-sepolia"),
    (43114, "avalanche"),
    (43113, "avalanche-fuji"),
    (137, "polygon"),
    (80002, "polygon-amoy"),
    (1329, "sei"),
    (1328, "sei-testnet"),
];

/// What a chain is called by people, and whether its money is worth something.
const DISPLAY_NAMES: [(u64, &str, Worth); 11] = [
    (1, "Ethereum", Worth::Mainnet),
    (10, "OP Mainnet", Worth::Mainnet),
    (137, "Polygon", Worth::Mainnet),
    (1329, "Sei", Worth::Mainnet),
    (8453, "Base", Worth::Mainnet),
    (42161, "Arbitrum One", Worth::Mainnet),
    (43114, "Avalanche", Worth::Mainnet),
    (43113, "Avalanche Fuji", Worth::Testnet),
    (80002, "Polygon Amoy", Worth::Testnet),
    (84532, "Base Sepolia", Worth::Testnet),
    (11_155_111, "Sepolia", Worth::Testnet),
];

/// Whether the money of a chain is worth something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worth {
    Mainnet,
    Testnet,
}

impl ChainId {
    /// Base.
    pub const BASE: Self = Self(8453);
    /// Base Sepolia, where money is worth nothing.
    pub const BASE_SEPOLIA: Self = Self(84532);

    /// The chain of that number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Its name in version 1 of x402, where it has one.
    #[must_use]
    pub fn short_name(self) -> Option<&'static str> {
        SHORT_NAMES.iter().find(|(number, _)| *number == self.0).map(|(_, name)| *name)
    }

    /// The chain of a name of version 1 of x402.
    #[must_use]
    pub fn by_short_name(name: &str) -> Option<Self> {
        SHORT_NAMES.iter().find(|(_, short)| *short == name).map(|(number, _)| Self(*number))
    }

    /// What people call it, where that is known.
    #[must_use]
    pub fn display_name(self) -> Option<&'static str> {
        DISPLAY_NAMES.iter().find(|(number, _, _)| *number == self.0).map(|(_, name, _)| *name)
    }

    /// Whether its money is known to be worth nothing. A chain that nobody knows here counts as worth something.
    #[must_use]
    pub fn is_testnet(self) -> bool {
        DISPLAY_NAMES.iter().any(|(number, _, worth)| *number == self.0 && *worth == Worth::Testnet)
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "eip155:{}", self.0)
    }
}

impl fmt::Debug for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ChainId {
    type Err = ChainIdError;

    fn from_str(text: &str) -> Result<Self, ChainIdError> {
        let number: u64 =
            text.strip_prefix("eip155:").and_then(|number| number.parse().ok()).ok_or(ChainIdError::Form)?;
        let chain = Self(number);
        // No sign, no zero before the digits, no chain 0.
        if number == 0 || chain.to_string() != text {
            return Err(ChainIdError::Form);
        }
        Ok(chain)
    }
}

impl Serialize for ChainId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ChainId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{ChainId, ChainIdError};

    #[test]
    fn a_chain_has_one_way_to_be_written() {
        assert_eq!("eip155:8453".parse(), Ok(ChainId::BASE));
        assert_eq!(ChainId::BASE_SEPOLIA.to_string(), "eip155:84532");
        for text in
            ["", "8453", "base", "eip155:", "eip155:0", "eip155:08453", "eip155:+1", "EIP155:1", "solana:1"]
        {
            assert_eq!(text.parse::<ChainId>(), Err(ChainIdError::Form), "{text}");
        }
    }

    #[test]
    fn short_names_go_both_ways() {
        assert_eq!(ChainId::by_short_name("base-sepolia"), Some(ChainId::BASE_SEPOLIA));
        assert_eq!(ChainId::BASE.short_name(), Some("base"));
        assert_eq!((ChainId::by_short_name("eip155:8453"), ChainId::new(5).short_name()), (None, None));
        assert!(
            ChainId::BASE_SEPOLIA.is_testnet()
                && !ChainId::BASE.is_testnet()
                && !ChainId::new(5).is_testnet()
        );
    }
}
