//! What the contract of a token says of itself, held against what is configured of it.
//!
//! A price in a token that has other decimals is another price, and what is signed under another name or version (EIP-712) no
//! contract ever takes: neither is worth any work. What a contract does not tell is not held against it.

use execgate_payment::Unreachable;
use execgate_payment::evm::{Address, Token, U256};
use serde_json::json;

use crate::abi;
use crate::ledger::Ledger;
use crate::rpc::RpcError;

/// Why a token is not what is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is no contract.
    #[error("there is no contract at {0}")]
    Missing(Address),
    /// Its unit has other decimals.
    #[error("the token {token} has {said} decimals by its own contract, and {configured} are configured")]
    Decimals {
        /// Its contract.
        token: Address,
        /// What that says.
        said: U256,
        /// What is configured.
        configured: u8,
    },
    /// It is signed for under another name, version, chain, or address.
    #[error("the token {0} has another name or version in its domain (EIP-712) than is configured")]
    Domain(Address),
    /// The node does not tell.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
}

impl From<RpcError> for TokenError {
    fn from(error: RpcError) -> Self {
        Self::Unreachable(error.into())
    }
}

impl Ledger {
    /// Whether a token is what is configured of it, as far as its contract tells; its domain only where it is moved by the token
    /// itself (EIP-3009). One that is, is not asked about again as long as all of it is configured so.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn is_as_configured(&self, token: &Token, by_token: bool) -> Result<(), TokenError> {
        let place = (token.clone(), by_token);
        if self.has_seen(&place) {
            return Ok(());
        }
        // Nothing is signed under its domain where it is moved by Permit2.
        let domain = async { if by_token { self.word_of(token, abi::domain()).await } else { Ok(None) } };
        let (decimals, domain) = tokio::join!(self.word_of(token, abi::decimals()), domain);
        let (decimals, domain) = (decimals?, domain?);
        if decimals.is_none() && self.is_empty(token.contract).await? {
            return Err(TokenError::Missing(token.contract));
        }
        let (said, configured) = (decimals.map(U256::from_bytes), token.decimals);
        if let Some(said) = said.filter(|said| *said != U256::from(u64::from(configured))) {
            return Err(TokenError::Decimals { token: token.contract, said, configured });
        }
        if domain.is_some_and(|domain| domain != token.domain_separator()) {
            return Err(TokenError::Domain(token.contract));
        }
        self.note_seen(place);
        Ok(())
    }

    /// The word that a contract answers; none where it has no such function.
    async fn word_of(&self, token: &Token, data: Vec<u8>) -> Result<Option<[u8; 32]>, RpcError> {
        match self.rpc.call(&token.contract.to_lowercase(), &data, "latest").await {
            Ok(bytes) => Ok(bytes.try_into().ok()),
            Err(RpcError::Reverted(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn is_empty(&self, contract: Address) -> Result<bool, RpcError> {
        let code = self.rpc.ask("eth_getCode", &json!([contract, "latest"])).await?;
        code.as_str().map(|code| code == "0x").ok_or(RpcError::Strange("eth_getCode"))
    }
}
