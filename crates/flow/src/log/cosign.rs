//! Witnesses: others that see the log grow, and say so (C2SP tlog-witness). Beside the answers: no run waits for one.
//!
//! What a witness has cosigned is outside of the record. So one that has seen more than the record, or another story,
//! stops live runs as a checkpoint beside the data directory does, at the start and at any time later. A witness that
//! cannot be reached stops nothing, unless the operator says how many have to agree before anything runs.

use core::error::Error;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use execgate_model::BoxFuture;
use execgate_receipt::{Checkpoint, Consistency, Reading, SignedNote, VerifierKey, cosignatures, empty_root};
use execgate_store::{LogCosigned, LogHead};
use tokio::task::JoinSet;

use super::{Log, LogError, LogFault, Seen, SeenNote};

/// How long a witness is left alone after it has cosigned, and after it first could not be asked.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// The longest time between two tries of a witness that cannot be asked.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How often one is asked in a row, where another process of the same record is faster.
const TRIES: u32 = 4;

/// A signed head, as it is shown to all witnesses of a round.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) head: LogHead,
    pub(super) note: SignedNote,
}

/// What is known of one witness from one question to the next.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Under which name of the log; under a new one it begins anew.
    pub(super) epoch: u64,
    /// How many entries it has seen.
    pub(super) seen: u64,
    /// The head that it has cosigned last.
    pub(super) cosigned: Option<LogHead>,
}

/// What a witness answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WitnessAnswer {
    /// Lines of signatures.
    Cosigned(String),
    /// It has cosigned so many entries of this log.
    Stale(u64),
    /// Something else; 409 and 422 say that the log was forked.
    Refused(u16),
}

/// The way to a witness.
pub trait WitnessLine: Send + Sync {
    /// Its key, under its name.
    fn key(&self) -> &VerifierKey;

    /// Sends the request of `add-checkpoint`. It bounds its own time.
    fn submit(&self, request: String) -> BoxFuture<'_, Result<WitnessAnswer, Box<dyn Error + Send + Sync>>>;
}

/// How one witness stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WitnessStanding {
    /// Its name.
    pub name: String,
    /// How many entries the last checkpoint had that it cosigned, and when, by its own clock in seconds since 1970.
    pub cosigned: Option<(u64, u64)>,
    /// How many times in a row it has not cosigned.
    pub failures: u32,
    /// Whether it has agreed with the record since this process started.
    pub agrees: bool,
}

/// The witnesses of one log.
pub struct Witnesses {
    pub(super) log: Arc<Log>,
    pub(super) lines: Vec<Arc<dyn WitnessLine>>,
    standing: Mutex<Vec<WitnessStanding>>,
}

/// What came of asking one.
#[derive(Debug)]
pub(super) enum Asked {
    /// It has cosigned the checkpoint that it was shown.
    Cosigned(Box<LogCosigned>),
    /// It has seen nothing of this log.
    Unseen,
    /// There is nothing to cosign yet.
    Nothing,
    /// It did not, for a reason that may pass.
    Not(String),
    /// It has seen another log, under the name that the log had when it was asked.
    Accuses {
        /// What it has seen.
        fault: LogFault,
        /// The number of that name.
        epoch: u64,
    },
}

impl Witnesses {
    /// The witnesses of a log.
    #[must_use]
    pub fn new(log: Arc<Log>) -> Self {
        let lines = log.parts.witnesses.clone();
        let named = |line: &Arc<dyn WitnessLine>| WitnessStanding {
            name: line.key().name().to_string(),
            ..WitnessStanding::default()
        };
        let standing = Mutex::new(lines.iter().map(named).collect());
        Self { log, lines, standing }
    }

    /// How each stands.
    #[must_use]
    pub fn standing(&self) -> Vec<WitnessStanding> {
        self.kept().clone()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Compares the record with what each witness has seen. To be awaited before anything runs, once the log is open.
    ///
    /// # Errors
    /// A record that failed.
    pub async fn compare(self: &Arc<Self>) -> Result<(), LogError> {
        if self.log.fault().is_some() {
            return Ok(());
        }
        // All at once: those that do not answer cost the start one patience together.
        let mut asking = JoinSet::new();
        for (at, line) in self.lines.iter().cloned().enumerate() {
            let witnesses = Arc::clone(self);
            asking.spawn(async move { (at, witnesses.ask_first(&line).await) });
        }
        while let Some(asked) = asking.join_next().await {
            if let Ok((at, asked)) = asked {
                self.take(at, asked?).await?;
            }
        }
        Ok(())
    }

    /// Asks one what it has seen, and shows it the log from there.
    async fn ask_first(&self, line: &Arc<dyn WitnessLine>) -> Result<Asked, LogError> {
        let Some(question) = self.log.empty_request().await? else { return Ok(Asked::Nothing) };
        Ok(match line.submit(question).await {
            Ok(WitnessAnswer::Stale(seen)) => {
                let Some(target) = self.log.target().await? else { return self.log.lost(line, seen).await };
                let mut known = Known { epoch: target.head.epoch, seen, cosigned: None };
                let asked = self.ask_for(line, &mut known, &target).await?;
                // What several have to have cosigned is kept together, in a round.
                if let Asked::Cosigned(cosigned) = &asked
                    && self.log.parts.required <= 1
                {
                    self.log.parts.store.log_keep_cosigned(vec![(**cosigned).clone()]).await?;
                }
                asked
            }
            Ok(WitnessAnswer::Cosigned(_)) => Asked::Unseen,
            Ok(WitnessAnswer::Refused(status)) => refused(status),
            Err(error) => Asked::Not(told(&*error)),
        })
    }

    pub(super) fn pause(&self, at: usize) -> Duration {
        let failures = self.kept().get(at).map_or(0, |standing| standing.failures);
        EVERY.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST_PAUSE)
    }

