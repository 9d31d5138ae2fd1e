//! The desk: settles authorizations by one's own key.
//!
//! One asker or many, one authorization has one worker (`work`), which goes on when nobody waits for it any more. So many of
//! them have a number at once as a node keeps of one account; the others wait for a turn, and are given up after a while,
//! unsigned. Nobody waits for another's block: what one worker meets holds up nobody but those behind its number. A desk that
//! starts goes on with what the one before had promised, by the very bytes that it had signed.

use core::time::Duration;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use execgate_model::BoxFuture;
use execgate_payment::evm::{Address, Authorization, ChainId, Token, U256};
use execgate_payment::{
    Facilitator, Finality, Gas, LookError, SettleError, TxHash, Unreachable, Whereabouts,
};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::journal::{Job, Journal, JournalError};
use crate::ledger::{Ledger, Mined};
use crate::pace::Pace;
use crate::reason;
use crate::rpc::RpcError;
use crate::transaction::GasKey;
use crate::work::{End, gas_max};

/// How many transactions are on their way at once: as many as nodes keep of one account for the next block.
const TURNS: usize = 16;

/// After how many times the patience of its askers one that is still worked on says that nothing moves any more.
const STALLED_AFTER: u32 = 4;

/// How a desk behaves.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// How often it looks whether a block has taken a transaction. The first looks come sooner where blocks do.
    pub look_every: Duration,
    /// How long it waits for a block before it offers more.
    pub bump_after: Duration,
    /// How long one who asks is kept waiting. What is signed by then goes on; what is not is given up at twice that.
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

/// What a worker tells when it ends.
type Told = watch::Receiver<Option<End>>;

/// One that is worked on.
struct Work {
    told: Told,
    since: Instant,
    /// Whether its number is used up: nothing waits behind it, whatever it waits for itself.
    is_aside: bool,
}

pub(crate) struct Inner {
    pub(crate) ledger: Ledger,
    pub(crate) key: GasKey,
    pub(crate) journal: Journal,
    pub(crate) manners: Manners,
    pub(crate) pace: Pace,
    /// The places of those that have a number, or are about to.
    pub(crate) turns: Semaphore,
    /// Who is worked on, by what was signed.
    works: Mutex<HashMap<[u8; 32], Work>>,
    stopped: AtomicBool,
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
        let (turns, works) = (Semaphore::new(TURNS), Mutex::default());
        let (pace, stopped) = (Pace::new(manners.look_every), AtomicBool::new(false));
        Ok(Self(Arc::new(Inner { ledger, key, journal, manners, pace, turns, works, stopped })))
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
            drop(self.worked_on(&job.authorization));
        }
        Ok(open.len())
    }

    /// Goes on with what was over and is not any more: its chain has taken back the blocks that had it, and the very bytes that
    /// were signed are sent again.
    async fn reopen(&self) -> Result<(), DeskError> {
        let desk = &self.0;
        let used = desk.ledger.count(self.account(), None).await?;
        let used = u64::try_from(used).map_err(|_| RpcError::Strange("eth_getTransactionCount"))?;
        for authorization in desk.journal.reopen(used)? {
            tracing::warn!(claim = %authorization.claim_key(), "the chain has taken back a transfer; it is sent again");
            drop(self.worked_on(&authorization));
        }
        // Those that were given up while they were open, too.
        for job in desk.journal.all_open()?.iter().filter(|job| job.nonce >= used) {
            drop(self.worked_on(&job.authorization));
        }
        Ok(())
    }

    async fn lasting(
        &self,
        settled: &[(Authorization, Option<TxHash>)],
    ) -> Result<Vec<Finality>, Unreachable> {
        self.reopen().await.map_err(|error| Unreachable(error.to_string()))?;
        if settled.iter().any(|(authorization, _)| self.0.ledger.is_ours(authorization).is_err()) {
            return Err(Unreachable("one of them is of another chain".to_owned()));
        }
        self.0.ledger.finality(settled).await
    }

    /// Sends nothing from now on; what was promised is gone on with by the next desk.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::SeqCst);
    }

    /// Has an authorization worked on, unless it is already.
    fn worked_on(&self, authorization: &Authorization) -> Told {
        let name = authorization.digest();
        let mut works = self.0.works();
        if let Some(work) = works.get(&name) {
            return work.told.clone();
        }
        let (tells, told) = watch::channel(None);
        works.insert(name, Work { told: told.clone(), since: Instant::now(), is_aside: false });
        drop(works);
        let (desk, wanted) = (Arc::clone(&self.0), authorization.clone());
        tokio::spawn(async move {
            // It is taken from the list however it ends.
            let listed = Listed { desk: &desk, name };
            let end = desk.work(&wanted).await;
            drop(listed);
            tells.send_replace(Some(end));
        });
        told
    }

    async fn settled(&self, authorization: &Authorization) -> Result<TxHash, SettleError> {
        if let Err(error) = self.0.ledger.is_ours(authorization) {
            return Err(SettleError::Refused(error.to_string()));
        }
        let mut told = self.worked_on(authorization);
        let told = tokio::time::timeout(self.0.manners.patience, told.wait_for(Option::is_some)).await;
        let end = told.ok().and_then(Result::ok).and_then(|end| end.clone());
        match end {
            Some(End::Done(hash)) => Ok(hash),
            Some(End::Refused(reason)) => Err(SettleError::Refused(reason)),
            Some(End::GivenUp) | None => {
                Err(SettleError::Unknown { transaction: self.0.newest(authorization) })
            }
        }
    }

    /// What is signed here is asked for here first: a transaction that is on its way means that nobody can tell, whatever the
    /// chain says of its nonce.
    async fn found(&self, authorization: &Authorization) -> Result<Whereabouts, Unreachable> {
        let desk = &self.0;
        desk.ledger.is_ours(authorization)?;
        let kept = desk.journal.find(authorization).map_err(|error| Unreachable(error.to_string()))?;
        let hashes = match kept {
            Some(Job::Done(hash)) => vec![hash],
            Some(Job::Open(job)) => {
                drop(self.worked_on(authorization));
                job.sent.iter().map(|(signed, _)| signed.hash).collect()
            }
            Some(Job::Refused(_)) | None => return desk.ledger.whereabouts(authorization).await,
        };
        for hash in hashes {
            if desk.ledger.mined(authorization, hash).await? == Some(Mined::Paid) {
                return Ok(Whereabouts::Used { transaction: Some(hash), to_us: true });
            }
        }
        Err(Unreachable("it was sent, and the node does not show yet how it ended".to_owned()))
    }

    async fn looked(&self, authorization: &Authorization) -> Result<Option<U256>, LookError> {
        let desk = &self.0;
        let refused = |reason: &str| Err(LookError::Refused(reason.to_owned()));
        if let Some(why) = reason::unmovable(authorization, self.account()) {
            return refused(why);
        }
        let kept = desk.journal.find(authorization).map_err(|error| Unreachable(error.to_string()))?;
        if kept.is_some() {
            return refused(reason::nonce_used(authorization));
        }
        if desk.is_stalled() {
            tracing::error!("transfers wait for a block for longer than anybody is kept waiting");
            return Err(Unreachable("transfers before it wait for a block for too long".to_owned()).into());
        }
        let account = self.account();
        let (moves, ether) =
            tokio::join!(desk.ledger.would_pay(authorization, account), desk.ledger.ether(account));
        let (has, block) = moves?;
        if ether? < block.base_fee.unwrap_or_default().saturating_mul(u128::from(gas_max(authorization))) {
            tracing::error!(%account, "the account that pays for gas has too little");
            return Err(Unreachable("the account that pays for gas has too little".to_owned()).into());
        }
        Ok(Some(has))
    }
}

