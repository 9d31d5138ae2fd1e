//! Transfers by Permit2: a contract, at one address on every chain, that moves any token whose holder has let it, by what the
//! holder signs (`SignatureTransfer` of Uniswap's permit2).
//!
//! x402 puts a proxy before it, which is named as the one that may ask, and a witness that says who is paid (x402, scheme
//! `exact` on EVM, `assetTransferMethod` `permit2`; scheme `upto`). Every change here needs a second reader.

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::authorization::Authorization;
use super::keccak::keccak256;
use super::number::U256;

/// Permit2: 0x000000000022D473030F116dDEE9F6B43aC78BA3.
pub const PERMIT2: Address = Address::from_bytes([
    0x00, 0x00, 0x00, 0x00, 0x00, 0x22, 0xd4, 0x73, 0x03, 0x0f, 0x11, 0x6d, 0xde, 0xe9, 0xf6, 0xb4, 0x3a,
    0xc7, 0x8b, 0xa3,
]);

/// The proxy of `exact`, `x402ExactPermit2Proxy`: 0x402085c248EeA27D92E8b30b2C58ed07f9E20001.
pub const EXACT_PROXY: Address = Address::from_bytes([
    0x40, 0x20, 0x85, 0xc2, 0x48, 0xee, 0xa2, 0x7d, 0x92, 0xe8, 0xb3, 0x0b, 0x2c, 0x58, 0xed, 0x07, 0xf9,
    0xe2, 0x00, 0x01,
]);

/// The proxy of `upto`, `x402UptoPermit2Proxy`: 0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002.
pub const UPTO_PROXY: Address = Address::from_bytes([
    0x40, 0x20, 0xa4, 0xf3, 0xb7, 0xb9, 0x0c, 0xca, 0x42, 0x3b, 0x9f, 0xab, 0xcc, 0x0c, 0xe5, 0x7c, 0x6c,
    0x24, 0x00, 0x02,
]);

/// The domain of Permit2 (EIP-712). It has no version.
const DOMAIN_TYPE: &[u8] = b"EIP712Domain(string name,uint256 chainId,address verifyingContract)";

/// What is permitted.
const PERMITTED_TYPE: &[u8] = b"TokenPermissions(address token,uint256 amount)";

/// What is signed, but for the types that it is made of.
const TRANSFER_TYPE: &str = "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Witness witness)TokenPermissions(address token,uint256 amount)";

/// The witness of `exact`.
const EXACT_WITNESS: &str = "Witness(address to,uint256 validAfter)";

/// The witness of `upto`.
const UPTO_WITNESS: &str = "Witness(address to,address facilitator,uint256 validAfter)";

/// By what an authorization moves its token. It says what is signed, and whom it is shown to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Means {
    /// The token itself (EIP-3009).
    #[default]
    Token,
    /// Permit2, by the proxy of `exact`: all that is permitted, whoever asks.
    Permit2,
    /// Permit2, by the proxy of `upto`: at most what is permitted, and only if this one asks.
    UpTo {
        /// Who alone can have it moved.
        facilitator: Address,
        /// How much is moved; all of it, where nobody has said yet.
        taken: Option<U256>,
    },
}

impl Means {
    /// The proxy that is asked; none where it is the token.
    #[must_use]
    pub const fn proxy(self) -> Option<Address> {
        match self {
            Self::Token => None,
            Self::Permit2 => Some(EXACT_PROXY),
            Self::UpTo { .. } => Some(UPTO_PROXY),
        }
    }

    /// Whether it is the token itself.
    #[must_use]
    pub const fn is_token(&self) -> bool {
        matches!(self, Self::Token)
    }
}

/// The separator of the domain of Permit2 on a chain (EIP-712).
fn domain_separator(chain: u64) -> [u8; 32] {
    let words =
        [keccak256(DOMAIN_TYPE), keccak256(b"Permit2"), *U256::from(chain).as_bytes(), PERMIT2.to_word()];
    keccak256(words.as_flattened())
}

