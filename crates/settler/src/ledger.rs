//! What a chain says of an authorization: its nonce, who used it, and whether that paid us.
//!
//! That a nonce is used proves nothing by itself: what counts is a `Transfer` of exactly the value, from the payer to the
//! payee, by the token, in the transaction that used it. What is said of nonces of Permit2 is in `permit2`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use execgate_model::Clock;
use execgate_payment::evm::{Address, Authorization, ChainId, Means, Token, U256, to_hex};
use execgate_payment::{LookError, TxHash, Unreachable, Whereabouts};
use serde_json::{Value, json};

use crate::abi;
use crate::logs::Back;
use crate::reason;
use crate::rpc::{Rpc, RpcError, number};

/// Behind how many blocks one is final, where nobody says otherwise and the node does not say which is: half an hour of Base,
/// whose blocks are final once the block of Ethereum that has them is, within some twenty minutes.
pub const FINAL_AFTER: u64 = 900;

/// How far the clock of a chain may be ahead of ours, in seconds. Less than what an authorization has to live beyond the work:
/// beyond it one that is good by our clock may be over by the chain's before it is settled.
const AHEAD_MAX_S: u128 = 30;

/// Milliseconds in a second.
const SECOND_MS: u64 = 1000;

/// A block, for reads that have to be of one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) number: u128,
    /// The chain's clock, in seconds.
    pub(crate) time: u128,
    /// What a unit of gas costs there at least, in wei, on chains that say so (EIP-1559).
    pub(crate) base_fee: Option<u128>,
}

impl Block {
    fn tag(self) -> String {
        format!("{:#x}", self.number)
    }
}

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
    /// Behind how many blocks one is final, where the node does not say which is.
    final_after: u64,
    /// Our own clock, against which the chain's is held; none: nobody looks.
    clock: Option<Arc<dyn Clock>>,
    /// Tokens that are what is configured of them, by what they are moved.
    seen: Arc<Mutex<HashSet<(Token, bool)>>>,
}

impl Ledger {
    /// The chain behind a node, after asking whether it is that chain.
    ///
    /// # Errors
    /// [`Unreachable`] where the node does not answer, or is of another chain.
    pub async fn open(rpc: Rpc, chain: ChainId) -> Result<Self, Unreachable> {
        let found = rpc.number("eth_chainId", &json!([])).await?;
        if found == u128::from(chain.number()) {
            Ok(Self { rpc, chain, final_after: FINAL_AFTER, clock: None, seen: Arc::default() })
        } else {
            Err(Unreachable(format!("the node is of the chain {found}, and {chain} is configured")))
        }
    }

    /// The same, where a block is final behind so many others, unless the node says itself which one is.
    #[must_use]
    pub fn final_after(self, blocks: u64) -> Self {
        Self { final_after: blocks, ..self }
    }