    pub(super) fn kept(&self) -> MutexGuard<'_, Vec<WitnessStanding>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows one a checkpoint, from what it has seen last.
    pub(super) async fn ask_for(
        &self,
        line: &Arc<dyn WitnessLine>,
        known: &mut Known,
        target: &Target,
    ) -> Result<Asked, LogError> {
        let epoch = target.head.epoch;
        if known.epoch != epoch {
            *known = Known { epoch, ..Known::default() };
        }
        for _ in 0..TRIES {
            if known.seen > target.head.size {
                // What it has seen was signed before it was shown, by whichever process.
                return self.log.lost(line, known.seen).await;
            }
            let request = self.log.consistency_to(target, known.seen).await?;
            match line.submit(request.to_string()).await {
                Ok(WitnessAnswer::Cosigned(lines)) => return self.cosigned(line, target, &lines, known),
                Ok(WitnessAnswer::Stale(size)) if size != known.seen => known.seen = size,
                Ok(WitnessAnswer::Stale(_)) => return Ok(Asked::Not("it contradicts itself".to_owned())),
                Ok(WitnessAnswer::Refused(409 | 422)) => {
                    let fault = LogFault::Forked { place: place(line), size: known.seen };
                    return Ok(Asked::Accuses { fault, epoch });
                }
                Ok(WitnessAnswer::Refused(status)) => return Ok(refused(status)),
                Err(error) => return Ok(Asked::Not(told(&*error))),
            }
        }
        Ok(Asked::Not("others were faster".to_owned()))
    }

    /// A cosignature with its checkpoint, where it is one.
    fn cosigned(
        &self,
        line: &Arc<dyn WitnessLine>,
        target: &Target,
        lines: &str,
        known: &mut Known,
    ) -> Result<Asked, LogError> {
        let text = target.note.unverified_text();
        let key = core::slice::from_ref(line.key());
        let Ok(found) = cosignatures(text, lines, key) else {
            return Ok(Asked::Not("what it answered is no cosignature of its key".to_owned()));
        };
        let signatures = target.note.signatures().iter().cloned().chain(found).collect();
        let note = SignedNote::new(text.to_owned(), signatures)?;
        (known.seen, known.cosigned) = (target.head.size, Some(target.head));
        let unix_s = note.verify(key).ok().and_then(|(_, attested)| attested.first()?.unix_s);
        let mut kept = self.kept();
        if let Some(standing) = kept.iter_mut().find(|standing| standing.name == line.key().name().as_str()) {
            standing.cosigned = unix_s.map(|unix_s| (target.head.size, unix_s));
        }
        let witness = line.key().name().to_string();
        Ok(Asked::Cosigned(Box::new(LogCosigned { witness, head: target.head, note: note.to_string() })))
    }

    /// Takes note of what came of asking.
    pub(super) async fn take(&self, at: usize, asked: Asked) -> Result<(), LogError> {
        let (name, failures) = {
            let mut kept = self.kept();
            let Some(standing) = kept.get_mut(at) else { return Ok(()) };
            standing.failures = match &asked {
                Asked::Cosigned(_) | Asked::Unseen | Asked::Nothing => 0,
                Asked::Not(_) | Asked::Accuses { .. } => standing.failures.saturating_add(1),
            };
            match &asked {
                Asked::Cosigned(_) | Asked::Unseen => standing.agrees = true,
                Asked::Accuses { .. } => standing.agrees = false,
                Asked::Nothing | Asked::Not(_) => {}
            }
            (standing.name.clone(), standing.failures)
        };
        let agree = self.kept().iter().filter(|standing| standing.agrees).count();
        if self.log.is_unwitnessed() && agree >= self.log.parts.required {
            tracing::info!(agree, "enough witnesses agree with the log");
            self.log.parts.gate.await_witnesses(false);
        }
        match asked {
            Asked::Cosigned(_) | Asked::Unseen | Asked::Nothing => {}
            Asked::Not(why) => {
                tracing::warn!(witness = name, failures, why, "a witness has not cosigned the log");
            }
            Asked::Accuses { fault, epoch } => self.log.accuse(fault, epoch).await?,
        }
        Ok(())
    }
}

