//! What a chain says of an authorization: its nonce, who used it, and whether that paid us.
//!
//! That a nonce is used proves nothing by itself: what counts is a `Transfer` of exactly the value, from the payer to the
//! payee, by the token, in the transaction that used it.

use execgate_payment::evm::{Address, Authorization, ChainId, Token, U256, to_hex};
use execgate_payment::{TxHash, Unreachable, Whereabouts};
use serde_json::{Value, json};

use crate::abi;
use crate::rpc::{Rpc, RpcError, number};

/// How many blocks are looked back through for whoever used a nonce: five hours of Base, and what public nodes allow.
const LOOK_BACK: u128 = 9_000;

/// What became of a transaction that is in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mined {
    /// It moved exactly what the authorization says.
    Paid,
    /// It did not fail, and moved nothing of ours.
    Idle,
    /// It failed.
    Failed,
}

/// A chain, read through a node.
#[derive(Clone)]
pub struct Ledger {
    pub(crate) rpc: Rpc,
    chain: ChainId,
}

impl Ledger {
    /// The chain behind a node, after asking whether it is that chain.
    ///
    /// # Errors
    /// [`Unreachable`] where the node does not answer, or is of another chain.
    pub async fn open(rpc: Rpc, chain: ChainId) -> Result<Self, Unreachable> {
        let found = rpc.number("eth_chainId", &json!([])).await?;
        if found == u128::from(chain.number()) {
            Ok(Self { rpc, chain })
        } else {
            Err(Unreachable(format!("the node is of the chain {found}, and {chain} is configured")))
        }
    }

    /// The chain.
    #[must_use]
    pub const fn chain(&self) -> ChainId {
        self.chain
    }

    /// Where an authorization stands.
    ///
    /// # Errors
    /// [`Unreachable`] where the node does not answer, or no longer shows who used the nonce.
    pub async fn whereabouts(&self, authorization: &Authorization) -> Result<Whereabouts, Unreachable> {
        self.is_ours(authorization)?;
        let contract = authorization.token.contract.to_lowercase();
        let state = self.rpc.call(&contract, &abi::state(authorization.from, authorization.nonce)).await?;
        if state.iter().all(|byte| *byte == 0) {
            let block = self.rpc.ask("eth_getBlockByNumber", &json!(["latest", false])).await?;
            let time = block.get("timestamp").and_then(number);
            let time = time.ok_or(RpcError::Strange("eth_getBlockByNumber"))?;
            let ends = authorization.valid_before.to_u64().map_or(u128::MAX, u128::from);
            return Ok(if time >= ends { Whereabouts::Expired } else { Whereabouts::Unused });
        }
        let newest = self.rpc.number("eth_blockNumber", &json!([])).await?;
        let filter = json!([{
            "address": contract,
            "fromBlock": format!("{:#x}", newest.saturating_sub(LOOK_BACK)),
            "topics": [[abi::used(), abi::cancelled()], to_hex(&authorization.from.to_word()),
                to_hex(&authorization.nonce)],
        }]);
        let logs = self.rpc.ask("eth_getLogs", &filter).await?;
        let log = logs.as_array().and_then(|logs| logs.first());
        let log = log.ok_or_else(|| Unreachable("the node does not show who used a nonce".to_owned()))?;
        if log["topics"][0].as_str() == Some(&abi::cancelled()) {
            return Ok(Whereabouts::Cancelled);
        }
        let hash = log["transactionHash"].as_str().and_then(|hash| hash.parse().ok());
        let hash: TxHash = hash.ok_or(RpcError::Strange("eth_getLogs"))?;
        let to_us = self.mined(authorization, hash).await? == Some(Mined::Paid);
        Ok(Whereabouts::Used { transaction: Some(hash), to_us })
    }

    /// What became of a transaction; none where it is in no block.
    pub(crate) async fn mined(
        &self,
        authorization: &Authorization,
        transaction: TxHash,
    ) -> Result<Option<Mined>, Unreachable> {
        let receipt = self.rpc.ask("eth_getTransactionReceipt", &json!([transaction])).await?;
        if receipt.is_null() {
            return Ok(None);
        }
        let strange = RpcError::Strange("eth_getTransactionReceipt");
        match receipt.get("status").and_then(number) {
            Some(1) => {
                let logs = receipt["logs"].as_array().ok_or(strange)?;
                // One transaction may use many authorizations: what moves is of the one that was used just before.
                let is_paid = logs
                    .windows(2)
                    .any(|pair| is_use(&pair[0], authorization) && is_transfer(&pair[1], authorization));
                Ok(Some(if is_paid { Mined::Paid } else { Mined::Idle }))
            }
            Some(_) => Ok(Some(Mined::Failed)),
            None => Err(strange.into()),
        }
    }

    /// How much of a token an account has.
    ///
    /// # Errors
    /// [`Unreachable`] where the node does not answer.
    pub async fn balance(&self, token: &Token, account: Address) -> Result<U256, Unreachable> {
        let bytes = self.rpc.call(&token.contract.to_lowercase(), &abi::balance(account)).await?;
        let word = bytes.try_into().map_err(|_| RpcError::Strange("eth_call"))?;
        Ok(U256::from_bytes(word))
    }

    /// Whether the authorization is of this chain.
    pub(crate) fn is_ours(&self, authorization: &Authorization) -> Result<(), Unreachable> {
        if authorization.token.network == self.chain {
            Ok(())
        } else {
            Err(Unreachable(format!("no node of {} is configured", authorization.token.network)))
        }
    }
}

fn is(value: &Value, wanted: &str) -> bool {
    value.as_str().is_some_and(|text| text.eq_ignore_ascii_case(wanted))
}

/// Whether a log says that the token has used this authorization.
fn is_use(log: &Value, authorization: &Authorization) -> bool {
    let topics = &log["topics"];
    is(&log["address"], &authorization.token.contract.to_lowercase())
        && is(&topics[0], &abi::used())
        && is(&topics[1], &to_hex(&authorization.from.to_word()))
        && is(&topics[2], &to_hex(&authorization.nonce))
}

/// Whether a log says that exactly this was moved.
fn is_transfer(log: &Value, authorization: &Authorization) -> bool {
    let topics = &log["topics"];
    is(&log["address"], &authorization.token.contract.to_lowercase())
        && is(&topics[0], &abi::moved())
        && is(&topics[1], &to_hex(&authorization.from.to_word()))
        && is(&topics[2], &to_hex(&authorization.to.to_word()))
        && is(&log["data"], &to_hex(authorization.value.as_bytes()))
        && log.get("removed").is_none_or(|removed| removed != &Value::Bool(true))
}
