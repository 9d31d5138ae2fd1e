//! A token that is taken: where it stands, and the name under which its authorizations are signed (EIP-712).

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::chain::ChainId;
use super::keccak::keccak256;
use super::number::U256;

/// The type of the domain of an authorization (EIP-712).
const DOMAIN_TYPE: &[u8] =
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";

/// A token with transfers by authorization (EIP-3009).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The chain.
    pub network: ChainId,
    /// Its contract.
    pub contract: Address,
    /// Its name in the domain of EIP-712, which is not always the one that wallets show.
    pub name: String,
    /// The version in that domain.
    pub version: String,
    /// How many decimal places its unit has.
    pub decimals: u8,
}

/// A token that needs no configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownToken {
    /// What it is called.
    pub symbol: &'static str,
    /// The chain.
    pub network: ChainId,
    /// Its contract.
    pub contract: Address,
    /// Its name in the domain of EIP-712.
    pub name: &'static str,
    /// The version in that domain.
    pub version: &'static str,
    /// How many decimal places its unit has.
    pub decimals: u8,
}

/// The tokens that need no configuration. Contracts and domains as their issuer publishes them; on Base Sepolia the name is
/// another than on Base.
pub const KNOWN_TOKENS: [KnownToken; 2] = [
    KnownToken {
        symbol: "USDC",
        network: ChainId::BASE,
        // 0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913
        contract: Address::from_bytes([
            0x83, 0x35, 0x89, 0xfc, 0xd6, 0xed, 0xb6, 0xe0, 0x8f, 0x4c, 0x7c, 0x32, 0xd4, 0xf7, 0x1b, 0x54,
            0xbd, 0xa0, 0x29, 0x13,
        ]),
        name: "USD Coin",
        version: "2",
        decimals: 6,
    },
    KnownToken {
        symbol: "USDC",
        network: ChainId::BASE_SEPOLIA,
        // 0x036CbD53842c5426634e7929541eC2318f3dCF7e
        contract: Address::from_bytes([
            0x03, 0x6c, 0xbd, 0x53, 0x84, 0x2c, 0x54, 0x26, 0x63, 0x4e, 0x79, 0x29, 0x54, 0x1e, 0xc2, 0x31,
            0x8f, 0x3d, 0xcf, 0x7e,
        ]),
        name: "USDC",
        version: "2",
        decimals: 6,
    },
];

impl KnownToken {
    /// The token of that symbol on a chain.
    #[must_use]
    pub fn find(symbol: &str, network: ChainId) -> Option<Token> {
        let known = KNOWN_TOKENS.iter().find(|known| known.symbol == symbol && known.network == network)?;
        Some(Token {
            network: known.network,
            contract: known.contract,
            name: known.name.to_owned(),
            version: known.version.to_owned(),
            decimals: known.decimals,
        })
    }
}

impl Token {
    /// The separator of its domain (EIP-712).
    #[must_use]
    pub fn domain_separator(&self) -> [u8; 32] {
        let words = [
            keccak256(DOMAIN_TYPE),
            keccak256(self.name.as_bytes()),
            keccak256(self.version.as_bytes()),
            *U256::from(self.network.number()).as_bytes(),
            self.contract.to_word(),
        ];
        keccak256(words.as_flattened())
    }
}

#[cfg(test)]
mod tests {
    use super::{ChainId, KnownToken};
    use crate::evm::to_hex;

    #[test]
    fn the_known_tokens_stand_where_their_issuer_says() {
        let base = KnownToken::find("USDC", ChainId::BASE).unwrap();
        assert_eq!(base.contract.to_string(), "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913");
        // `DOMAIN_SEPARATOR()` of the contract on Base.
        let known = "0x02fa7265e7c5d81118673727957699e4d68f74cd74b7db77da710fe8a2c7834f";
        assert_eq!(to_hex(&base.domain_separator()), known);
        let sepolia = KnownToken::find("USDC", ChainId::BASE_SEPOLIA).unwrap();
        assert_eq!(sepolia.contract.to_string(), "0x036CbD53842c5426634e7929541eC2318f3dCF7e");
        assert_eq!(KnownToken::find("USDC", ChainId::new(1)), None);
    }
}