/// What the payer signs where a proxy is asked (EIP-712).
pub(super) fn digest(signed: &Authorization, proxy: Address) -> [u8; 32] {
    let Authorization { token, to, value, valid_after, valid_before, nonce, by, .. } = signed;
    let permitted =
        keccak256([keccak256(PERMITTED_TYPE), token.contract.to_word(), *value.as_bytes()].as_flattened());
    let (witness_type, named) = match by {
        Means::UpTo { facilitator, .. } => (UPTO_WITNESS, Some(facilitator.to_word())),
        Means::Token | Means::Permit2 => (EXACT_WITNESS, None),
    };
    let mut witness = vec![keccak256(witness_type.as_bytes()), to.to_word()];
    witness.extend(named);
    witness.push(*valid_after.as_bytes());
    let words = [
        keccak256(format!("{TRANSFER_TYPE}{witness_type}").as_bytes()),
        permitted,
        proxy.to_word(),
        *nonce,
        *valid_before.as_bytes(),
        keccak256(witness.as_flattened()),
    ];
    let mut text = [0; 66];
    text[..2].copy_from_slice(&[0x19, 0x01]);
    text[2..34].copy_from_slice(&domain_separator(token.network.number()));
    text[34..].copy_from_slice(&keccak256(words.as_flattened()));
    keccak256(&text)
}

#[cfg(test)]
mod tests {
    use super::{EXACT_PROXY, Means, PERMIT2, UPTO_PROXY};
    use crate::evm::{Address, Authorization, U256, sample};

    fn by(means: Means) -> Authorization {
        Authorization { by: means, ..sample() }
    }

    const UP_TO: Means = Means::UpTo { facilitator: Address::ZERO, taken: None };

    #[test]
    fn the_contracts_are_where_their_makers_say() {
        let said = [PERMIT2, EXACT_PROXY, UPTO_PROXY].map(|address| address.to_string());
        assert_eq!(
            said,
            [
                "0x000000000022D473030F116dDEE9F6B43aC78BA3",
                "0x402085c248EeA27D92E8b30b2C58ed07f9E20001",
                "0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002",
            ]
        );
    }

    #[test]
    fn what_is_signed_for_one_means_is_nobodys_by_another() {
        let mut digests = [Means::Token, Means::Permit2, UP_TO].map(|means| by(means).digest());
        digests.sort_unstable();
        assert!(digests.windows(2).all(|pair| pair[0] != pair[1]));
        let other = Means::UpTo { facilitator: PERMIT2, taken: None };
        assert_ne!(by(UP_TO).digest(), by(other).digest(), "the facilitator is signed");
        let some = Means::UpTo { facilitator: Address::ZERO, taken: Some(U256::from(7)) };
        assert_eq!(by(UP_TO).digest(), by(some).digest(), "how much is taken is not");
        assert_eq!((by(UP_TO).moved(), by(some).moved()), (sample().value, U256::from(7)));
    }

    #[test]
    fn everything_that_is_permitted_is_signed() {
        let signed = by(Means::Permit2);
        let other = Authorization { to: PERMIT2, ..signed.clone() };
        let mut token = signed.token.clone();
        token.contract = PERMIT2;
        for changed in [
            other,
            Authorization { token, ..signed.clone() },
            Authorization { value: U256::from(1), ..signed.clone() },
            Authorization { valid_after: U256::from(1), ..signed.clone() },
            Authorization { valid_before: U256::from(1), ..signed.clone() },
            Authorization { nonce: [1; 32], ..signed.clone() },
        ] {
            assert_ne!(changed.digest(), signed.digest(), "{changed:?}");
        }
    }

    #[test]
    fn nonces_of_permit2_are_the_payers_whatever_token_they_are_for_and_no_tokens_nonces() {
        let one = by(Means::Permit2);
        let mut token = one.token.clone();
        token.contract = UPTO_PROXY;
        let of_another_token = Authorization { token, ..one.clone() };
        assert_eq!((one.claim_key(), one.claim_key()), (of_another_token.claim_key(), by(UP_TO).claim_key()));
        assert_ne!(one.claim_key(), sample().claim_key());
        // Nor those of a token that stood where Permit2 stands.
        let mut token = sample().token;
        token.contract = PERMIT2;
        assert_ne!(one.claim_key(), Authorization { token, ..sample() }.claim_key());
    }

    #[test]
    fn what_is_kept_says_by_what_it_moves_and_what_was_kept_before_still_reads() {
        for means in [
            Means::Token,
            Means::Permit2,
            UP_TO,
            Means::UpTo { facilitator: PERMIT2, taken: Some(U256::ZERO) },
        ] {
            let kept = by(means).to_bytes().unwrap();
            assert_eq!(Authorization::from_bytes(&kept).unwrap(), by(means));
            let text = String::from_utf8(kept).unwrap();
            assert_eq!(text.contains(r#""by":"#), !means.is_token(), "{text}");
        }
    }
}