/// What a witness is called in what is told.
fn place(line: &Arc<dyn WitnessLine>) -> String {
    format!("the witness {}", line.key().name())
}

fn refused(status: u16) -> Asked {
    Asked::Not(match status {
        404 => "it was not told of this log: give it the log's verifier key".to_owned(),
        403 => "it does not know the key that signs this log: give it the new verifier key".to_owned(),
        _ => format!("it answered with status {status}"),
    })
}

/// A fault with its causes, in one line.
fn told(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl Log {
    /// A request that shows a witness the log without entries, which is the beginning of every log: whoever has seen
    /// more says how much. None before the log has a name.
    async fn empty_request(&self) -> Result<Option<String>, LogError> {
        let epoch = self.standing().await?.epoch;
        epoch.map(|epoch| self.request_of(&epoch.origin)).transpose()
    }

    fn request_of(&self, origin: &str) -> Result<String, LogError> {
        let newer = self.seal(origin, 0, empty_root())?;
        Ok(Consistency { older: 0, path: Vec::new(), newer }.to_string())
    }

    /// Where a name of the log was seen that the record does not have: in a checkpoint or among the keys outside of it, or
    /// by a witness. One that cannot be asked is passed over.
    ///
    /// # Errors
    /// [`LogError::Note`] where it is no name.
    pub(crate) async fn seen_name(&self, origin: &str) -> Result<Option<String>, LogError> {
        for Seen { place, note } in self.parts.outside.read().await {
            let SeenNote::Text(text) = note else { continue };
            let head = SignedNote::parse(text.as_bytes()).ok();
            let head = head.and_then(|note| note.unverified_text().parse::<Checkpoint>().ok());
            if head.is_some_and(|head| head.origin == origin) {
                return Ok(Some(place));
            }
        }
        if let Some((place, _)) =
            self.parts.outside.names().await.into_iter().find(|(_, name)| name == origin)
        {
            return Ok(Some(place));
        }
        // All at once: those that do not answer cost one patience together.
        let mut asking = JoinSet::new();
        for line in &self.parts.witnesses {
            let line = Arc::clone(line);
            let request = self.request_of(origin)?;
            asking.spawn(async move {
                let told = line.submit(request).await;
                // What it has not seen it is told of by this, and a log without entries binds nobody.
                let knows = matches!(told, Ok(WitnessAnswer::Stale(1..) | WitnessAnswer::Refused(409 | 422)));
                knows.then(|| place(&line))
            });
        }
        while let Some(asked) = asking.join_next().await {
            if let Ok(Some(place)) = asked {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// The newest signed head, under the name that the log has; none before the first.
    pub(super) async fn target(&self) -> Result<Option<Target>, LogError> {
        let newest = self.parts.store.log_checkpoint().await?;
        let Some((head, note)) = newest.and_then(|newest| Some((newest.head, newest.note?))) else {
            return Ok(None);
        };
        Ok(Some(Target { head, note: SignedNote::parse(note.as_bytes())? }))
    }

    async fn consistency_to(&self, target: &Target, older: u64) -> Result<Consistency, LogError> {
        let path = self.made(&Reading::consistency(older, target.head.size)?).await?;
        Ok(Consistency { older, path, newer: target.note.clone() })
    }

    /// What it means that a witness has seen more entries than it can be shown: the record has lost them, unless it has
    /// them by now, or the log is being named anew. The name that counts is read first.
    async fn lost(&self, line: &Arc<dyn WitnessLine>, seen: u64) -> Result<Asked, LogError> {
        let Some(epoch) = self.standing().await?.epoch else { return Ok(Asked::Nothing) };
        let leaves = match self.target().await? {
            Some(newest) if newest.head.epoch != epoch.number => return Ok(Asked::Nothing),
            Some(newest) => newest.head.size,
            None => 0,
        };
        if leaves >= seen {
            return Ok(Asked::Nothing);
        }
        let fault = LogFault::Behind { place: place(line), seen, leaves };
        Ok(Asked::Accuses { fault, epoch: epoch.number })
    }

    /// Stops live runs for what somebody else has seen, of the log as it is named. What was seen of it under the name before
    /// says nothing against the new one: a log is named anew for that very reason.
    async fn accuse(&self, fault: LogFault, epoch: u64) -> Result<(), LogError> {
        // A name is given with this lock.
        let mut working = self.working.lock().await;
        match self.standing().await?.epoch {
            Some(now) if now.number == epoch => drop(self.stop(&mut working, &now, fault)),
            Some(_) | None => tracing::info!(%fault, "a witness speaks of the log before its new name"),
        }
        Ok(())
    }
}
