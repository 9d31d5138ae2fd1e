//! How the log grows: hashes of new leaves and their head in one transaction, then a signature on what was read back.
//! Every change here needs a second reader: a head that is signed wrongly cannot be taken back.

use core::time::Duration;
use std::collections::VecDeque;

use execgate_receipt::Frontier;
use execgate_store::{LOG_LEAVES_MAX, LogEpoch, LogHead, LogStanding, LogStep, StoreError};
use tokio::time::{sleep, timeout};

use super::keeper::Working;
use super::{Log, LogError, LogFault};

/// How long leaves are gathered after a commit before they are hashed: less than half of the 50 ms in which a checkpoint is
/// promised, so that a disk that is slow for a moment has the rest, and a busy record pays for few commits of the log's.
const GATHER: Duration = Duration::from_millis(15);

/// How often a checkpoint is kept outside of the record. What is lost of a record within it is not noticed.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// How often the log looks for leaves that nobody here has stirred it for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the log waits after a fault of the moment before it tries again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stepped {
    /// There was nothing to do.
    Idle,
    /// All leaves are in a signed head.
    Signed,
    /// A part of them is; there are more.
    More,
}

impl Log {
    /// Keeps the log for as long as it is awaited: sequences what is appended, and keeps the newest checkpoint outside.
    pub async fn work(&self) {
        tokio::select! {
            () = self.grow() => {}
            // Beside it: what is kept outside is synced there, and a checkpoint does not wait for that.
            () = self.keep_forever() => {}
        }
    }

