//! Witnesses: others that see the log grow, and say so (C2SP tlog-witness). Beside the answers: no run waits for one.
//!
//! What a witness has cosigned is outside of the record. So one that has seen more than the record, or another story,
//! stops live runs as a checkpoint beside the data directory does, at the start and at any time later. A witness that
//! cannot be reached stops nothing, unless the operator says how many have to agree before anything runs.

use core::error::Error;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use execgate_model::BoxFuture;
use execgate_receipt::{
    Checkpoint, Consistency, ReadingError, SignedNote, VerifierKey, cosignatures, empty_root,
};
use execgate_store::{LogCosigned, LogHead, StoreError};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Log, LogError, LogFault, Seen, SeenNote};

/// How long a witness is left alone after it has cosigned, and after it first could not be asked.
const EVERY: Duration = Duration::from_secs(1);

/// The longest time between two tries of a witness that cannot be asked.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How often one is asked in a row, where another process of the same record is faster.
const TRIES: u32 = 4;

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
    log: Arc<Log>,
    lines: Vec<Arc<dyn WitnessLine>>,
    standing: Mutex<Vec<WitnessStanding>>,
}

/// What came of asking one.
#[derive(Debug)]
enum Asked {
    /// It has cosigned the newest checkpoint.
    Cosigned,
    /// It has seen nothing of this log.
    Unseen,
    /// There is nothing to cosign yet.
    Nothing,
    /// It did not, for a reason that may pass.
    Not(String),
    /// It has seen another log.
    Accuses(LogFault),
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
            Ok(WitnessAnswer::Stale(mut seen)) => self.ask_from(line, &mut seen).await?,
            Ok(WitnessAnswer::Cosigned(_)) => Asked::Unseen,
            Ok(WitnessAnswer::Refused(status)) => refused(status),
            Err(error) => Asked::Not(told(&*error)),
        })
    }

    /// Asks one of them for a cosignature whenever the log has grown, for as long as it is awaited.
    pub async fn tend(&self, at: usize) {
        let Some(line) = self.lines.get(at) else { return };
        let mut signed = self.log.signed.subscribe();
        let (mut seen, mut name) = (0, None);
        loop {
            signed.mark_unchanged();
            // Under a new name the log begins anew for a witness.
            let named =
                self.log.standing().await.ok().and_then(|standing| standing.epoch).map(|epoch| epoch.number);
            if name.replace(named) != Some(named) {
                seen = 0;
            }
            let asked = match self.log.fault() {
                Some(_) => Ok(Asked::Nothing),
                None => self.ask_from(line, &mut seen).await,
            };
            let cosigned = matches!(asked, Ok(Asked::Cosigned));
            match asked {
                Ok(asked) => {
                    if let Err(error) = self.take(at, asked).await {
                        tracing::error!(
                            error = &error as &dyn Error,
                            "what a witness said could not be kept"
                        );
                    }
                }
                Err(LogError::Store(StoreError::Closed)) => return,
                Err(error) => {
                    tracing::error!(error = &error as &dyn Error, "a witness could not be asked");
                }
            }
            sleep(self.pause(at)).await;
            if cosigned && signed.changed().await.is_err() {
                return;
            }
        }
    }

    fn pause(&self, at: usize) -> Duration {
        let failures = self.kept().get(at).map_or(0, |standing| standing.failures);
        EVERY.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST_PAUSE)
    }

    fn kept(&self) -> MutexGuard<'_, Vec<WitnessStanding>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows one the newest checkpoint, from what it has seen last.
    async fn ask_from(&self, line: &Arc<dyn WitnessLine>, seen: &mut u64) -> Result<Asked, LogError> {
        let place = format!("the witness {}", line.key().name());
        for _ in 0..TRIES {
            let request = match self.log.consistency(*seen).await {
                Ok(Some(request)) => request,
                Ok(None) if *seen == 0 => return Ok(Asked::Nothing),
                // What it has seen was signed before it was shown, so that a record without it has lost it.
                Ok(None) => return Ok(Asked::Accuses(LogFault::Behind { place, seen: *seen, leaves: 0 })),
                Err(LogError::Reading(ReadingError::Beyond { size, .. })) => {
                    return Ok(Asked::Accuses(LogFault::Behind { place, seen: *seen, leaves: size }));
                }
                Err(error) => return Err(error),
            };
            match line.submit(request.to_string()).await {
                Ok(WitnessAnswer::Cosigned(lines)) => return self.keep(line, &request, &lines, seen).await,
                Ok(WitnessAnswer::Stale(size)) if size != *seen => *seen = size,
                Ok(WitnessAnswer::Stale(_)) => return Ok(Asked::Not("it contradicts itself".to_owned())),
                Ok(WitnessAnswer::Refused(409 | 422)) => {
                    return Ok(Asked::Accuses(LogFault::Forked { place, size: *seen }));
                }
                Ok(WitnessAnswer::Refused(status)) => return Ok(refused(status)),
                Err(error) => return Ok(Asked::Not(told(&*error))),
            }
        }
        Ok(Asked::Not("others were faster".to_owned()))
    }

    /// Keeps a cosignature with its checkpoint, where it is one.
    async fn keep(
        &self,
        line: &Arc<dyn WitnessLine>,
        request: &Consistency,
        lines: &str,
        seen: &mut u64,
    ) -> Result<Asked, LogError> {
        let text = request.newer.unverified_text();
        let Ok(found) = cosignatures(text, lines, core::slice::from_ref(line.key())) else {
            return Ok(Asked::Not("what it answered is no cosignature of its key".to_owned()));
        };
        let Ok(head) = text.parse::<Checkpoint>() else { return Ok(Asked::Nothing) };
        let signatures = request.newer.signatures().iter().cloned().chain(found).collect();
        let note = SignedNote::new(text.to_owned(), signatures)?;
        *seen = head.size;
        let epoch = self.log.standing().await?.epoch.filter(|epoch| epoch.origin == head.origin);
        let Some(epoch) = epoch else { return Ok(Asked::Nothing) };
        let cosigned = LogCosigned {
            witness: line.key().name().to_string(),
            head: LogHead { epoch: epoch.number, size: head.size, root: head.root },
            note: note.to_string(),
        };
        self.log.parts.store.log_keep_cosigned(cosigned).await?;
        let known = core::slice::from_ref(line.key());
        let unix_s = note.verify(known).ok().and_then(|(_, attested)| attested.first()?.unix_s);
        let mut kept = self.kept();
        if let Some(standing) = kept.iter_mut().find(|standing| standing.name == line.key().name().as_str()) {
            standing.cosigned = unix_s.map(|unix_s| (head.size, unix_s));
        }
        Ok(Asked::Cosigned)
    }

    /// Takes note of what came of asking.
    async fn take(&self, at: usize, asked: Asked) -> Result<(), LogError> {
        let (name, failures) = {
            let mut kept = self.kept();
            let Some(standing) = kept.get_mut(at) else { return Ok(()) };
            standing.failures = match &asked {
                Asked::Cosigned | Asked::Unseen | Asked::Nothing => 0,
                Asked::Not(_) | Asked::Accuses(_) => standing.failures.saturating_add(1),
            };
            match &asked {
                Asked::Cosigned | Asked::Unseen => standing.agrees = true,
                Asked::Accuses(_) => standing.agrees = false,
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
            Asked::Cosigned | Asked::Unseen | Asked::Nothing => {}
            Asked::Not(why) => {
                tracing::warn!(witness = name, failures, why, "a witness has not cosigned the log");
            }
            Asked::Accuses(fault) => self.log.accuse(fault).await?,
        }
        Ok(())
    }
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
        for line in &self.parts.witnesses {
            let told = line.submit(self.request_of(origin)?).await;
            // What it has not seen it is told of by this, and a log without entries binds nobody.
            if matches!(told, Ok(WitnessAnswer::Stale(1..) | WitnessAnswer::Refused(409 | 422))) {
                return Ok(Some(format!("the witness {}", line.key().name())));
            }
        }
        Ok(None)
    }

    /// Stops live runs for what somebody else has seen.
    async fn accuse(&self, fault: LogFault) -> Result<(), LogError> {
        let mut working = self.working.lock().await;
        if let Some(epoch) = self.standing().await?.epoch {
            self.stop(&mut working, &epoch, fault);
        }
        Ok(())
    }
}
