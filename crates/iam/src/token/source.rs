//! Where the keys of an issuer come from, and how they stay fresh.
//!
//! They are read anew every [`EVERY_US`], and at once where a token names a key that is not among them, but not again
//! within [`GAP_US`]: whoever invents names of keys costs the issuer six small questions a minute. While they cannot be
//! read, those read last hold for [`MAX_AGE_US`].

use core::time::Duration;
use std::error::Error;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use execgate_model::{Clock, Digest};
use execgate_receipt::sha256;
use tokio::sync::Mutex as Turn;
use tokio::time::timeout;

use super::KeysPlace;
use super::keys::KeySet;
use crate::TlsError;
use crate::exchange::{ANSWER_MAX, Line};

/// How often keys are read anew, in microseconds: a key that was withdrawn is refused this much later at the latest.
pub(crate) const EVERY_US: u64 = 300_000_000;

/// When they are tried again after they could not be read, in microseconds.
pub(crate) const RETRY_US: u64 = 30_000_000;

/// How soon after one attempt a token may cause another, in microseconds.
pub(crate) const GAP_US: u64 = 10_000_000;

/// How long keys hold that cannot be read anew, in microseconds: a day, in which somebody looks after their issuer.
pub(crate) const MAX_AGE_US: u64 = 86_400_000_000;

/// How long reading them may take in all.
pub(crate) const READ_TIME: Duration = Duration::from_secs(3);

/// Why keys could not be read.
#[derive(Debug, thiserror::Error)]
pub enum KeysFault {
    /// Nothing was answered that could be read to its end.
    #[error("failed to ask for them")]
    Exchange(#[source] Box<dyn Error + Send + Sync>),
    /// It took too long.
    #[error("they did not come in time")]
    Late,
    /// The answer was another one.
    #[error("the answer has the status {0}, and no redirect is followed")]
    Status(u16),
    /// The file cannot be read.
    #[error("failed to read their file")]
    File(#[source] io::Error),
    /// It holds more than a set of keys does.
    #[error("they are more than {ANSWER_MAX} bytes")]
    Long,
    /// It is no set of keys.
    #[error("what was read is no set of keys (RFC 7517)")]
    Set(#[source] Box<dyn Error + Send + Sync>),
}

enum Place {
    Line(Line),
    File(PathBuf),
}

/// The keys as they are now.
#[derive(Clone)]
pub(crate) struct Current {
    pub(crate) set: Arc<KeySet>,
    /// Another one after each change.
    pub(crate) generation: u64,
    digest: Digest,
    read_us: u64,
}

#[derive(Default)]
struct State {
    current: Option<Current>,
    /// When they were asked for last.
    tried_us: Option<u64>,
    /// Whether they came.
    came: bool,
}

/// The keys of one issuer.
pub(crate) struct Source {
    issuer: String,
    place: Place,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    turn: Turn<()>,
}

impl Source {
    /// Keys that nobody has read yet.
    ///
    /// # Errors
    /// [`TlsError`] where they are to be asked for by https, and this host cannot.
    pub(crate) fn new(issuer: String, place: &KeysPlace, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let place = match place {
            KeysPlace::Url(url) => Place::Line(Line::new(url.clone())?),
            KeysPlace::File(path) => Place::File(path.clone()),
        };
        Ok(Self { issuer, place, clock, state: Mutex::default(), turn: Turn::new(()) })
    }

    /// The keys, where they were read lately enough.
    pub(crate) fn current(&self) -> Option<Current> {
        let now_us = self.clock.monotonic_us();
        let holds = |current: &&Current| now_us.saturating_sub(current.read_us) < MAX_AGE_US;
        self.lock().current.as_ref().filter(holds).cloned()
    }

    /// Reads a file of keys now: one that is wrong is an error of whoever has configured it.
    ///
    /// # Errors
    /// [`KeysFault`], for a file alone.
    pub(crate) fn open(&self) -> Result<(), KeysFault> {
        let Place::File(path) = &self.place else { return Ok(()) };
        let at_us = self.begin();
        self.take(&read_file(path)?, at_us)
    }

    /// Reads them anew where it is time to.
    pub(crate) async fn tend(&self) {
        let _turn = self.turn.lock().await;
        let wait_us = if self.lock().came { EVERY_US } else { RETRY_US };
        if !self.was_tried_within(wait_us) {
            self.renew().await;
        }
    }

    /// Reads them anew because a token names a key that is not among them; tells whether the answer is of now. Who hangs
    /// up meanwhile ends nothing.
    pub(crate) async fn look_again(self: &Arc<Self>) -> bool {
        let source = Arc::clone(self);
        let look = tokio::spawn(async move {
            // One reads, and all who come meanwhile take what it has read.
            let _turn = source.turn.lock().await;
            if !source.was_tried_within(GAP_US) {
                source.renew().await;
            }
            source.lock().came
        });
        look.await.unwrap_or(false)
    }

    fn was_tried_within(&self, span_us: u64) -> bool {
        let now_us = self.clock.monotonic_us();
        self.lock().tried_us.is_some_and(|tried_us| now_us.saturating_sub(tried_us) < span_us)
    }

    fn begin(&self) -> u64 {
        let now_us = self.clock.monotonic_us();
        self.lock().tried_us = Some(now_us);
        now_us
    }

    async fn renew(&self) {
        let at_us = self.begin();
        let renewed = self.read().await.and_then(|bytes| self.take(&bytes, at_us));
        if let Err(error) = renewed {
            self.lock().came = false;
            let error = &error as &dyn Error;
            tracing::warn!(issuer = self.issuer, error, "the keys of an issuer of tokens cannot be read");
        }
    }

    async fn read(&self) -> Result<Vec<u8>, KeysFault> {
        match &self.place {
            Place::Line(line) => {
                let reply = timeout(READ_TIME, line.read()).await.map_err(|_| KeysFault::Late)?;
                let reply = reply.map_err(|error| KeysFault::Exchange(Box::new(error)))?;
                if reply.status == 200 { Ok(reply.body.into()) } else { Err(KeysFault::Status(reply.status)) }
            }
            Place::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&path)).await;
                read.unwrap_or_else(|error| Err(KeysFault::File(io::Error::other(error))))
            }
        }
    }

    fn take(&self, bytes: &[u8], at_us: u64) -> Result<(), KeysFault> {
        let digest = sha256(bytes);
        let mut state = self.lock();
        if let Some(current) = state.current.as_mut().filter(|current| current.digest == digest) {
            current.read_us = at_us;
        } else {
            let set = KeySet::read(bytes).map_err(|error| KeysFault::Set(Box::new(error)))?;
            let (keys, passed_over) = (set.len(), set.passed_over);
            tracing::info!(issuer = self.issuer, keys, passed_over, "keys of an issuer of tokens were read");
            let generation = state.current.as_ref().map_or(0, |current| current.generation.wrapping_add(1));
            state.current = Some(Current { set: Arc::new(set), generation, digest, read_us: at_us });
        }
        state.came = true;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, KeysFault> {
    let file = File::open(path).map_err(KeysFault::File)?;
    if !file.metadata().map_err(KeysFault::File)?.is_file() {
        return Err(KeysFault::File(io::Error::other("it is no regular file")));
    }
    let mut bytes = Vec::new();
    let bound = u64::try_from(ANSWER_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(bound).read_to_end(&mut bytes).map_err(KeysFault::File)?;
    if bytes.len() > ANSWER_MAX { Err(KeysFault::Long) } else { Ok(bytes) }
}
