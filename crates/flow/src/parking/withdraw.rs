//! What a caller takes back of its own: a run that waits is ended, and one that was started meanwhile is told to end.
//!
//! What was taken back keeps what it has reserved of limits, and for a while its place: who asks and takes back again and again
//! has no more runs than whoever only asks.

use core::time::Duration;
use std::sync::Arc;

use execgate_model::{RunId, Stage};

use super::Closing;
use crate::Refusal;
use crate::corridor::{Corridor, Walk};
use crate::witness::Render;

/// How long whoever takes a run back waits for its end. It is ended all the same where that takes longer.
const END_TIME: Duration = Duration::from_secs(5);

/// What came of taking a run back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawn {
    /// It is told to end, or has ended: what it came to its receipt says.
    Reached,
    /// It runs where it cannot be told so: in another process, or as one that never waited.
    TooLate,
}

impl Corridor {
    /// Ends a run that its caller has taken back: one that waits never starts, and one that this process has started is told
    /// to end, as by a caller that hangs up.
    ///
    /// # Errors
    /// [`Refusal::Store`] if the record cannot be read or written.
    pub async fn withdraw(&self, run: RunId, render: &Arc<dyn Render>) -> Result<Withdrawn, Refusal> {
        let (walk, presence) = self.set_out(Arc::clone(render))?;
        // It goes on beside whoever asks: a start that is taken back makes the run wait again.
        let ends = tokio::spawn(async move {
            let withdrawn = walk.withdraw(run).await;
            drop(presence);
            withdrawn
        });
        match tokio::time::timeout(END_TIME, ends).await {
            Ok(Ok(withdrawn)) => withdrawn,
            Ok(Err(fault)) => Err(Refusal::Receipt { detail: fault.to_string() }),
            // Only what was told to end takes so long.
            Err(_) => Ok(Withdrawn::Reached),
        }
    }
}

impl Walk {
    async fn withdraw(self, run: RunId) -> Result<Withdrawn, Refusal> {
        let store = &self.rooms.execute.store;
        loop {
            // Before the record is read: what it says to be running is known here from before that.
            let reached = self.yard.reach(run);
            match (store.parked(run).await?, reached) {
                (Some(parked), _) => {
                    if self.refuse(&parked, &Closing::Withdrawn, None).await?.is_some() {
                        return Ok(Withdrawn::Reached);
                    }
                }
                (None, Some(mut over)) => drop(over.changed().await),
                (None, None) => {
                    let record = store.run(run).await?;
                    if record.is_none_or(|record| record.stage != Stage::Execute) {
                        return Ok(Withdrawn::Reached);
                    }
                    // It may have been started since it was looked for.
                    if self.yard.reach(run).is_none() {
                        return Ok(Withdrawn::TooLate);
                    }
                }
            }
        }
    }
}
