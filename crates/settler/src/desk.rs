//! The desk: settles authorizations by one's own key, one after the other.
//!
//! One queue for one key, so that no two transactions ever have one number. What is signed is durable before it is sent. A
//! transaction that no block takes is signed anew with the same number and higher fees, so that one of them at most is
//! taken. What was paid is believed only from the token's own `Transfer` in the receipt. A desk that starts goes on with what
//! the one before had promised, by the very bytes that it had signed.

use core::time::Duration;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use execgate_model::BoxFuture;
use execgate_payment::evm::{Address, Authorization, Token, U256, to_hex};
use execgate_payment::{Facilitator, SettleError, TxHash, Unreachable, Whereabouts};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::abi;
use crate::journal::{Job, Journal, JournalError, Open};
use crate::ledger::{Ledger, Mined};
use crate::rpc::{RpcError, number};
use crate::transaction::{Fees, GasKey, Signed, Transaction};

/// The most gas that a transfer may take. One takes 61,000 to 90,000.
const GAS_MAX: u64 = 200_000;

/// Fees rise by an eighth and a bit, which is the least that nodes take for another transaction of the same number.
const BUMP: (u128, u128) = (9, 8);

/// How much of the base fee of now is offered: it may double and the transaction is still taken.
const BASE_FEES: u128 = 2;

/// How a desk behaves.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// How often it looks whether a block has taken a transaction.
    pub look_every: Duration,
    /// How long it waits for a block before it offers more.
    pub bump_after: Duration,
    /// How long one who asks is kept waiting. The job goes on.
    pub patience: Duration,
    /// The most that a unit of gas may cost, in wei: beyond it the desk waits.
    pub fee_max: u128,
}

impl Default for Manners {
    /// Those of a chain with a block in two seconds.
    fn default() -> Self {
        Self {
            look_every: Duration::from_millis(250),
            bump_after: Duration::from_secs(8),
            patience: Duration::from_secs(25),
            fee_max: 100_000_000_000,
        }
    }
}

/// Why a desk did not open, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The node is not reached, or says what makes no sense.
    #[error(transparent)]
    Node(#[from] Unreachable),
}

impl From<RpcError> for DeskError {
    fn from(error: RpcError) -> Self {
        Self::Node(error.into())
    }
}

/// How one try of a job ended.
enum Step {
    Done(TxHash),
    Refused(String),
}

struct Inner {
    ledger: Ledger,
    key: GasKey,
    journal: Journal,
    manners: Manners,
    /// Held by the one job that is sent.
    queue: Mutex<()>,
    stopped: RwLock<bool>,
}

/// A desk.
#[derive(Clone)]
pub struct Desk(Arc<Inner>);

impl Desk {
    /// Opens a desk with its journal in this file.
    ///
    /// # Errors
    /// [`DeskError::Journal`].
    pub fn open(ledger: Ledger, key: GasKey, file: &Path, manners: Manners) -> Result<Self, DeskError> {
        let journal = Journal::open(file)?;
        let (queue, stopped) = (Mutex::new(()), RwLock::new(false));
        Ok(Self(Arc::new(Inner { ledger, key, journal, manners, queue, stopped })))
    }

    /// The account that pays for gas.
    #[must_use]
    pub fn account(&self) -> Address {
        self.0.key.address()
    }

    /// Goes on with what an earlier desk had promised.
    ///
    /// # Errors
    /// [`DeskError::Journal`] where that cannot be read.
    pub async fn resume(&self) -> Result<usize, DeskError> {
        let open = self.0.journal.all_open()?;
        for job in &open {
            let desk = self.clone();
            let authorization = job.authorization.clone();
            tokio::spawn(async move { desk.0.work(&authorization).await });
        }
        Ok(open.len())
    }

