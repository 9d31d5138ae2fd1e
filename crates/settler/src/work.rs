//! The work on one authorization, from wherever it stands to its end.
//!
//! What is signed is durable, with its number, before it is sent. A transaction that no block takes is signed anew with the
//! same number and higher fees, so that one of them at most is taken. What was paid is believed only from the token's own
//! `Transfer` in the receipt; that it was not paid only from one block that has the number used up, and what the token says
//! in that block: a node that is behind the others is never heard as a no.

use core::time::Duration;

use execgate_payment::evm::{Authorization, to_hex};
use execgate_payment::{LookError, TxHash, Unreachable, Whereabouts};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::abi;
use crate::desk::{DeskError, Inner};
use crate::journal::{Job, Open};
use crate::ledger::{Ledger, Mined};
use crate::reason;
use crate::rpc::RpcError;
use crate::transaction::{Fees, Signed, Transaction};

/// The most gas that a transfer may take by its token, and by Permit2. One takes 61,000 to 90,000, and some 60,000 more by
/// Permit2.
const GAS_MAX: u64 = 200_000;
const PERMIT2_GAS_MAX: u64 = 300_000;

/// The most gas that this one may take.
pub(crate) const fn gas_max(authorization: &Authorization) -> u64 {
    if authorization.by.is_token() { GAS_MAX } else { PERMIT2_GAS_MAX }
}

/// Fees rise by an eighth and a bit, which is the least that nodes take for another transaction of the same number.
const BUMP: (u128, u128) = (9, 8);

/// How much of the base fee of now is offered: it may double and the transaction is still taken.
const BASE_FEES: u128 = 2;

/// The longest pause before a node that failed is asked again.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// At how many looks in a row none of one's own transactions is shown under a number that is used up, before it is believed
/// that it was used by another: five seconds, as long as nodes behind one address lag behind each other. The first few looks
/// may come sooner.
const UNSHOWN_MIN: u32 = 26;

/// At how many looks in a row nobody can tell who used the nonce of an authorization, before that is left to whoever asks again:
/// some twenty seconds. Its own transaction has failed by then, and it holds up nobody.
const UNCLEAR_MAX: u32 = 8;

/// How an authorization ended here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Done(TxHash),
    Refused(String),
    /// Nothing was signed, and nobody could tell whether it may be; or its transaction failed, and nobody could tell who used its
    /// nonce: the journal keeps it open; or the desk is closed.
    GivenUp,
}

/// What a worker remembers between two looks.
#[derive(Debug, Default)]
struct Memory {
    /// When the newest transaction was sent last.
    sent: Option<Instant>,
    /// How many numbers were used up at the last look: the next one.
    count: Option<u128>,
    /// At how many looks in a row its number was used up, and none of its transactions shown.
    unshown: u32,
    /// Whether its account has too little for what is offered.
    is_poor: bool,
    /// Whether its number is used up, and by none of its transactions that paid: nothing waits behind it.
    is_aside: bool,
    /// At how many looks in a row nobody could tell who used its nonce, since it is aside.
    unclear: u32,
}

impl Inner {
    /// Works on one authorization until it is settled or surely never will be. What has no number is given up in time.
    pub(crate) async fn work(&self, authorization: &Authorization) -> End {
        let asked = Instant::now();
        let give_up_after = self.manners.patience * 2;
        let is_begun = || matches!(self.journal.find(authorization), Ok(Some(_)));
        let mut turn = if is_begun() {
            None
        } else {
            match timeout(give_up_after, self.turns.acquire()).await {
                Ok(Ok(turn)) => Some(turn),
                Ok(Err(_)) | Err(_) => return End::GivenUp,
            }
        };
        let every = self.manners.look_every;
        let (mut memory, mut next) = (Memory::default(), self.pace.first());
        loop {
            if self.is_stopped() {
                return End::GivenUp;
            }
            let stepped = self.step(authorization, &mut memory).await;
            self.note_aside(authorization, memory.is_aside);
            if memory.is_aside {
                drop(turn.take());
            }
            let pause = match stepped {
                Ok(Some(end)) => {
                    if let (End::Done(_), Some(sent)) = (&end, memory.sent) {
                        self.pace.is_shown(sent.elapsed());
                    }
                    return end;
                }
                Ok(None) => next.min(every),
                Err(error) => {
                    let claim = authorization.claim_key();
                    if memory.unclear >= UNCLEAR_MAX {
                        tracing::warn!(%claim, %error, "a transfer failed, and who used its nonce is for the operator");
                        return End::GivenUp;
                    }
                    tracing::warn!(%claim, %error, "a transfer waits for its node");
                    next.max(every * 2).min(PAUSE_MAX.max(every))
                }
            };
            if asked.elapsed() > give_up_after && !is_begun() {
                return End::GivenUp;
            }
            sleep(pause).await;
            next = pause * 2;
        }
    }