/// The place of a worker among those that are at work.
struct Listed<'a> {
    desk: &'a Inner,
    name: [u8; 32],
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.desk.works().remove(&self.name);
    }
}

impl Inner {
    fn works(&self) -> MutexGuard<'_, HashMap<[u8; 32], Work>> {
        self.works.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something has been on its way for so long that what comes behind it may not get there either.
    fn is_stalled(&self) -> bool {
        let longest = self.manners.patience * STALLED_AFTER;
        self.works().values().any(|work| !work.is_aside && work.since.elapsed() > longest)
    }

    /// Notes of one that is worked on whether nothing waits behind it.
    pub(crate) fn note_aside(&self, authorization: &Authorization, is_aside: bool) {
        if let Some(work) = self.works().get_mut(&authorization.digest()) {
            work.is_aside = is_aside;
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// The newest transaction of a job that was begun.
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

    fn verify<'a>(
        &'a self,
        authorization: &'a Authorization,
    ) -> BoxFuture<'a, Result<Option<U256>, LookError>> {
        Box::pin(self.looked(authorization))
    }

    fn settle<'a>(&'a self, authorization: &'a Authorization) -> BoxFuture<'a, Result<TxHash, SettleError>> {
        Box::pin(self.settled(authorization))
    }

    fn whereabouts<'a>(
        &'a self,
        authorization: &'a Authorization,
    ) -> BoxFuture<'a, Result<Whereabouts, Unreachable>> {
        Box::pin(self.found(authorization))
    }

    fn balance<'a>(&'a self, token: &'a Token, account: Address) -> BoxFuture<'a, Result<U256, Unreachable>> {
        Box::pin(self.0.ledger.balance(token, account))
    }

    fn shows(&self, chain: ChainId) -> bool {
        self.0.ledger.chain() == chain
    }

    fn finality<'a>(
        &'a self,
        settled: &'a [(Authorization, Option<TxHash>)],
    ) -> BoxFuture<'a, Result<Vec<Finality>, Unreachable>> {
        Box::pin(self.lasting(settled))
    }

    fn gas(&self) -> BoxFuture<'_, Result<Option<Gas>, Unreachable>> {
        Box::pin(async move {
            let (account, ledger) = (self.account(), &self.0.ledger);
            let (wei, nonce) = tokio::join!(ledger.ether(account), ledger.count(account, None));
            let nonce = u64::try_from(nonce?).map_err(|_| RpcError::Strange("eth_getTransactionCount"))?;
            Ok(Some(Gas { account, wei: wei?, nonce }))
        })
    }
}
