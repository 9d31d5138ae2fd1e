//! The line to a caller that wants to know that its call goes on (`notifications/progress`).

use core::fmt;
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use execgate_model::{Progress, Watcher};
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::{Peer, RoleServer};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// How often something is said at the most: a model reads it, and clients pay for it.
const EVERY: Duration = Duration::from_millis(250);

/// How often something is said where nothing is new, so that a client that waits for signs of life goes on waiting.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// The most of what a run has written that one message holds, in bytes: the newest.
const MESSAGE_MAX: usize = 2_000;

/// A line to one caller.
#[derive(Clone)]
pub(crate) struct Line {
    peer: Peer<RoleServer>,
    token: ProgressToken,
    heard: Arc<Heard>,
}

/// What a run has written and nobody was told of yet.
#[derive(Default)]
struct Heard {
    text: Mutex<Vec<u8>>,
    any: Notify,
}

impl Line {
    pub(super) fn new(peer: Peer<RoleServer>, token: ProgressToken) -> Self {
        Self { peer, token, heard: Arc::default() }
    }

    /// Who hears a run for this line.
    pub(crate) fn watcher(&self) -> Watcher {
        let heard = Arc::clone(&self.heard);
        Watcher::new(move |progress| match progress {
            Progress::Started => {}
            Progress::Stdout(bytes) | Progress::Stderr(bytes) => heard.add(bytes),
        })
    }

    /// Tells what is heard, for as long as this is polled. The number that grows is that of seconds.
    pub(super) async fn tell_on(&self) {
        let start = Instant::now();
        let mut alive = interval_at(start + SIGN_OF_LIFE, SIGN_OF_LIFE);
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.heard.any.notified() => tokio::time::sleep(EVERY).await,
                _ = alive.tick() => {}
            }
            let message = self.heard.take();
            let told = ProgressNotificationParam::new(self.token.clone(), start.elapsed().as_secs_f64());
            let told = match message {
                Some(text) => told.with_message(text),
                None => told,
            };
            // Whoever is gone needs to be told nothing.
            if self.peer.notify_progress(told).await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

impl Heard {
    fn add(&self, bytes: &[u8]) {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.extend_from_slice(bytes);
        if let Some(over @ 1..) = text.len().checked_sub(MESSAGE_MAX) {
            text.drain(..over);
        }
        drop(text);
        self.any.notify_one();
    }

    fn take(&self) -> Option<String> {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let told = String::from_utf8_lossy(&text).into_owned();
        text.clear();
        (!told.is_empty()).then_some(told)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("token", &self.token).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Heard, MESSAGE_MAX};

    #[test]
    fn what_was_written_is_told_once_and_the_newest_of_it() {
        let heard = Heard::default();
        assert_eq!(heard.take(), None);
        for _ in 0..1000 {
            heard.add(b"0123456789");
        }
        heard.add(b"end");
        let told = heard.take().unwrap();
        assert_eq!((told.len(), told.ends_with("789end")), (MESSAGE_MAX, true));
        assert_eq!(heard.take(), None);
    }
}