    /// One look, and what follows from it at once; none where it has to be waited for.
    async fn step(
        &self,
        authorization: &Authorization,
        memory: &mut Memory,
    ) -> Result<Option<End>, DeskError> {
        let job = match self.journal.find(authorization)? {
            Some(job) => job,
            None => match self.admit(authorization).await? {
                Some(end) => return Ok(Some(end)),
                None => self.begin(authorization).await?,
            },
        };
        match job {
            Job::Done(hash) => Ok(Some(End::Done(hash))),
            // It failed, and its asker was told so: it is never sent again.
            Job::Refused(reason) => Ok(Some(End::Refused(reason))),
            Job::Open(job) => {
                self.offer(*job, memory).await?;
                match self.journal.find(authorization)? {
                    Some(Job::Open(job)) => self.look(&job, memory).await,
                    Some(Job::Done(_) | Job::Refused(_)) | None => Ok(None),
                }
            }
        }
    }

    /// Whether a transfer may be sent: it is unused, in time, and the chain would let it happen. None where it may.
    async fn admit(&self, authorization: &Authorization) -> Result<Option<End>, DeskError> {
        let refused = |reason: &str| Ok(Some(End::Refused(reason.to_owned())));
        if let Some(why) = reason::unmovable(authorization, self.key.address()) {
            return refused(why);
        }
        let (stands, moves) = tokio::join!(
            self.ledger.whereabouts(authorization),
            self.ledger.would_move(authorization, self.key.address())
        );
        match stands? {
            Whereabouts::Unused => {}
            // Somebody else has sent it, and we were paid.
            Whereabouts::Used { transaction: Some(hash), to_us: true } => return Ok(Some(End::Done(hash))),
            Whereabouts::Used { .. } | Whereabouts::Cancelled => {
                return refused(reason::nonce_used(authorization));
            }
            Whereabouts::Expired => return refused(reason::too_late(authorization)),
        }
        match moves {
            Ok((_, block)) if Ledger::is_good_yet(authorization, block) => Ok(None),
            Ok(_) => Err(Unreachable("the chain's clock has not come to it yet".to_owned()).into()),
            // Somebody was faster just now: by the next look it is seen who.
            Err(LookError::Refused(why)) if why == reason::nonce_used(authorization) => {
                Err(Unreachable(why).into())
            }
            Err(LookError::Refused(reason)) => Ok(Some(End::Refused(reason))),
            Err(LookError::Unreachable(error)) => Err(error.into()),
        }
    }

    /// Gives a job its number, and signs and keeps its first transaction. Nobody is asked while the number is given, so that
    /// none is held while a node thinks.
    async fn begin(&self, authorization: &Authorization) -> Result<Job, DeskError> {
        let (known, fees) = self.next().await?;
        Ok(self.journal.begin(authorization, known, fees, |nonce| self.sign(authorization, nonce, fees))?)
    }

    /// How many numbers the chain knows to be used, those that wait for a block included, and what is offered for gas now.
    async fn next(&self) -> Result<(u64, Fees), DeskError> {
        let account = json!([self.key.address(), "pending"]);
        let (known, fees) =
            tokio::join!(self.ledger.rpc.number("eth_getTransactionCount", &account), self.fees());
        let known = u64::try_from(known?).map_err(|_| RpcError::Strange("eth_getTransactionCount"))?;
        Ok((known, fees?))
    }

    /// Goes on with a job whose number somebody else has used up, by this key: nothing that was signed with it is in a block, and
    /// nothing gets into one unless the chain takes that back. It is sent by another number, where the chain would still let it happen.
    async fn begin_anew(&self, job: &Open, memory: &mut Memory) -> Result<Option<End>, DeskError> {
        let authorization = &job.authorization;
        match self.admit(authorization).await? {
            Some(End::Done(hash)) => self.done(authorization, hash),
            Some(End::Refused(_) | End::GivenUp) => self.failed(authorization),
            None => {
                let (known, fees) = self.next().await?;
                self.journal.renumber(job, known, fees, |nonce| self.sign(authorization, nonce, fees))?;
                *memory = Memory::default();
                Ok(None)
            }
        }
    }

    /// What is offered for gas now.
    async fn fees(&self) -> Result<Fees, DeskError> {
        let none = json!([]);
        let (newest, tip) =
            tokio::join!(self.ledger.newest(), self.ledger.rpc.number("eth_maxPriorityFeePerGas", &none));
        let base = newest?.base_fee.ok_or(RpcError::Strange("eth_getBlockByNumber"))?;
        let tip = tip?;
        let most = base.saturating_mul(BASE_FEES).saturating_add(tip).min(self.manners.fee_max);
        Ok(Fees { most, tip: tip.min(most) })
    }

    fn sign(&self, authorization: &Authorization, nonce: u64, fees: Fees) -> Signed {
        let data = abi::transfer(authorization);
        let chain = self.ledger.chain().number();
        let (to, gas) = (abi::asked(authorization), gas_max(authorization));
        Transaction { chain, nonce, fees, gas, to, data: &data }.sign(&self.key)
    }

