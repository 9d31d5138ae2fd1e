//! Hearing what a server of the stateless revision says by itself (MCP 2026-07-28, subscriptions): that its lists have
//! changed. One of the revisions before it says so unasked, on its pipe or the stream of its session.

use core::future::pending;
use core::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::client::{AskError, Client};

/// For how long one subscription is asked for; then it is asked for anew. Less than an exchange by HTTP may take.
const LISTENS: Duration = Duration::from_mins(10);

/// How long it is waited before one that has ended is asked for again: at first, and at most.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const AGAIN_AFTER_MAX: Duration = Duration::from_mins(1);

/// One that has lived for less is asked for ever more slowly.
const LIVED: Duration = Duration::from_secs(5);

/// The code of JSON-RPC for a method that is not there.
pub(super) const UNKNOWN_METHOD: i64 = -32_601;

/// What a server says that it tells of, and how a subscription names it.
const NEWS: [(&str, &str); 3] =
    [("tools", "toolsListChanged"), ("resources", "resourcesListChanged"), ("prompts", "promptsListChanged")];

impl Client {
    /// Listens for as long as this is polled, where the server says that it tells of anything.
    pub(super) async fn listen(&self) {
        let wanted: Map<String, Value> = NEWS
            .into_iter()
            .filter(|(capability, _)| self.hello().tells_of(capability))
            .map(|(_, news)| (news.to_owned(), true.into()))
            .collect();
        if !self.is_stateless() || wanted.is_empty() {
            return pending().await;
        }
        let mut wait = AGAIN_AFTER;
        loop {
            let since = Instant::now();
            let asked = json!({"notifications": wanted});
            let is_refused = match self.ask("subscriptions/listen", asked, LISTENS).await {
                // It has said that it tells, and cannot: its lists are asked for now and then.
                Err(AskError::Rpc(error) | AskError::Refused(error)) if error.code == UNKNOWN_METHOD => {
                    return pending().await;
                }
                // Too many listen, or whoever asks may not just now.
                Err(AskError::Rpc(_) | AskError::Refused(_)) => true,
                Ok(_) | Err(AskError::NotSent(_) | AskError::Lost(_) | AskError::Slow) => false,
            };
            let is_short = is_refused || since.elapsed() < LIVED;
            wait = if is_short { (wait * 2).min(AGAIN_AFTER_MAX) } else { AGAIN_AFTER };
            sleep(wait).await;
        }
    }
}
