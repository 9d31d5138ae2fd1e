//! Rounds of witnesses: all of them are shown one head at once, so that its cosignatures come together, and a receipt that
//! wants several waits for the slowest of them and not for their sum.

use std::sync::Arc;

use execgate_store::{LogCosigned, LogHead, StoreError};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::LogError;
use super::cosign::{Asked, EVERY, Known, Target, Witnesses};

/// One witness between two questions.
#[derive(Debug, Clone)]
struct Idle {
    known: Known,
    /// It is left alone until then.
    until: Instant,
}

/// What came of asking one, in a task of its own.
type Came = (usize, Known, Result<Asked, LogError>);

/// Those that are asked, and those that are not.
struct Rounds {
    idle: Vec<Option<Idle>>,
    asking: JoinSet<Came>,
    /// Cosignatures of the head of this round that are not kept yet.
    together: Vec<LogCosigned>,
    head: Option<LogHead>,
}

/// The record is closed: nothing more is to be asked.
struct Over;

impl Witnesses {
    /// Asks all of them for cosignatures whenever the log has grown, for as long as it is awaited. One that is slow or away
    /// keeps the others from nothing, but where as many have to cosign one head as there are.
    pub async fn tend(self: Arc<Self>) {
        let mut signed = self.log.signed.subscribe();
        let now = Instant::now();
        let idle = self.lines.iter().map(|_| Some(Idle { known: Known::default(), until: now }));
        let mut rounds =
            Rounds { idle: idle.collect(), asking: JoinSet::new(), together: Vec::new(), head: None };
        loop {
            signed.mark_unchanged();
            if self.round(&mut rounds).await.is_err() {
                return;
            }
            let rested = Instant::now() + EVERY;
            // Then until the log has grown, or somebody is to be asked again.
            let mut wake = rounds.wake(rested);
            let mut grown = false;
            while !(grown && Instant::now() >= rested) {
                let next = if grown { Some(rested) } else { wake };
                tokio::select! {
                    Some(came) = rounds.asking.join_next() => {
                        let Ok(came) = came else { continue };
                        if self.take_up(&mut rounds, came).await.is_err() {
                            return;
                        }
                        wake = rounds.wake(rested);
                    }
                    changed = signed.changed(), if !grown => match changed {
                        Ok(()) => grown = true,
                        Err(_closed) => return,
                    },
                    () = sleep_until(next.unwrap_or(rested)), if next.is_some() => break,
                }
            }
        }
    }

    /// Shows the newest head to all who are idle, and waits until enough have cosigned it, or all have answered.
    async fn round(self: &Arc<Self>, rounds: &mut Rounds) -> Result<(), Over> {
        let target = match self.log.fault() {
            Some(_) => None,
            None => self.log.target().await.or_else(|error| told(&error).map(|()| None))?,
        };
        let Some(target) = target else { return Ok(()) };
        rounds.begin(target.head);
        let mut asked = 0;
        for at in 0..self.lines.len() {
            if let Some(known) = rounds.called(at, target.head) {
                rounds.asking.spawn(Arc::clone(self).ask_one(at, known, target.clone()));
                asked += 1;
            }
        }
        let enough = self.log.parts.required.max(1);
        while asked > 0 && rounds.together.len() < enough {
            let Some(came) = rounds.asking.join_next().await else { break };
            let Ok(came) = came else { continue };
            // One that was asked in a round before may come in between; then this one waits for one less.
            asked -= 1;
            self.take_up(rounds, came).await?;
        }
        Ok(())
    }

    async fn ask_one(self: Arc<Self>, at: usize, mut known: Known, target: Target) -> Came {
        let asked = match self.lines.get(at) {
            Some(line) => self.ask_for(line, &mut known, &target).await,
            None => Ok(Asked::Nothing),
        };
        (at, known, asked)
    }

    /// Takes note of what one has answered. Cosignatures are kept once as many are there as a proof needs, in one step: a
    /// head that has enough never gives way to one that has too few.
    async fn take_up(&self, rounds: &mut Rounds, came: Came) -> Result<(), Over> {
        let (at, known, asked) = came;
        let done = async {
            let asked = asked?;
            let store = &self.log.parts.store;
            if let Asked::Cosigned(cosigned) = &asked {
                if rounds.head == Some(cosigned.head) {
                    rounds.together.push((**cosigned).clone());
                } else {
                    // Of a round before, which had enough without it.
                    store.log_keep_cosigned(vec![(**cosigned).clone()]).await?;
                }
            }
            self.take(at, asked).await?;
            if rounds.together.len() >= self.log.parts.required && !rounds.together.is_empty() {
                store.log_keep_cosigned(rounds.together.clone()).await?;
            }
            Ok::<_, LogError>(())
        };
        let done = done.await;
        let until = Instant::now() + self.pause(at);
        if let Some(place) = rounds.idle.get_mut(at) {
            *place = Some(Idle { known, until });
        }
        done.or_else(|error| told(&error))
    }
}

/// Tells of a fault of the moment; a closed record is the end.
fn told(error: &LogError) -> Result<(), Over> {
    if matches!(error, LogError::Store(StoreError::Closed)) {
        return Err(Over);
    }
    tracing::error!(error = error as &dyn core::error::Error, "the witnesses could not be asked");
    Ok(())
}

impl Rounds {
    fn begin(&mut self, head: LogHead) {
        if self.head.replace(head) != Some(head) {
            self.together.clear();
        }
    }

    /// Takes one that is to be asked for a head now.
    fn called(&mut self, at: usize, head: LogHead) -> Option<Known> {
        let place = self.idle.get_mut(at)?;
        let is_due = |idle: &Idle| idle.until <= Instant::now() && idle.known.cosigned != Some(head);
        place.take_if(|idle| is_due(idle)).map(|idle| idle.known)
    }

    /// When somebody is to be asked again, though the log has not grown; not before `rested`.
    fn wake(&self, rested: Instant) -> Option<Instant> {
        let behind = self.idle.iter().flatten().filter(|idle| idle.known.cosigned != self.head);
        behind.map(|idle| idle.until.max(rested)).min()
    }
}
