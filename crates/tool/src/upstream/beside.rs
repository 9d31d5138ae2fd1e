//! What a server lists beside its tools, as far as it is known: what names each, and a digest of what is said of it. It is
//! kept so that a caller is told of another list only where what it may see of it is another.

use core::future::pending;
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use execgate_model::Digest;
use serde_json::Value;
use tokio::join;
use tokio::time::{sleep, timeout};

use super::client::Client;
use super::connect::ConnectError;
use super::reading::{Listing, Reading};
use super::server::{LIST_EVERY, Upstream};

/// How long after a server has said that a list has changed it is had: one that says so again and again is not asked as often.
const LIST_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// How long the lists of one kind may take, with all their pages.
const LISTED_WITHIN: Duration = Duration::from_mins(1);

/// How long whoever wants to be told of changes waits until it is known what there is.
const KNOWN_WITHIN: Duration = Duration::from_secs(30);

/// How often what may be had of a server has changed, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    /// The tools that may be called.
    pub tools: u64,
    /// Its resources, and their templates.
    pub resources: u64,
    /// Its prompts.
    pub prompts: u64,
}

impl Changes {
    /// How often that of this has changed.
    #[must_use]
    pub const fn of(self, reading: Reading) -> u64 {
        match reading {
            Reading::Resource => self.resources,
            Reading::Prompt => self.prompts,
        }
    }

    const fn count(&mut self, reading: Reading) {
        match reading {
            Reading::Resource => self.resources += 1,
            Reading::Prompt => self.prompts += 1,
        }
    }
}

/// One that is listed.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// What it is had by: `uri`, or `name`; null where it has none, as a template of resources.
    pub key: Value,
    /// Over all that is said of it.
    pub digest: Digest,
}

/// What is listed.
type All = Option<Arc<[Listed]>>;

/// What is known of it.
#[derive(Default)]
pub(super) struct Beside {
    resources: Mutex<All>,
    prompts: Mutex<All>,
}

impl Beside {
    const fn of(&self, reading: Reading) -> &Mutex<All> {
        match reading {
            Reading::Resource => &self.resources,
            Reading::Prompt => &self.prompts,
        }
    }
}

impl Upstream {
    /// What it lists of this; none where it does not tell of changes, or has not said yet what there is.
    #[must_use]
    pub fn listed(&self, reading: Reading) -> Option<Arc<[Listed]>> {
        self.beside.of(reading).lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it is known what it has beside its tools, where it is connected, and as far as that is soon.
    pub async fn knows_beside(&self) {
        let mut changes = self.changes();
        for reading in Reading::ALL.into_iter().filter(|reading| self.can(*reading)) {
            drop(timeout(KNOWN_WITHIN, changes.wait_for(|changes| changes.of(reading) > 0)).await);
        }
    }

    /// Lists anew what has changed beside its tools, for as long as this is polled.
    pub(super) async fn tend_beside(&self, client: &Client) {
        join!(self.tend_reading(client, Reading::Resource), self.tend_reading(client, Reading::Prompt));
    }

    /// Lists these anew where they have changed, and now and then where it has not said so: who listens may not hear it.
    async fn tend_reading(&self, client: &Client, reading: Reading) {
        let (hello, capability, mut heard) = (client.hello(), reading.capability(), client.heard());
        if !hello.can(capability) {
            return pending().await;
        }
        if !hello.tells_of(capability) {
            // Nothing is known of them.
            self.knows(reading, None);
            return pending().await;
        }
        let (mut wait, mut known, mut lack) = (LIST_AGAIN_AFTER, None, None);
        loop {
            let said = heard.borrow_and_update().of(reading);
            let listed = self.list_beside(client, reading, &mut lack).await;
            let is_listed = listed.is_some();
            // One that cannot be had is news once, and not where the server has said nothing.
            if is_listed || known != Some(said) {
                self.knows(reading, listed);
                known = Some(said);
            }
            wait = if is_listed { LIST_AGAIN_AFTER } else { (wait * 2).min(LIST_EVERY) };
            let again = if is_listed { LIST_EVERY } else { wait };
            let news = heard.wait_for(|heard| heard.has_ended || heard.of(reading) != said);
            match timeout(again, news).await.map(|heard| heard.is_ok_and(|heard| !heard.has_ended)) {
                Ok(true) => {}
                // Whoever looks after its tools sees that it has ended.
                Ok(false) => return pending().await,
                Err(_) => continue,
            }
            sleep(wait).await;
        }
    }

    async fn list_beside(&self, client: &Client, reading: Reading, lack: &mut Option<ConnectError>) -> All {
        match timeout(LISTED_WITHIN, self.every(client, reading, lack)).await {
            Ok(Ok(listed)) => return Some(listed),
            Ok(Err(error)) => {
                tracing::warn!(server = %self.name(), %error, "what an upstream server has beside tools cannot be listed");
            }
            Err(_) => {
                tracing::warn!(server = %self.name(), "an upstream server does not end its list in time");
            }
        }
        None
    }

    /// Takes up what is listed; whoever wants to know of changes looks only where it is another list, or may be.
    fn knows(&self, reading: Reading, all: All) {
        let is_news = {
            let mut known = self.beside.of(reading).lock().unwrap_or_else(PoisonError::into_inner);
            let is_news = all.is_none() || *known != all;
            *known = all;
            is_news
        };
        if is_news {
            self.has_changed(|changes| changes.count(reading));
        }
    }

    /// All of a kind. `lack`: why the templates of resources were not there the last time.
    async fn every(
        &self,
        client: &Client,
        reading: Reading,
        lack: &mut Option<ConnectError>,
    ) -> Result<Arc<[Listed]>, ConnectError> {
        let mut all = Vec::new();
        for listing in Listing::ALL.into_iter().filter(|listing| listing.of() == reading) {
            let (method, of) = listing.method();
            if listing != Listing::Templates {
                all.extend(client.list(method, of).await?);
                continue;
            }
            // Not every server that has resources has templates of them, and the resources are there without.
            match client.list_if_there(method, of).await {
                Ok(items) => {
                    *lack = None;
                    all.extend(items.into_iter().flatten());
                }
                Err(error) => {
                    if lack.as_ref() != Some(&error) {
                        tracing::warn!(server = %self.name(), %error, "the templates of an upstream server cannot be listed");
                    }
                    *lack = Some(error);
                }
            }
        }
        let digester = self.digester();
        let listed = all.into_iter().filter_map(|mut item| {
            let digest = digester(&item)?;
            Some(Listed { key: item.get_mut(reading.key()).map(Value::take).unwrap_or_default(), digest })
        });
        Ok(listed.collect())
    }
}