    async fn grow(&self) {
        loop {
            match self.sequence().await {
                Ok(()) => {}
                Err(LogError::Store(StoreError::Closed)) => return,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn core::error::Error,
                        "the log did not grow; trying again"
                    );
                    sleep(AGAIN_AFTER).await;
                }
            }
            // What another process has appended, which stirs nobody here, is looked for now and then.
            if timeout(LOOK_EVERY, self.parts.store.log_stirred()).await.is_ok() {
                sleep(GATHER).await;
            }
        }
    }

    async fn keep_forever(&self) {
        loop {
            sleep(KEEP_EVERY).await;
            self.keep_told().await;
        }
    }

    /// Sequences every leaf that there is, and signs the head, where nothing is wrong.
    ///
    /// # Errors
    /// [`LogError`]: what is sequenced stays so, and the next call goes on.
    pub async fn sequence(&self) -> Result<(), LogError> {
        let mut working = self.working.lock().await;
        while self.step(&mut working).await? == Stepped::More {}
        Ok(())
    }

    /// Keeps the newest checkpoint outside of the record, if it is not there yet.
    ///
    /// # Errors
    /// [`LogError::Outside`] where that fails.
    pub async fn keep(&self) -> Result<(), LogError> {
        let mut kept = self.kept.lock().await;
        self.keep_newest(&mut kept).await
    }

    async fn keep_told(&self) {
        if let Err(error) = self.keep().await {
            tracing::error!(
                error = &error as &dyn core::error::Error,
                "the checkpoint of the log was not kept"
            );
        }
    }

    pub(super) async fn keep_newest(&self, kept: &mut Option<LogHead>) -> Result<(), LogError> {
        if self.parts.gate.fault().is_some() {
            return Ok(());
        }
        let newest = self.parts.store.log_checkpoint().await?;
        let Some((head, note)) = newest.and_then(|newest| Some((newest.head, newest.note?))) else {
            return Ok(());
        };
        if *kept == Some(head) {
            return Ok(());
        }
        let written = self.parts.outside.keep(note).await;
        written.map_err(|(place, source)| LogError::Outside { place, source })?;
        *kept = Some(head);
        Ok(())
    }

    /// One bounded step.
    pub(super) async fn step(&self, working: &mut Working) -> Result<Stepped, LogError> {
        let mut standing = self.parts.store.log_standing().await?;
        if self.parts.gate.fault().is_some() {
            return self.stand_still(working, &standing).await;
        }
        let Some(epoch) = standing.epoch.clone() else { return Ok(Stepped::Idle) };
        if let Some(fault) = end_gone(&standing) {
            return Ok(self.stop(working, &epoch, fault));
        }
        let has_head = standing.newest.as_ref().is_some_and(|newest| newest.head.size == standing.hashed);
        if standing.leaves > standing.hashed || !has_head {
            match self.extend(working, &standing, &epoch).await {
                Err(LogError::Store(StoreError::Unreadable { column })) => {
                    return Ok(self.stop(working, &epoch, LogFault::Damaged { column }));
                }
                done => done?,
            }
            standing = self.parts.store.log_standing().await?;
        }
        let Some(newest) = standing.newest else { return Ok(Stepped::Idle) };
        if newest.note.is_some() && working.signed == Some(newest.head) {
            return Ok(Stepped::Idle);
        }
        if let Some(fault) = self.doubt(working, newest.head).await? {
            return Ok(self.stop(working, &epoch, fault));
        }
        if newest.note.is_none() {
            let note = self.seal(&epoch.origin, newest.head.size, newest.head.root)?;
            self.parts.store.log_sign(newest.head, note.to_string()).await?;
        }
        working.signed = Some(newest.head);
        self.signed.send_replace(newest.head.size);
        Ok(if standing.leaves > newest.head.size { Stepped::More } else { Stepped::Signed })
    }

    /// Hashes the next leaves and commits them with their head. Whoever else was first has done it.
    pub(super) async fn extend(
        &self,
        working: &mut Working,
        standing: &LogStanding,
        epoch: &LogEpoch,
    ) -> Result<(), LogError> {
        let after = standing.hashed;
        let mut frontier = match working.frontier.take().filter(|frontier| frontier.size() == after) {
            Some(frontier) => frontier,
            None => self.frontier(after).await?,
        };
        let mut leaves = VecDeque::from(self.parts.store.log_leaves(after, LOG_LEAVES_MAX).await?);
        let mut hashes = Vec::with_capacity(leaves.len());
        while let Some(leaf) = leaves.pop_front() {
            hashes.push(frontier.append(leaf.digest.as_bytes()));
        }
        let head = LogHead { epoch: epoch.number, size: frontier.size(), root: frontier.root() };
        if self.parts.store.log_extend(LogStep { after, hashes, head }).await? {
            working.frontier = Some(frontier);
        }
        Ok(())
    }

    async fn frontier(&self, size: u64) -> Result<Frontier, LogError> {
        let peaks = self.hashes(Frontier::nodes(size).into_iter()).await?;
        // There is a peak for each node that was asked for.
        Frontier::new(size, peaks).ok_or(LogError::Store(StoreError::Unreadable { column: "log_hash" }))
    }

    /// Looks for a reason not to sign a head: its hashes as they were read back, and what was signed before.
    async fn doubt(&self, working: &Working, head: LogHead) -> Result<Option<LogFault>, LogError> {
        match self.root(head.size).await {
            Ok(root) if root == head.root => {}
            Ok(_) => return Ok(Some(LogFault::Hashes { size: head.size })),
            Err(LogError::Store(StoreError::Unreadable { column })) => {
                return Ok(Some(LogFault::Damaged { column }));
            }
            Err(error) => return Err(error),
        }
        let Some(before) = working.signed.filter(|before| before.epoch == head.epoch) else {
            return Ok(None);
        };
        if before.size <= head.size && self.root(before.size).await? == before.root {
            return Ok(None);
        }
        Ok(Some(LogFault::Rewritten { size: before.size }))
    }

    /// Stops live runs, and says why.
    pub(super) fn stop(&self, working: &mut Working, epoch: &LogEpoch, fault: LogFault) -> Stepped {
        tracing::error!(%fault, "live runs are refused: the log is not what it was");
        working.faulted_in = Some(epoch.number);
        self.parts.gate.set(Some(fault));
        Stepped::Idle
    }

    /// A log with a fault does not grow until it has a new name, which another process may have given it.
    async fn stand_still(&self, working: &mut Working, standing: &LogStanding) -> Result<Stepped, LogError> {
        let named = standing.epoch.as_ref().map_or(0, |epoch| epoch.number);
        if working.faulted_in.is_some_and(|number| number < named) {
            self.compare(working).await?;
        }
        Ok(Stepped::Idle)
    }
}

/// What a record says of itself that cannot be: fewer leaves than were hashed, or fewer hashes than its newest head is over.
pub(super) fn end_gone(standing: &LogStanding) -> Option<LogFault> {
    let headed = standing.newest.as_ref().map_or(0, |newest| newest.head.size);
    let hashed = standing.hashed.max(headed);
    if standing.leaves < hashed {
        return Some(LogFault::EndGone { leaves: standing.leaves, hashed });
    }
    (standing.hashed < headed).then_some(LogFault::Damaged { column: "log_hash" })
}
