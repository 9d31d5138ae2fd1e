//! Tells the operator's own service that a run waits for an approval: its id and digest, and nothing of what it asks for.
//!
//! As Standard Webhooks has it (standardwebhooks.com): `webhook-id`, `webhook-timestamp`, and `webhook-signature`, which is
//! `v1,` and the base64 of HMAC-SHA256 under the secret over `id.timestamp.body`. Whoever takes it checks that first.

use core::time::Duration;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use execgate_flow::notice::Bell;
use execgate_flow::parking::Waiting;
use execgate_model::Clock;
use execgate_receipt::Timestamp;
use execgate_receipt::approval::ActionDigest;
use execgate_tool::{Courier, Message};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::config::Webhook;

/// Messages under way, those that wait for their next try among them. One more is dropped: approvers find what waits by
/// asking, too.
const UNDER_WAY_MAX: usize = 256;

/// How long one try may take.
const TRIES_WITHIN: Duration = Duration::from_secs(10);

/// How long to wait before each further try: in all about a quarter of an hour, by when people look for themselves.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
];

/// What is read of an answer, of which only the status counts.
const ANSWER_BYTES_MAX: usize = 64 << 10;

const SECOND_MS: u64 = 1_000;

/// Rings at the operator's service, beside the answers.
pub(crate) struct HttpBell {
    inner: Arc<Inner>,
}

struct Inner {
    hook: Webhook,
    courier: Courier,
    clock: Arc<dyn Clock>,
    places: Arc<Semaphore>,
}

impl HttpBell {
    pub(crate) fn new(hook: Webhook, clock: Arc<dyn Clock>) -> Self {
        let courier = Courier::new(hook.reach);
        let places = Arc::new(Semaphore::new(UNDER_WAY_MAX));
        Self { inner: Arc::new(Inner { hook, courier, clock, places }) }
    }
}

impl Bell for HttpBell {
    fn rings(&self, waiting: &Waiting) {
        let Ok(place) = Arc::clone(&self.inner.places).try_acquire_owned() else {
            tracing::warn!(run = %waiting.run, "nobody is told of a parked run: too many messages are under way");
            return;
        };
        let (inner, run) = (Arc::clone(&self.inner), waiting.run);
        let body = json!({
            "type": "approval.pending",
            "approval_id": run,
            "action_digest": ActionDigest(waiting.action_digest).to_string(),
            "expires_at": Timestamp::new(waiting.expires).ok(),
        });
        tokio::spawn(async move {
            // What has been told of nothing by its end is asked for by people.
            if !inner.tell(&run.to_string(), &body.to_string()).await {
                tracing::error!(%run, "the webhook could not be told of a parked run");
            }
            drop(place);
        });
    }
}

impl Inner {
    async fn tell(&self, id: &str, body: &str) -> bool {
        let mut pauses = PAUSES.iter();
        loop {
            match self.courier.deliver(&self.hook.url, self.message(id, body)).await {
                Ok(delivery) if (200..300).contains(&delivery.status) => return true,
                Ok(delivery) => {
                    tracing::warn!(run = id, status = delivery.status, "the webhook was not taken")
                }
                Err(error) => tracing::warn!(run = id, %error, "the webhook could not be delivered"),
            }
            let Some(pause) = pauses.next() else { return false };
            sleep(*pause).await;
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
            answer_bytes_max: ANSWER_BYTES_MAX,
        }
    }
}
