//! The authorization of a transfer, by its token (EIP-3009) or by Permit2: one signed text that moves money, once, to whoever it
//! names.
//!
//! Sole place where a payer's signature is judged. Every change here needs a second reader.

use core::fmt;

use execgate_model::{Digest, UnixMs};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::address::Address;
use super::hex::{HexError, array_from_hex, to_hex};
use super::keccak::keccak256;
use super::number::U256;
use super::permit2::{self, Means, PERMIT2};
use super::signature::{Signature, SignatureError};
use super::token::Token;

/// Milliseconds in a second.
const SECOND_MS: u64 = 1000;

/// The type of what is signed (EIP-3009).
const TRANSFER_TYPE: &[u8] = b"TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)";

/// A transfer that its payer has signed. Whoever has it can have it happen: its signature is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization {
    /// What is moved, and where.
    pub token: Token,
    /// Who pays.
    pub from: Address,
    /// Who is paid.
    pub to: Address,
    /// How much, in the token's smallest unit; at most so much, by [`Means::UpTo`].
    pub value: U256,
    /// It counts after this second of Unix time, and by Permit2 from it on.
    pub valid_after: U256,
    /// It counts before this second of Unix time, and by Permit2 to its end.
    pub valid_before: U256,
    /// What the payer drew for it: the token takes each once, or Permit2 does, whatever token it is for.
    pub nonce: [u8; 32],
    /// By what it is moved.
    pub by: Means,
    /// The payer's signature.
    pub signature: Signature,
}

/// Why stored bytes are no authorization.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizationError {
    /// They are not the JSON that [`Authorization::to_bytes`] writes.
    #[error("the bytes are no authorization")]
    Json(#[source] serde_json::Error),
    /// The nonce is no 32 bytes.
    #[error("the nonce is not 32 bytes")]
    Nonce(#[source] HexError),
    /// The signature has no form.
    #[error("the signature cannot be read")]
    Signature(#[source] SignatureError),
}

/// How an authorization is kept between verification and capture.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stored {
    token: Token,
    from: Address,
    to: Address,
    value: U256,
    valid_after: U256,
    valid_before: U256,
    nonce: String,
    #[serde(default, skip_serializing_if = "Means::is_token")]
    by: Means,
    signature: String,
}

impl Authorization {
    /// What the payer signs (EIP-712).
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        if let Some(proxy) = self.by.proxy() {
            return permit2::digest(self, proxy);
        }
        let words = [
            keccak256(TRANSFER_TYPE),
            self.from.to_word(),
            self.to.to_word(),
            *self.value.as_bytes(),
            *self.valid_after.as_bytes(),
            *self.valid_before.as_bytes(),
            self.nonce,
        ];
        let mut text = [0; 66];
        text[..2].copy_from_slice(&[0x19, 0x01]);
        text[2..34].copy_from_slice(&self.token.domain_separator());
        text[34..].copy_from_slice(&keccak256(words.as_flattened()));
        keccak256(&text)
    }

    /// Who has signed it.
    ///
    /// # Errors
    /// [`SignatureError`] if nobody can have.
    pub fn recover(&self) -> Result<Address, SignatureError> {
        self.signature.signer(&self.digest())
    }

    /// Whether its payer has signed it.
    ///
    /// # Errors
    /// [`SignatureError::OtherSigner`] if somebody else has.
    pub fn verify(&self) -> Result<(), SignatureError> {
        if self.recover()? == self.from { Ok(()) } else { Err(SignatureError::OtherSigner) }
    }

    /// What makes it unique, the same for every rail that takes it: SHA-256 of the JCS of chain, token, payer and nonce; where
    /// Permit2 moves it, of chain, Permit2, payer and nonce, since a payer has one set of nonces there for all its tokens.
    #[must_use]
    pub fn claim_key(&self) -> Digest {
        let (keeper, contract) =
            if self.by.is_token() { ("token", self.token.contract) } else { ("permit2", PERMIT2) };
        // Members in the order of JCS; no value has a character that JSON escapes.
        let canonical = format!(
            r#"{{"chain":"{}","nonce":"{}","payer":"{}","{keeper}":"{}"}}"#,
            self.token.network,
            to_hex(&self.nonce),
            self.from.to_lowercase(),
            contract.to_lowercase(),
        );
        Digest::from_bytes(Sha256::digest(canonical.as_bytes()).into())
    }

    /// How much it moves, in the token's smallest unit.
    #[must_use]
    pub fn moved(&self) -> U256 {
        match self.by {
            Means::UpTo { taken: Some(taken), .. } => taken,
            Means::Token | Means::Permit2 | Means::UpTo { taken: None, .. } => self.value,
        }
    }

    /// Its payer as an account of its chain (CAIP-10), in lowercase.
    #[must_use]
    pub fn payer(&self) -> String {
        format!("{}:{}", self.token.network, self.from.to_lowercase())
    }

    /// When it cannot be settled any more, by the clock of its chain.
    #[must_use]
    pub fn ends(&self) -> UnixMs {
        let last_s = u64::from(!self.by.is_token());
        UnixMs(self.valid_before.saturating_u64().saturating_add(last_s).saturating_mul(SECOND_MS))
    }

    /// The bytes to keep until it is captured. They are money.
    ///
    /// # Errors
    /// [`AuthorizationError::Json`] if it cannot be written, which no authorization is.
    pub fn to_bytes(&self) -> Result<Vec<u8>, AuthorizationError> {
        let stored = Stored {
            token: self.token.clone(),
            from: self.from,
            to: self.to,
            value: self.value,
            valid_after: self.valid_after,
            valid_before: self.valid_before,
            nonce: to_hex(&self.nonce),
            by: self.by,
            signature: to_hex(self.signature.as_bytes()),
        };
        serde_json::to_vec(&stored).map_err(AuthorizationError::Json)
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`AuthorizationError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AuthorizationError> {
        let stored: Stored = serde_json::from_slice(bytes).map_err(AuthorizationError::Json)?;
        Ok(Self {
            token: stored.token,
            from: stored.from,
            to: stored.to,
            value: stored.value,
            valid_after: stored.valid_after,
            valid_before: stored.valid_before,
            nonce: array_from_hex(&stored.nonce).map_err(AuthorizationError::Nonce)?,
            by: stored.by,
            signature: Signature::parse(&stored.signature).map_err(AuthorizationError::Signature)?,
        })
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization")
            .field("claim", &self.claim_key())
            .field("from", &self.from)
            .field("to", &self.to)
            .field("value", &self.value)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use tests::sent as sample;