    /// Sends what is kept of a job, from time to time, and offers more where it is its number's turn: that which it has, and those
    /// that it had before where they are free again.
    async fn offer(&self, mut job: Open, memory: &mut Memory) -> Result<(), DeskError> {
        if memory.sent.is_some_and(|sent| sent.elapsed() < self.manners.bump_after) {
            return Ok(());
        }
        let mut numbers = memory.count.map(|count| job.freed(count)).unwrap_or_default();
        numbers.insert(job.nonce);
        let turn = numbers.iter().copied().find(|nonce| memory.count == Some(u128::from(*nonce)));
        if let Some(turn) = turn.filter(|_| memory.sent.is_some() && !memory.is_poor) {
            self.bump(&mut job, turn).await?;
        }
        let mut is_poor = false;
        for (signed, _) in numbers.into_iter().filter_map(|nonce| job.newest(nonce)) {
            is_poor |= !self.send(signed).await?;
            memory.sent = Some(Instant::now());
        }
        memory.is_poor = is_poor;
        Ok(())
    }

    /// Sends signed bytes. A node that has them already, or knows better, is heard of by looking. False where there is too
    /// little to pay for gas.
    async fn send(&self, signed: &Signed) -> Result<bool, DeskError> {
        let (RpcError::Said(said) | RpcError::Reverted(said)) =
            (match self.ledger.rpc.ask("eth_sendRawTransaction", &json!([to_hex(&signed.raw)])).await {
                Ok(_) => return Ok(true),
                Err(error) => error,
            })
        else {
            return Err(Unreachable("the node did not say whether it takes a transaction".to_owned()).into());
        };
        let is_poor = said.to_ascii_lowercase().contains("insufficient funds");
        if is_poor {
            tracing::error!(account = %self.key.address(), "the account that pays for gas has too little");
        } else {
            tracing::debug!(transaction = %signed.hash, said, "a node does not take a transaction");
        }
        Ok(!is_poor)
    }

    /// Whether a job is over. Its own transactions say that it was paid; that it was not is said by one block.
    async fn look(&self, job: &Open, memory: &mut Memory) -> Result<Option<End>, DeskError> {
        let (account, authorization) = (self.key.address(), &job.authorization);
        let count = self.ledger.count(account, None).await?;
        memory.count = Some(count);
        if count <= u128::from(job.nonce) {
            (memory.is_aside, memory.unclear) = (false, 0);
            return Ok(None);
        }
        let mut is_shown = false;
        for (signed, _) in job.sent.iter().rev() {
            match self.ledger.mined(authorization, signed.hash).await? {
                Some(Mined::Paid) => return self.done(authorization, signed.hash),
                Some(Mined::Idle | Mined::Failed) => is_shown = true,
                None => {}
            }
        }
        // The number is used up, and the node shows none of ours that has it: it may be behind, or somebody else has the key.
        memory.unshown = if is_shown { 0 } else { memory.unshown + 1 };
        if !is_shown && memory.unshown < UNSHOWN_MIN {
            return Ok(None);
        }
        if !is_shown {
            tracing::error!(%account, nonce = job.nonce, "another process sends by this key");
        }
        let block = self.ledger.newest().await?;
        if self.ledger.count(account, Some(block)).await? <= u128::from(job.nonce) {
            return Ok(None);
        }
        memory.is_aside = true;
        memory.unclear += 1;
        let stands = self.ledger.whereabouts_in(authorization, block).await?;
        memory.unclear = 0;
        match stands {
            Whereabouts::Used { transaction: Some(hash), to_us: true } => self.done(authorization, hash),
            Whereabouts::Unused if !is_shown => self.begin_anew(job, memory).await,
            Whereabouts::Unused
            | Whereabouts::Expired
            | Whereabouts::Cancelled
            | Whereabouts::Used { .. } => self.failed(authorization),
        }
    }

    fn failed(&self, authorization: &Authorization) -> Result<Option<End>, DeskError> {
        self.journal.refused(authorization, reason::FAILED)?;
        Ok(Some(End::Refused(reason::FAILED.to_owned())))
    }

    fn done(&self, authorization: &Authorization, hash: TxHash) -> Result<Option<End>, DeskError> {
        self.journal.done(authorization, hash)?;
        Ok(Some(End::Done(hash)))
    }

    /// Offers more for the same number.
    async fn bump(&self, job: &mut Open, nonce: u64) -> Result<(), DeskError> {
        let Some((_, last)) = job.newest(nonce) else { return Ok(()) };
        let more = |fee: u128| fee.saturating_mul(BUMP.0) / BUMP.1 + 1;
        let now = self.fees().await?;
        let fees = Fees { most: more(last.most).max(now.most), tip: more(last.tip).max(now.tip) };
        if fees.most > self.manners.fee_max {
            tracing::warn!(nonce, "a transfer waits for gas to be as cheap as the operator has said");
            return Ok(());
        }
        let signed = self.sign(&job.authorization, nonce, fees);
        self.journal.keep(&job.authorization, &signed, fees)?;
        job.sent.push((signed, fees));
        Ok(())
    }
}
