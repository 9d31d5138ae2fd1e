//! The line to a caller that wants to know that its call goes on (`notifications/progress`).

use core::fmt;
use core::time::Duration;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use execgate_model::{Progress, Watcher};
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::{Peer, RoleServer};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

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

/// What a run has written, or said of how far it is, and nobody was told of yet.
#[derive(Default)]
struct Heard {
    news: Mutex<News>,
    told: Mutex<Count>,
    any: Notify,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct News {
    text: Vec<u8>,
    /// The newest one: whoever is behind is not told of those before.
    step: Option<Step>,
}

/// How far a run is by its own word.
#[derive(Debug, Clone, PartialEq)]
struct Step {
    number: f64,
    total: Option<f64>,
    message: String,
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
            Progress::Step { number, total, message } => heard.is_at(number, total, message),
        })
    }

    /// Tells what is heard until the run has `ended`; then what it said last of how far it is. What is being told is told to its
    /// end, so that the answer comes behind it.
    pub(super) async fn tell_until(&self, ended: impl Future<Output = ()>) {
        self.heard.tell_until(ended, |since| self.tell(since)).await;
    }

    /// Tells what is heard; false where nobody hears it.
    async fn tell(&self, since: Duration) -> bool {
        let (number, total, message) = self.heard.next(since);
        let mut told = ProgressNotificationParam::new(self.token.clone(), number);
        told.total = total;
        told.message = message;
        self.peer.notify_progress(told).await.is_ok()
    }
}

/// The numbers of what is told, which grow each time (MCP 2025-11-25, basic/utilities/progress): those of the run, where it
/// says any; the seconds of one that writes; next to nothing for one of which nothing was heard.
#[derive(Default)]
struct Count {
    last: Option<f64>,
    total: Option<f64>,
    has_steps: bool,
    has_text: bool,
}

impl Count {
    fn next(&mut self, news: News, since: Duration) -> (f64, Option<f64>, Option<String>) {
        let News { text, step } = news;
        let mut message = String::from_utf8_lossy(&text).into_owned();
        self.has_text |= !text.is_empty();
        let wanted = match step {
            Some(step) => {
                (self.has_steps, self.total) = (true, step.total);
                message = step.message;
                Some(step.number)
            }
            None => (self.has_text && !self.has_steps).then_some(since.as_secs_f64()),
        };
        let least = self.last.map_or(f64::NEG_INFINITY, f64::next_up);
        let number =
            wanted.or_else(|| self.last.is_none().then_some(0.0)).map_or(least, |number| number.max(least));
        self.last = Some(number);
        (number, self.total, (!message.is_empty()).then_some(message))
    }
}

impl Heard {
    fn add(&self, bytes: &[u8]) {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        news.text.extend_from_slice(bytes);
        if let Some(over @ 1..) = news.text.len().checked_sub(MESSAGE_MAX) {
            news.text.drain(..over);
        }
        drop(news);
        self.any.notify_one();
    }

    fn is_at(&self, number: f64, total: Option<f64>, message: &str) {
        let message: String = message.chars().take(MESSAGE_MAX).collect();
        let step = Some(Step { number, total, message });
        self.news.lock().unwrap_or_else(PoisonError::into_inner).step = step;
        self.any.notify_one();
    }

    /// Has whatever is heard told, until the run has `ended`. `tell` says false where nobody hears it.
    async fn tell_until<T: Future<Output = bool>>(
        &self,
        ended: impl Future<Output = ()>,
        tell: impl Fn(Duration) -> T,
    ) {
        let start = Instant::now();
        let mut alive = interval_at(start + SIGN_OF_LIFE, SIGN_OF_LIFE);
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ended = pin!(ended);
        loop {
            let news = async {
                self.any.notified().await;
                sleep(EVERY).await;
            };
            tokio::select! {
                biased;
                () = &mut ended => break,
                () = news => {}
                _ = alive.tick() => {}
            }
            // Whoever is gone needs to be told nothing.
            if !tell(start.elapsed()).await {
                return ended.await;
            }
        }
        if self.has_step() {
            tell(start.elapsed()).await;
        }
    }

    fn has_step(&self) -> bool {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).step.is_some()
    }

    /// What is told next.
    fn next(&self, since: Duration) -> (f64, Option<f64>, Option<String>) {
        let news = self.take();
        self.told.lock().unwrap_or_else(PoisonError::into_inner).next(news, since)
    }

    fn take(&self) -> News {
        core::mem::take(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("token", &self.token).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::pin::pin;

    use tokio::sync::{Notify, mpsc};
    use tokio::time::{pause, timeout};

    use super::{Heard, MESSAGE_MAX, News};

    #[tokio::test]
    async fn what_is_being_told_when_a_run_ends_is_told_before_its_answer() {
        pause();
        let (heard, ended, goes_on) = (Heard::default(), Notify::new(), Notify::new());
        let (tells, mut told) = mpsc::unbounded_channel();
        let mut telling = pin!(heard.tell_until(ended.notified(), async |since: Duration| {
            let (number, ..) = heard.next(since);
            goes_on.notified().await;
            tells.send(number).is_ok()
        }));
        heard.is_at(1.0, Some(2.0), "");
        // Taken, and not out yet.
        let wait = Duration::from_secs(1);
        assert!(timeout(wait, &mut telling).await.is_err());
        assert!(!heard.has_step());
        ended.notify_one();
        assert!(timeout(wait, &mut telling).await.is_err());
        heard.is_at(2.0, Some(2.0), "");
        goes_on.notify_one();
        assert!(timeout(wait, &mut telling).await.is_err());
        goes_on.notify_one();
        telling.await;
        assert_eq!((told.recv().await, told.recv().await), (Some(1.0), Some(2.0)));
    }

    #[test]
    fn what_was_written_is_told_once_and_the_newest_of_it() {
        let heard = Heard::default();
        assert_eq!(heard.take(), News::default());
        for _ in 0..1000 {
            heard.add(b"0123456789");
        }
        heard.add(b"end");
        let told = heard.take().text;
        assert_eq!((told.len(), told.ends_with(b"789end")), (MESSAGE_MAX, true));
        assert_eq!(heard.take(), News::default());
    }

    #[test]
    fn how_far_a_run_is_is_told_by_its_own_numbers_and_they_grow() {
        let (heard, since) = (Heard::default(), Duration::from_secs(7));
        // A sign of life.
        assert_eq!(heard.next(since), (0.0, None, None));
        assert!(!heard.has_step());
        heard.is_at(1.0, Some(5.0), "");
        heard.is_at(2.0, Some(5.0), "half");
        assert!(heard.has_step());
        assert_eq!(heard.next(since), (2.0, Some(5.0), Some("half".to_owned())));
        assert!(!heard.has_step());
        assert_eq!(heard.next(since), (2.0_f64.next_up(), Some(5.0), None));
        // One that goes back is not believed.
        heard.is_at(1.0, Some(5.0), "");
        assert_eq!(heard.next(since), (2.0_f64.next_up().next_up(), Some(5.0), None));
    }

    #[test]
    fn one_that_writes_is_told_of_by_its_seconds() {
        let heard = Heard::default();
        heard.add(b"hi");
        assert_eq!(heard.next(Duration::from_secs(1)), (1.0, None, Some("hi".to_owned())));
        assert_eq!(heard.next(Duration::from_secs(6)), (6.0, None, None));
    }
}