    /// Sends nothing from now on; what was promised is gone on with by the next desk.
    pub fn stop(&self) {
        *self.0.stopped.write().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

impl Inner {
    fn is_stopped(&self) -> bool {
        *self.stopped.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on one authorization until it is settled or surely never will be.
    async fn work(&self, authorization: &Authorization) -> Result<TxHash, SettleError> {
        loop {
            let _turn = self.queue.lock().await;
            if self.is_stopped() {
                return Err(SettleError::Unknown { transaction: None });
            }
            match self.step(authorization).await {
                Ok(Step::Done(hash)) => return Ok(hash),
                Ok(Step::Refused(reason)) => return Err(SettleError::Refused(reason)),
                Err(error) => {
                    let claim = authorization.claim_key();
                    tracing::warn!(%claim, %error, "a transfer waits for its node");
                }
            }
            sleep(self.manners.look_every).await;
        }
    }

    /// One turn: from wherever the job stands to its end, or to a fault of the node.
    async fn step(&self, authorization: &Authorization) -> Result<Step, DeskError> {
        let job = match self.journal.find(authorization)? {
            Some(Job::Done(hash)) => return Ok(Step::Done(hash)),
            Some(Job::Open(open)) => *open,
            // What was refused may be good now: it is looked at anew, and moves nothing twice by itself.
            Some(Job::Refused(_)) | None => match self.admit(authorization).await? {
                Ok(()) => self.begin(authorization).await?,
                Err(step) => return Ok(step),
            },
        };
        self.see_through(job).await
    }

    /// Whether a transfer may be sent: it is unused, in time, and the chain would let it happen.
    async fn admit(&self, authorization: &Authorization) -> Result<Result<(), Step>, DeskError> {
        if authorization.verify().is_err() {
            return Ok(Err(Step::Refused("invalid_exact_evm_payload_signature".to_owned())));
        }
        match self.ledger.whereabouts(authorization).await? {
            Whereabouts::Unused => {}
            // Somebody else has sent it, and we were paid.
            Whereabouts::Used { transaction: Some(hash), to_us: true } => return Ok(Err(Step::Done(hash))),
            Whereabouts::Used { .. } | Whereabouts::Cancelled => {
                return Ok(Err(Step::Refused("invalid_exact_evm_nonce_already_used".to_owned())));
            }
            Whereabouts::Expired => {
                let reason = "invalid_exact_evm_payload_authorization_valid_before".to_owned();
                return Ok(Err(Step::Refused(reason)));
            }
        }
        let call = json!([{
            "from": self.key.address(),
            "to": authorization.token.contract,
            "data": to_hex(&abi::transfer(authorization)),
        }, "latest"]);
        match self.ledger.rpc.ask("eth_call", &call).await {
            Ok(_) => Ok(Ok(())),
            Err(RpcError::Said(said)) => {
                tracing::info!(claim = %authorization.claim_key(), said, "the token refuses a transfer");
                let has = self.ledger.balance(&authorization.token, authorization.from).await?;
                let reason = if has < authorization.value {
                    "insufficient_funds"
                } else {
                    "invalid_exact_evm_transaction_simulation_failed"
                };
                Ok(Err(Step::Refused(reason.to_owned())))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a job its number, and signs and keeps its first transaction.
    async fn begin(&self, authorization: &Authorization) -> Result<Open, DeskError> {
        let account = json!([self.key.address(), "pending"]);
        let known = self.ledger.rpc.number("eth_getTransactionCount", &account).await?;
        let known = u64::try_from(known).map_err(|_| RpcError::Strange("eth_getTransactionCount"))?;
        let nonce = known.max(self.journal.next_nonce()?);
        let fees = self.fees().await?;
        let signed = self.sign(authorization, nonce, fees);
        self.journal.keep(authorization, nonce, &signed, fees)?;
        Ok(Open { authorization: authorization.clone(), nonce, sent: vec![(signed, fees)] })
    }

    /// What is offered for gas now.
    async fn fees(&self) -> Result<Fees, DeskError> {
        let block = self.ledger.rpc.ask("eth_getBlockByNumber", &json!(["latest", false])).await?;
        let base = block.get("baseFeePerGas").and_then(number);
        let base = base.ok_or(RpcError::Strange("eth_getBlockByNumber"))?;
        let tip = self.ledger.rpc.number("eth_maxPriorityFeePerGas", &json!([])).await?;
        let most = base.saturating_mul(BASE_FEES).saturating_add(tip).min(self.manners.fee_max);
        Ok(Fees { most, tip: tip.min(most) })
    }

    fn sign(&self, authorization: &Authorization, nonce: u64, fees: Fees) -> Signed {
        let data = abi::transfer(authorization);
        let chain = self.ledger.chain().number();
        let to = authorization.token.contract;
        Transaction { chain, nonce, fees, gas: GAS_MAX, to, data: &data }.sign(&self.key)
    }

    /// Sends what is kept of a job and waits for a block, offering more from time to time.
    async fn see_through(&self, mut job: Open) -> Result<Step, DeskError> {
        loop {
            if let Some((signed, _)) = job.sent.last() {
                self.send(signed).await?;
            }
            let until = Instant::now() + self.manners.bump_after;
            while Instant::now() < until {
                if let Some(step) = self.look(&job).await? {
                    return Ok(step);
                }
                if self.is_stopped() {
                    return Err(Unreachable("the desk is closed".to_owned()).into());
                }
                sleep(self.manners.look_every).await;
            }
            self.bump(&mut job).await?;
        }
    }

    /// Sends signed bytes. A node that has them already, or knows better, is heard of by looking.
    async fn send(&self, signed: &Signed) -> Result<(), DeskError> {
        match self.ledger.rpc.ask("eth_sendRawTransaction", &json!([to_hex(&signed.raw)])).await {
            Ok(_) => Ok(()),
            Err(RpcError::Said(said)) => {
                tracing::debug!(transaction = %signed.hash, said, "a node does not take a transaction");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a job is over.
    async fn look(&self, job: &Open) -> Result<Option<Step>, DeskError> {
        let authorization = &job.authorization;
        for (signed, _) in &job.sent {
            let Some(mined) = self.ledger.mined(authorization, signed.hash).await? else { continue };
            if mined == Mined::Paid {
                self.journal.done(authorization, signed.hash)?;
                return Ok(Some(Step::Done(signed.hash)));
            }
            return self.conclude(authorization).await.map(Some);
        }
        let account = json!([self.key.address(), "latest"]);
        let count = self.ledger.rpc.number("eth_getTransactionCount", &account).await?;
        if count > u128::from(job.nonce) {
            // Its number is used up, and by none of these: somebody else has the key.
            tracing::error!(account = %self.key.address(), "another process sends by this key");
            return self.conclude(authorization).await.map(Some);
        }
        Ok(None)
    }

    /// What a job comes to whose own transactions moved nothing.
    async fn conclude(&self, authorization: &Authorization) -> Result<Step, DeskError> {
        match self.ledger.whereabouts(authorization).await? {
            Whereabouts::Used { transaction: Some(hash), to_us: true } => {
                self.journal.done(authorization, hash)?;
                Ok(Step::Done(hash))
            }
            Whereabouts::Unused
            | Whereabouts::Expired
            | Whereabouts::Cancelled
            | Whereabouts::Used { .. } => {
                let reason = "invalid_exact_evm_transaction_failed";
                self.journal.refused(authorization, reason)?;
                Ok(Step::Refused(reason.to_owned()))
            }
        }
    }

    /// Offers more for the same number.
    async fn bump(&self, job: &mut Open) -> Result<(), DeskError> {
        let Some((_, last)) = job.sent.last() else { return Ok(()) };
        let more = |fee: u128| fee.saturating_mul(BUMP.0) / BUMP.1 + 1;
        let now = self.fees().await?;
        let fees = Fees { most: more(last.most).max(now.most), tip: more(last.tip).max(now.tip) };
        if fees.most > self.manners.fee_max {
            let nonce = job.nonce;
            tracing::warn!(nonce, "a transfer waits for gas to be as cheap as the operator has said");
            return Ok(());
        }
        let signed = self.sign(&job.authorization, job.nonce, fees);
        self.journal.keep(&job.authorization, job.nonce, &signed, fees)?;
        job.sent.push((signed, fees));
        Ok(())
    }

    /// The newest transaction of a job that is not over.
    fn newest(&self, authorization: &Authorization) -> Option<TxHash> {
        match self.journal.find(authorization) {
            Ok(Some(Job::Open(open))) => open.sent.last().map(|(signed, _)| signed.hash),
            Ok(Some(Job::Done(hash))) => Some(hash),
            Ok(Some(Job::Refused(_)) | None) | Err(_) => None,
        }
    }
}

impl Facilitator for Desk {
    fn name(&self) -> &'static str {
        "settler"
    }

    fn settle<'a>(&'a self, authorization: &'a Authorization) -> BoxFuture<'a, Result<TxHash, SettleError>> {
        Box::pin(async move {
            if let Err(error) = self.0.ledger.is_ours(authorization) {
                return Err(SettleError::Refused(error.to_string()));
            }
            let (desk, wanted) = (self.clone(), authorization.clone());
            // It goes on when nobody waits for it any more.
            let work = tokio::spawn(async move { desk.0.work(&wanted).await });
            match tokio::time::timeout(self.0.manners.patience, work).await {
                Ok(Ok(settled)) => settled,
                Ok(Err(_)) | Err(_) => {
                    Err(SettleError::Unknown { transaction: self.0.newest(authorization) })
                }
            }
        })
    }

    fn whereabouts<'a>(
        &'a self,
        authorization: &'a Authorization,
    ) -> BoxFuture<'a, Result<Whereabouts, Unreachable>> {
        Box::pin(self.0.ledger.whereabouts(authorization))
    }

    fn balance<'a>(&'a self, token: &'a Token, account: Address) -> BoxFuture<'a, Result<U256, Unreachable>> {
        Box::pin(self.0.ledger.balance(token, account))
    }
}