    /// The same, held against our own clock before any work: where the chain's is far ahead, what we take for good may be over
    /// there before it is settled.
    #[must_use]
    pub fn timed_by(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// Whether a token was found to be what is configured of it.
    pub(crate) fn has_seen(&self, token: &(Token, bool)) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).contains(token)
    }

    /// Takes note of one that is.
    pub(crate) fn note_seen(&self, token: (Token, bool)) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(token);
    }

    /// Our clock is right, as far as a block shows.
    fn is_in_time(&self, block: Block) -> Result<(), Unreachable> {
        let Some(clock) = &self.clock else { return Ok(()) };
        let ahead_s = block.time.saturating_sub(u128::from(clock.now().0 / SECOND_MS));
        if ahead_s <= AHEAD_MAX_S {
            return Ok(());
        }
        tracing::error!(
            ahead_s,
            "the clock of this machine is behind that of the chain: nothing is sold meanwhile"
        );
        Err(Unreachable(format!("the clock of this machine is {ahead_s} s behind that of the chain")))
    }

    /// The chain.
    #[must_use]
    pub const fn chain(&self) -> ChainId {
        self.chain
    }

    /// The newest block that the node shows.
    pub(crate) async fn newest(&self) -> Result<Block, Unreachable> {
        self.block("latest").await
    }

    pub(crate) async fn block(&self, tag: &str) -> Result<Block, Unreachable> {
        read_block(&self.rpc.ask("eth_getBlockByNumber", &json!([tag, false])).await?)
    }

    /// The newest block that the chain will not take back: the one that the node says is `finalized`, else the one so many
    /// blocks behind the newest.
    pub(crate) async fn newest_final(&self) -> Result<Block, Unreachable> {
        match self.rpc.ask("eth_getBlockByNumber", &json!(["finalized", false])).await {
            Ok(block) if !block.is_null() => return read_block(&block),
            Ok(_) | Err(RpcError::Said(_) | RpcError::Reverted(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let newest = self.newest().await?;
        let number = newest.number.saturating_sub(u128::from(self.final_after));
        self.block(&format!("{number:#x}")).await
    }

    /// How many transactions of an account a block and those before it have; that of the newest, where none is named.
    pub(crate) async fn count(&self, account: Address, block: Option<Block>) -> Result<u128, Unreachable> {
        let tag = block.map_or_else(|| "latest".to_owned(), Block::tag);
        Ok(self.rpc.number("eth_getTransactionCount", &json!([account, tag])).await?)
    }

    /// Where an authorization stands.
    ///
    /// # Errors
    /// [`Unreachable`] where the node does not answer, or no longer shows who used the nonce.
    pub async fn whereabouts(&self, authorization: &Authorization) -> Result<Whereabouts, Unreachable> {
        self.is_ours(authorization)?;
        self.whereabouts_in(authorization, self.newest().await?).await
    }

    /// Where it stands in a block: every read is of that one. A node that has not got so far does not answer.
    pub(crate) async fn whereabouts_in(
        &self,
        authorization: &Authorization,
        block: Block,
    ) -> Result<Whereabouts, Unreachable> {
        if !self.is_used(authorization, &block.tag()).await? {
            let is_over = block.time >= ends(authorization);
            return Ok(if is_over { Whereabouts::Expired } else { Whereabouts::Unused });
        }
        if !authorization.by.is_token() {
            return self.spent_by(authorization, block).await;
        }
        let log = self.use_of(authorization, block).await?;
        if log["topics"][0].as_str() == Some(&abi::cancelled()) {
            return Ok(Whereabouts::Cancelled);
        }
        let hash = log["transactionHash"].as_str().and_then(|hash| hash.parse().ok());
        let hash: TxHash = hash.ok_or(RpcError::Strange("eth_getLogs"))?;
        match self.mined(authorization, hash).await? {
            Some(mined) => Ok(Whereabouts::Used { transaction: Some(hash), to_us: mined == Mined::Paid }),
            None => Err(Unreachable(format!("the node shows a log of {hash}, and not its receipt"))),
        }
    }

    async fn is_used(&self, authorization: &Authorization, tag: &str) -> Result<bool, RpcError> {
        if !authorization.by.is_token() {
            return self.is_spent(authorization, tag).await;
        }
        let contract = authorization.token.contract.to_lowercase();
        let asked = abi::state(authorization.from, authorization.nonce);
        let word = self.rpc.call(&contract, &asked, tag).await?;
        // No code at the address gives no bytes at all: that is no free nonce.
        if word.len() == 32 {
            Ok(word.iter().any(|byte| *byte != 0))
        } else {
            Err(RpcError::Strange("authorizationState"))
        }
    }

    /// The log of whatever used a nonce, sought backwards from a block, and not without end.
    async fn use_of(&self, authorization: &Authorization, block: Block) -> Result<Value, Unreachable> {
        let topics = json!([
            [abi::used(), abi::cancelled()],
            to_hex(&authorization.from.to_word()),
            to_hex(&authorization.nonce)
        ]);
        let of = [authorization.token.contract.to_lowercase()];
        let logs = self.logs_back(&json!(of), &topics, (block.number, 0), 1, |log| Some(log.clone())).await?;
        let unshown = || Unreachable("the node does not show who used a nonce".to_owned());
        logs.into_iter().next().ok_or_else(unshown)
    }

    /// What `read` makes of the logs of these contracts and topics, sought backwards from a block to an older one, and not
    /// without end: all of it, at least as much as is enough, or what there was before the search ended. That something is not
    /// among it proves nothing by itself.
    pub(crate) async fn logs_back<T>(
        &self,
        contracts: &Value,
        topics: &Value,
        (last, oldest): (u128, u128),
        enough: usize,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Vec<T>, Unreachable> {
        let (mut back, mut found) = (Back::from(&self.rpc, contracts, topics, last), Vec::new());
        while let Some(span) = back.next().await? {
            found.extend(span.logs.iter().filter_map(&read));
            if found.len() >= enough || span.first <= oldest {
                break;
            }
        }
        Ok(found)
    }

    /// The same before any work is done for it: where we ourselves are wrong about its token, or about the time, none is. What is
    /// done already is moved all the same.
    ///
    /// # Errors
    /// As [`Self::would_move`]; what is wrong with us is nothing that its payer is told.
    pub(crate) async fn would_pay(
        &self,
        authorization: &Authorization,
        sender: Address,
    ) -> Result<(U256, Block), LookError> {
        let (is_known, moves) = tokio::join!(
            self.is_as_configured(&authorization.token, authorization.by.is_token()),
            self.would_move(authorization, sender),
        );
        if let Err(error) = is_known {
            tracing::error!(%error, "a token cannot be seen to be what is configured");
            return Err(Unreachable(error.to_string()).into());
        }
        let (funds, block) = moves?;
        self.is_in_time(block)?;
        Ok((funds, block))
    }

    /// Whether a transfer would happen if somebody sent it now: what its payer has, and lets be moved, and the block in which that was seen.
    /// One round trip.
    ///
    /// # Errors
    /// [`LookError::Refused`] with a code of x402, and [`LookError::Unreachable`].
    pub(crate) async fn would_move(
        &self,
        authorization: &Authorization,
        sender: Address,
    ) -> Result<(U256, Block), LookError> {
        self.is_ours(authorization)?;
        let let_ = async {
            if authorization.by.is_token() { Ok(None) } else { self.let_of(authorization).await.map(Some) }
        };
        let (block, is_used, has, let_, tried) = tokio::join!(
            self.newest(),
            self.is_used(authorization, "latest"),
            self.balance(&authorization.token, authorization.from),
            let_,
            self.tried(authorization, sender),
        );
        let (block, has) = (block?, has?);
        let let_ = let_.map_err(Unreachable::from)?;
        let funds = let_.map_or(has, |let_| has.min(let_));
        let refused = |reason: &str| Err(LookError::Refused(reason.to_owned()));
        if is_used.map_err(Unreachable::from)? {
            refused(reason::nonce_used(authorization))
        } else if block.time >= ends(authorization) {
            refused(reason::too_late(authorization))
        } else if has < authorization.value {
            refused(reason::NO_FUNDS)
        } else if let_.is_some_and(|let_| let_ < authorization.value) {
            refused(reason::NOT_LET)
        } else {
            match tried {
                Ok(()) => Ok((funds, block)),
                // The chain's clock stands until its next block: what was signed just now is good there soon.
                Err(RpcError::Reverted(_)) if begins(authorization) >= block.time => Ok((funds, block)),
                Err(RpcError::Reverted(said)) => {
                    tracing::info!(claim = %authorization.claim_key(), said, "a transfer would be refused");
                    refused(reason::would_fail(authorization))
                }
                Err(error) => Err(Unreachable::from(error).into()),
            }
        }
    }

    /// Whether the chain's clock has come to where an authorization counts.
    pub(crate) fn is_good_yet(authorization: &Authorization, block: Block) -> bool {
        block.time > begins(authorization)
    }

    async fn tried(&self, authorization: &Authorization, sender: Address) -> Result<(), RpcError> {
        // What is taken by usage its own facilitator alone may ask for.
        let sender = match authorization.by {
            Means::UpTo { facilitator, .. } => facilitator,
            Means::Token | Means::Permit2 => sender,
        };
        let call = json!([{
            "from": sender,
            "to": abi::asked(authorization),
            "data": to_hex(&abi::transfer(authorization)),
        }, "latest"]);
        self.rpc.ask("eth_call", &call).await.map(drop)
    }

    /// How much ether an account has, in wei.
    pub(crate) async fn ether(&self, account: Address) -> Result<u128, Unreachable> {
        Ok(self.rpc.number("eth_getBalance", &json!([account, "latest"])).await?)
    }

    /// What became of a transaction; none where it is in no block.
    pub(crate) async fn mined(
        &self,
        authorization: &Authorization,
        transaction: TxHash,
    ) -> Result<Option<Mined>, Unreachable> {
        if !authorization.by.is_token() {
            return self.permit_mined(authorization, transaction).await;
        }
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
        let bytes = self.rpc.call(&token.contract.to_lowercase(), &abi::balance(account), "latest").await?;
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

fn read_block(block: &Value) -> Result<Block, Unreachable> {
    let of = |name: &str| block.get(name).and_then(number);
    let (Some(number), Some(time)) = (of("number"), of("timestamp")) else {
        return Err(RpcError::Strange("eth_getBlockByNumber").into());
    };
    Ok(Block { number, time, base_fee: of("baseFeePerGas") })
}

/// The second from which on it does not count any more.
fn ends(authorization: &Authorization) -> u128 {
    let last = u128::from(!authorization.by.is_token());
    authorization.valid_before.to_u64().map_or(u128::MAX, |second| u128::from(second) + last)
}

/// The second after which it counts; of what Permit2 moves, one before the first that does.
pub(crate) fn begins(authorization: &Authorization) -> u128 {
    let before = u128::from(!authorization.by.is_token());
    authorization.valid_after.to_u64().map_or(u128::MAX, |second| u128::from(second).saturating_sub(before))
}

pub(crate) fn is(value: &Value, wanted: &str) -> bool {
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
pub(crate) fn is_transfer(log: &Value, authorization: &Authorization) -> bool {
    let topics = &log["topics"];
    is(&log["address"], &authorization.token.contract.to_lowercase())
        && is(&topics[0], &abi::moved())
        && is(&topics[1], &to_hex(&authorization.from.to_word()))
        && is(&topics[2], &to_hex(&authorization.to.to_word()))
        && is(&log["data"], &to_hex(authorization.moved().as_bytes()))
        && log.get("removed").is_none_or(|removed| removed != &Value::Bool(true))
}
