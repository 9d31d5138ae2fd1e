//! What a chain says of an authorization that Permit2 moves.
//!
//! Permit2 tells nobody which transaction used a nonce, and a payer has the same nonces for every token and every spender. So
//! a nonce that is used proves nothing by itself. What counts is a transaction that has asked the proxy of the scheme, itself
//! and not by way of another contract, to settle this very permit, and in which the token has moved exactly the value. One
//! that went another way may have settled another permit of the same payer for as much: nobody can tell, and nothing is
//! guessed. Every change here needs a second reader.

use execgate_payment::evm::{Address, Authorization, PERMIT2, U256, to_hex};
use execgate_payment::{TxHash, Unreachable, Whereabouts};
use serde_json::{Value, json};

use crate::abi;
use crate::ledger::{Block, Ledger, Mined, begins, is, is_transfer};
use crate::logs::Back;
use crate::rpc::{RpcError, number};

/// How many transfers between the same two, of as much, are looked at for the one that used a nonce, the newest first.
const CANDIDATES_MAX: usize = 64;

/// So many blocks ago a nonce has to have been used before it is believed that no transfer of ours used it: the nodes behind
/// one address lag behind each other, and the one that shows the logs may be another.
const LAG: u128 = 5;

/// What a search for the transaction that settled an authorization came to.
enum Sought {
    /// It is this one.
    This(TxHash),
    /// There is none, and no block before this one can have it.
    Nowhere { oldest: u128 },
}

/// What a transaction is to an authorization.
enum Way {
    /// It has asked the proxy to settle it.
    This,
    /// It has settled nothing, or another.
    Other,
    /// It has had something settled by way of another contract.
    Round,
}

impl Ledger {
    /// Whether Permit2 has seen its nonce, in a block.
    pub(crate) async fn is_spent(&self, authorization: &Authorization, tag: &str) -> Result<bool, RpcError> {
        let (word, bit) = place(&authorization.nonce);
        let asked = abi::bitmap(authorization.from, word);
        let seen: Option<[u8; 32]> =
            self.rpc.call(&PERMIT2.to_lowercase(), &asked, tag).await?.try_into().ok();
        // No code at the address gives no bytes at all: that is no free nonce.
        seen.map(|seen| has(&seen, bit)).ok_or(RpcError::Strange("nonceBitmap"))
    }

    /// How much of its token its payer lets Permit2 move.
    pub(crate) async fn let_of(&self, authorization: &Authorization) -> Result<U256, RpcError> {
        let asked = abi::allowance(authorization.from, PERMIT2);
        let let_: Option<[u8; 32]> = self
            .rpc
            .call(&authorization.token.contract.to_lowercase(), &asked, "latest")
            .await?
            .try_into()
            .ok();
        let_.map(U256::from_bytes).ok_or(RpcError::Strange("allowance"))
    }

    /// What became of a transaction that is in a block: paid only where it has asked for this very permit.
    pub(crate) async fn permit_mined(
        &self,
        authorization: &Authorization,
        transaction: TxHash,
    ) -> Result<Option<Mined>, Unreachable> {
        let hash = json!([transaction]);
        let (receipt, sent) = tokio::join!(
            self.rpc.ask("eth_getTransactionReceipt", &hash),
            self.rpc.ask("eth_getTransactionByHash", &hash)
        );
        let (receipt, sent) = (receipt?, sent?);
        if receipt.is_null() || sent.is_null() {
            return Ok(None);
        }
        let strange = RpcError::Strange("eth_getTransactionReceipt");
        match receipt.get("status").and_then(number) {
            Some(1) => {
                let logs = receipt["logs"].as_array().ok_or(strange)?;
                let is_paid = abi::settles(authorization, &sent["to"], &sent["input"])
                    && logs.iter().any(|log| is_transfer(log, authorization));
                Ok(Some(if is_paid { Mined::Paid } else { Mined::Idle }))
            }
            Some(_) => Ok(Some(Mined::Failed)),
            None => Err(strange.into()),
        }
    }

    /// Who used its nonce, as far as a block: that it is used there is known. That it was not by way of us is said only where
    /// every block was looked at in which it could have been.
    pub(crate) async fn spent_by(
        &self,
        authorization: &Authorization,
        block: Block,
    ) -> Result<Whereabouts, Unreachable> {
        let oldest = match self.sought_back(authorization, block).await? {
            Sought::This(hash) => return Ok(Whereabouts::Used { transaction: Some(hash), to_us: true }),
            Sought::Nowhere { oldest } => oldest,
        };
        let before = format!("{:#x}", block.number.saturating_sub(LAG));
        if !self.is_spent(authorization, &before).await? {
            return Err(Unreachable("a nonce of Permit2 was used just now".to_owned()));
        }
        Ok(if self.is_taken_back(authorization, (block.number, oldest)).await? {
            Whereabouts::Cancelled
        } else {
            Whereabouts::Used { transaction: None, to_us: false }
        })
    }

