//! What lies idle in the sandboxes, for the metrics: interpreters that wait for runs, and the memory that this costs. Asked of
//! the helpers, and only where somebody reads them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use execgate_model::BoxFuture;
use execgate_sandbox::Waiting;
use execgate_tool::Profiles;
use execgate_web::{Looker, Reading, ReadingKind};
use tokio::task::spawn_blocking;

/// How long a helper may take to say it: it answers at once where it is not busy with a jail.
const PATIENCE: Duration = Duration::from_secs(1);

/// What lies idle.
pub(crate) struct IdleGauge {
    profiles: Profiles,
    /// By profile; those that did not say are not among them.
    seen: Mutex<Vec<(String, Waiting)>>,
}

impl IdleGauge {
    /// That of these sandboxes.
    pub(crate) fn new(profiles: Profiles) -> Self {
        Self { profiles, seen: Mutex::default() }
    }

    async fn renew(&self) {
        let profiles = self.profiles.clone();
        let told = spawn_blocking(move || {
            let waiting = profiles.iter().map(|(name, sandbox)| (name.to_owned(), sandbox.waiting(PATIENCE)));
            waiting.filter_map(|(name, waiting)| Some((name, waiting.ok()?))).collect()
        });
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = told.await.unwrap_or_default();
    }
}

impl Looker for IdleGauge {
    fn look(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.renew())
    }

    fn readings(&self) -> Vec<Reading> {
        let gauge = |name, help| Reading::new(name, help, ReadingKind::Gauge);
        let mut waiting = gauge("sandbox_waiting", "Interpreters that wait for runs");
        let mut forking = gauge("sandbox_forking", "Interpreters that are there to be forked");
        let mut bytes = gauge("sandbox_idle_bytes", "What both hold in memory");
        for (name, seen) in self.seen.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let profile = || [("profile", name.clone())];
            waiting = waiting.with(profile(), seen.interpreters);
            forking = forking.with(profile(), seen.forking);
            bytes = bytes.with(profile(), seen.bytes);
        }
        vec![waiting, forking, bytes]
    }
}
