//! Tells the operator's own service that a run waits for an approval: its id and digest, and nothing of what it asks for.
//!
//! Who has to be told is read from the record, and noted there once it was: a message outlives every restart. Two processes
//! may both tell; the message has the same id then.
//!
//! As Standard Webhooks has it (standardwebhooks.com): `webhook-id`, `webhook-timestamp`, and `webhook-signature`, which is
//! `v1,` and the base64 of HMAC-SHA256 under the secret over `id.timestamp.body`. Whoever takes it checks that first.

use core::time::Duration;
use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use execgate_flow::notice::{Bell, NoBell};
use execgate_flow::parking::Waiting;
use execgate_model::{Clock, RunId};
use execgate_receipt::Timestamp;
use execgate_receipt::approval::ActionDigest;
use execgate_store::{Store, Untold};
use execgate_tool::{Courier, Message};
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::config::Webhook;

/// Messages under way at once: a service that does not answer must not hold up many.
const UNDER_WAY_MAX: usize = 16;

/// How long one try may take.
const TRIES_WITHIN: Duration = Duration::from_secs(10);

/// How long to wait before each further try; the last again and again, for as long as the run waits.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
];

/// How often the record is asked, beside whenever a run is parked here: other processes park runs, too.
const LOOK_EVERY: Duration = Duration::from_secs(5);

const SECOND_MS: u64 = 1_000;

/// Rings at the operator's service, beside the answers.
pub(crate) struct HttpBell {
    hook: Webhook,
    courier: Courier,
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    rung: Notify,
}

/// Tries at one message that have failed, and when the next one is due.
type Failed = HashMap<RunId, (usize, Instant)>;

impl Bell for HttpBell {
    fn rings(&self, _waiting: &Waiting) {
        self.rung.notify_one();
    }
}

impl HttpBell {
    pub(crate) fn new(hook: Webhook, clock: Arc<dyn Clock>, store: Arc<dyn Store>) -> Self {
        Self { courier: Courier::new(hook.reach), hook, clock, store, rung: Notify::new() }
    }

    /// Who is told of parked runs, where anybody is.
    pub(crate) fn or_none(bell: Option<&Arc<Self>>) -> Arc<dyn Bell> {
        bell.map_or_else(|| Arc::new(NoBell) as Arc<dyn Bell>, |bell| Arc::<Self>::clone(bell))
    }

    /// Tells of every run that waits, until it is told or waits no more.
    pub(crate) async fn ring_forever(self: Arc<Self>) {
        let mut failed = Failed::new();
        loop {
            match self.store.parked_untold(self.clock.now()).await {
                Ok(untold) => self.tell_all(&untold, &mut failed).await,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn Error, "whom to tell of parked runs is not known");
                }
            }
            let next = failed.values().map(|(_, at)| at.saturating_duration_since(Instant::now())).min();
            // Rung or not, it is time then.
            drop(timeout(next.unwrap_or(LOOK_EVERY).min(LOOK_EVERY), self.rung.notified()).await);
        }
    }

    /// One try at every message that is due.
    async fn tell_all(self: &Arc<Self>, untold: &[Untold], failed: &mut Failed) {
        failed.retain(|run, _| untold.iter().any(|untold| untold.run == *run));
        let now = Instant::now();
        let is_due = |untold: &&Untold| failed.get(&untold.run).is_none_or(|(_, at)| *at <= now);
        let due: Vec<Untold> = untold.iter().filter(is_due).copied().collect();
        let mut due = due.into_iter();
        let mut under_way = JoinSet::new();
        loop {
            while under_way.len() < UNDER_WAY_MAX
                && let Some(untold) = due.next()
            {
                let bell = Arc::clone(self);
                under_way.spawn(async move { (untold.run, bell.tell(&untold).await) });
            }
            match under_way.join_next().await {
                None => break,
                Some(Ok((run, true))) => drop(failed.remove(&run)),
                Some(Ok((run, false))) => {
                    let tries = failed.get(&run).map_or(0, |(tries, _)| *tries);
                    let pause = PAUSES.get(tries).or(PAUSES.last()).copied().unwrap_or(LOOK_EVERY);
                    failed.insert(run, (tries.saturating_add(1), Instant::now() + pause));
                }
                Some(Err(fault)) => tracing::error!(%fault, "a message of the webhook broke off"),
            }
        }
    }

    /// One try: whether it was taken, and that is noted.
    async fn tell(&self, untold: &Untold) -> bool {
        let run = untold.run;
        let body = json!({
            "type": "approval.pending",
            "approval_id": run,
            "action_digest": ActionDigest(untold.fingerprint).to_string(),
            "expires_at": Timestamp::new(untold.expires).ok(),
        });
        let message = self.message(&run.to_string(), &body.to_string());
        match self.courier.announce(&self.hook.url, message).await {
            Ok(status) if (200..300).contains(&status) => {}
            Ok(status) => {
                tracing::warn!(%run, status, "the webhook was not taken");
                return false;
            }
            Err(error) => {
                tracing::warn!(%run, %error, "the webhook could not be delivered");
                return false;
            }
        }
        match self.store.note_told(run).await {
            Ok(()) => true,
            Err(error) => {
                let error = &error as &dyn Error;
                tracing::warn!(%run, error, "the webhook was taken, and that could not be noted: it is told again");
                false
            }
        }
    }

    /// The message with a fresh time and signature.
    fn message(&self, id: &str, body: &str) -> Message {
        let at = self.clock.now().0 / SECOND_MS;
        let mac = self.hook.secret.authenticate(format!("{id}.{at}.{body}").as_bytes());
        Message {
            body: Some(body.as_bytes().to_vec()),
            headers: vec![
                ("content-type", "application/json".to_owned()),
                ("webhook-id", id.to_owned()),
                ("webhook-timestamp", at.to_string()),
                ("webhook-signature", format!("v1,{}", STANDARD.encode(mac))),
            ],
            within: TRIES_WITHIN,
            // Of the answer only the status counts.
            answer_bytes_max: 0,
        }
    }
}
