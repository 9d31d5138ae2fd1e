//! The log of one process, and what it is made of.

use std::sync::Arc;

use execgate_model::{Clock, Digest, UnixMs};
use execgate_receipt::{
    Frontier, KeyName, Node, NoteError, Reading, SignedNote, Timestamp, VerifierKey, empty_root,
};
use execgate_store::{LogHead, LogNode, Store, StoreError};
use tokio::sync::{Mutex, watch};

use super::{LogError, LogFault, LogGate, LogKeys, Outside, WitnessLine};

/// What a log is made of.
pub struct LogParts {
    /// The record.
    pub store: Arc<dyn Store>,
    /// The keys of the log, which sign nothing else.
    pub keys: Arc<LogKeys>,
    /// The name that it takes when it has none; later ones begin with it.
    pub origin: KeyName,
    /// Where its checkpoints are kept outside of the record.
    pub outside: Arc<dyn Outside>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What tells the corridor that something is wrong.
    pub gate: LogGate,
    /// Its witnesses.
    pub witnesses: Vec<Arc<dyn WitnessLine>>,
    /// How many of them must have agreed before anything runs for real, and must have cosigned what a proof leads to.
    pub required: usize,
}

/// The log of one record, as one process keeps it.
pub struct Log {
    pub(super) parts: LogParts,
    pub(super) working: Mutex<Working>,
    /// The head that is kept outside, as far as this process knows. Taken behind `working` where both are, and for as long as
    /// something is written outside: that waits for disks, and nothing else is to wait for it.
    pub(super) kept: Mutex<Option<LogHead>>,
    /// How many entries the newest head has that this process has seen signed.
    pub(super) signed: watch::Sender<u64>,
}

/// What a process remembers from one step to the next.
#[derive(Default)]
pub(super) struct Working {
    /// The right edge of the tree; none where it has to be read.
    pub(super) frontier: Option<Frontier>,
    /// What this process has signed last.
    pub(super) signed: Option<LogHead>,
    /// The name that the log had when a fault was found.
    pub(super) faulted_in: Option<u64>,
}

impl Log {
    /// A log of these parts. Nothing is read before [`Self::open`].
    #[must_use]
    pub fn new(parts: LogParts) -> Self {
        parts.gate.await_witnesses(parts.required > 0);
        Self { parts, working: Mutex::default(), kept: Mutex::default(), signed: watch::Sender::new(0) }
    }

    /// What the corridor asks.
    #[must_use]
    pub fn gate(&self) -> LogGate {
        self.parts.gate.clone()
    }

    /// What is wrong, where something is.
    #[must_use]
    pub fn fault(&self) -> Option<LogFault> {
        self.parts.gate.fault()
    }

    /// Whether live runs are refused, be it for what is wrong or for want of witnesses.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.fault().is_some() || self.is_unwitnessed()
    }

    /// Whether too few witnesses have agreed since this process started.
    #[must_use]
    pub fn is_unwitnessed(&self) -> bool {
        self.parts.gate.is_unwitnessed()
    }

    /// The name that follows, where nobody has chosen one: the first with the time behind it.
    #[must_use]
    pub fn next_origin(&self, now: UnixMs) -> String {
        let at = Timestamp::new(now).map_or_else(|_| now.0.to_string(), |at| at.to_string());
        format!("{}/{at}", self.parts.origin)
    }

    /// What readers of a log of such a name know, newest first.
    pub(super) fn verifiers(&self, origin: &str) -> Result<Vec<VerifierKey>, NoteError> {
        self.parts.keys.now().verifiers(origin)
    }

    /// Signs a head under a name.
    pub(super) fn seal(&self, origin: &str, size: u64, root: Digest) -> Result<SignedNote, NoteError> {
        self.parts.keys.now().seal(origin, size, root)
    }

    /// The root of the first entries, from the stored hashes.
    pub(super) async fn root(&self, size: u64) -> Result<Digest, LogError> {
        let made = self.made(&Reading::root(size)).await?;
        Ok(made.first().copied().unwrap_or_else(empty_root))
    }

    /// What a reading makes of the stored hashes.
    pub(super) async fn made(&self, reading: &Reading) -> Result<Vec<Digest>, LogError> {
        let hashes = self.hashes(reading.nodes().iter().copied()).await?;
        Ok(reading.make(&hashes)?)
    }

    /// Stored hashes.
    pub(super) async fn hashes(&self, nodes: impl Iterator<Item = Node>) -> Result<Vec<Digest>, StoreError> {
        let nodes = nodes.map(|Node { level, index }| LogNode { level, index }).collect();
        self.parts.store.log_hashes(nodes).await
    }
}