    /// Looks at the transactions that have moved as much of the token from its payer to its payee, newest first, for the one
    /// that has settled it, until it cannot have been settled in an older block.
    async fn sought_back(&self, authorization: &Authorization, block: Block) -> Result<Sought, Unreachable> {
        let of = |account: Address| to_hex(&account.to_word());
        let topics = json!([abi::moved(), of(authorization.from), of(authorization.to)]);
        let contracts = json!([authorization.token.contract.to_lowercase()]);
        let unclear = |why: &str| Err(Unreachable(why.to_owned()));
        let (mut is_unclear, mut looked_at) = (false, 0);
        let mut back = Back::from(&self.rpc, &contracts, &topics, block.number);
        while let Some(span) = back.next().await? {
            for log in span.logs.iter().rev().filter(|log| is_transfer(log, authorization)) {
                if looked_at == CANDIDATES_MAX {
                    return unclear(
                        "a payer has made too many payments of one amount to tell which used a nonce of Permit2",
                    );
                }
                looked_at += 1;
                let hash = log["transactionHash"].as_str().and_then(|hash| hash.parse().ok());
                let hash: TxHash = hash.ok_or(RpcError::Strange("eth_getLogs"))?;
                match self.way(authorization, hash).await? {
                    Way::This => return Ok(Sought::This(hash)),
                    Way::Round => is_unclear = true,
                    Way::Other => {}
                }
            }
            if self.is_not_before(authorization, span.first).await {
                return if is_unclear {
                    unclear(
                        "a nonce of Permit2 is used, and one transfer went a way that does not say which it settled",
                    )
                } else {
                    Ok(Sought::Nowhere { oldest: span.first })
                };
            }
        }
        unclear("a nonce of Permit2 may have been used before all that was looked at: it is for the operator")
    }

    /// Whether it surely was not settled before this block: there is none, it did not count yet, or its nonce was free there. A
    /// node may not have the state of an old block; one that does not say it proves nothing.
    async fn is_not_before(&self, authorization: &Authorization, first: u128) -> bool {
        let tag = format!("{first:#x}");
        first == 0
            || self.block(&tag).await.is_ok_and(|block| block.time <= begins(authorization))
            || self.is_spent(authorization, &tag).await.is_ok_and(|is_spent| !is_spent)
    }

    async fn way(&self, authorization: &Authorization, hash: TxHash) -> Result<Way, Unreachable> {
        let sent = self.rpc.ask("eth_getTransactionByHash", &json!([hash])).await?;
        if sent.is_null() {
            return Err(Unreachable(format!("the node shows a log of {hash}, and not its transaction")));
        }
        let proxy = authorization.by.proxy().map(|proxy| proxy.to_lowercase()).unwrap_or_default();
        if is(&sent["to"], &proxy) {
            let is_this = abi::settles(authorization, &sent["to"], &sent["input"]);
            return Ok(if is_this { Way::This } else { Way::Other });
        }
        let receipt = self.rpc.ask("eth_getTransactionReceipt", &json!([hash])).await?;
        let strange = RpcError::Strange("eth_getTransactionReceipt");
        let logs = receipt["logs"].as_array().ok_or(strange)?;
        Ok(if logs.iter().any(|log| is(&log["address"], &proxy)) { Way::Round } else { Way::Other })
    }

    /// Whether its payer has taken its nonce back, between a block and an older one.
    async fn is_taken_back(
        &self,
        authorization: &Authorization,
        blocks: (u128, u128),
    ) -> Result<bool, Unreachable> {
        let (word, bit) = place(&authorization.nonce);
        let read = |log: &Value| {
            let data = log["data"].as_str()?.trim_start_matches("0x");
            let (at, mask) = data.split_at_checked(64)?;
            let mask: [u8; 32] =
                execgate_payment::evm::from_hex(&format!("0x{mask}"), 32).ok()?.try_into().ok()?;
            (format!("0x{at}") == to_hex(&word) && has(&mask, bit)).then_some(())
        };
        let topics = json!([abi::invalidated(), to_hex(&authorization.from.to_word())]);
        let contracts = json!([PERMIT2.to_lowercase()]);
        let found = self.logs_back(&contracts, &topics, blocks, 1, read).await?;
        Ok(!found.is_empty())
    }
}

/// The word of the bitmap that a nonce is in, and its bit there: the last byte (`SignatureTransfer` of Permit2).
fn place(nonce: &[u8; 32]) -> ([u8; 32], u8) {
    let mut word = [0; 32];
    word[1..].copy_from_slice(&nonce[..31]);
    (word, nonce[31])
}

/// Whether a word has a bit, counted from its end.
fn has(word: &[u8; 32], bit: u8) -> bool {
    let byte = word[31 - usize::from(bit / 8)];
    byte >> (bit % 8) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::{has, place};

    #[test]
    fn a_nonce_is_a_bit_of_a_word() {
        let nonce: [u8; 32] = core::array::from_fn(|at| u8::try_from(at).unwrap());
        let (word, bit) = place(&nonce);
        assert_eq!((word[0], word[1], word[31], bit), (0, 0, 30, 31));
        let mut seen = [0; 32];
        seen[28] = 0x80;
        assert!(has(&seen, 31) && !has(&seen, 30) && !has(&seen, 32));
        seen[0] = 0x80;
        assert!(has(&seen, 255) && !has(&seen, 0));
    }
}
