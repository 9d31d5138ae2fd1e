//! The way of one question.

use core::time::Duration;
use std::error::Error;
use std::sync::Arc;

use execgate_flow::authorise::{Iam, IamAnswer, Question};
use execgate_model::{BoxFuture, Clock};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::ServiceUrl;
use crate::TlsError;
use crate::breaker::Breaker;
use crate::cache::{self, Cache};
use crate::exchange::Line;
use crate::words::{self, Verdict};

/// How long a question may take in all: connecting, TLS, and the last byte of the answer.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(3);

/// Questions at once. One more is our own overload, which says nothing of the service.
pub(crate) const QUESTIONS: usize = 64;

/// What a service that cannot be reached means for what is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unreached {
    /// It is refused.
    #[default]
    Refuse,
    /// It goes on, and its receipt says so: the operator has said this in writing.
    Open,
}

/// What a client is made of.
pub struct GuardParts {
    /// Where the service is.
    pub url: ServiceUrl,
    /// What it means that it cannot be reached.
    pub unreached: Unreached,
    /// The time, for what was answered lately.
    pub clock: Arc<dyn Clock>,
}

/// The client of an identity service.
pub struct Guard {
    line: Line,
    unreached: Unreached,
    clock: Arc<dyn Clock>,
    cache: Cache,
    breaker: Breaker,
    places: Semaphore,
}

impl Guard {
    /// A client. Nothing is dialled before somebody is asked about.
    ///
    /// # Errors
    /// [`TlsError`] where the service is to be asked by https, and this host cannot.
    pub fn new(parts: GuardParts) -> Result<Self, TlsError> {
        Ok(Self {
            line: Line::new(parts.url)?,
            unreached: parts.unreached,
            clock: parts.clock,
            cache: Cache::default(),
            breaker: Breaker::default(),
            places: Semaphore::new(QUESTIONS),
        })
    }

    async fn answer(&self, question: &Question<'_>) -> IamAnswer {
        let key = cache::key(question);
        if let Some(verdict) = self.cache.get(key, self.clock.monotonic_us()) {
            return said(verdict);
        }
        let body = match words::body(question) {
            Ok(body) => body,
            Err(verdict) => return said(verdict),
        };
        let Ok(_place) = self.places.try_acquire() else { return IamAnswer::Overloaded };
        let asked_us = self.clock.monotonic_us();
        if !self.breaker.lets_pass(asked_us) {
            return IamAnswer::Unreachable;
        }
        let verdict = self.ask(body).await;
        let now_us = self.clock.monotonic_us();
        let verdict = match verdict {
            Heard::Said(verdict) => verdict,
            // A caller may be the cause, and must not silence the service for others.
            Heard::Nonsense => {
                self.breaker.answered();
                return IamAnswer::Unreadable;
            }
            Heard::Nothing => {
                self.breaker.failed(now_us);
                return IamAnswer::Unreachable;
            }
        };
        self.breaker.answered();
        self.cache.keep(key, asked_us, now_us, verdict.clone());
        said(verdict)
    }

    async fn ask(&self, body: Vec<u8>) -> Heard {
        match timeout(ANSWER_TIME, self.line.ask(body)).await {
            Ok(Ok(reply)) => {
                if let Some(verdict) = words::read(reply.status, &reply.body) {
                    return Heard::Said(verdict);
                }
                tracing::warn!(status = reply.status, "the identity service said neither yes nor no");
                Heard::Nonsense
            }
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn Error, "the identity service could not be asked");
                Heard::Nothing
            }
            Err(_) => {
                tracing::warn!("the identity service did not answer in time");
                Heard::Nothing
            }
        }
    }
}

/// What came of a question.
enum Heard {
    Said(Verdict),
    /// An answer that is neither yes nor no.
    Nonsense,
    Nothing,
}

fn said(verdict: Verdict) -> IamAnswer {
    match verdict {
        Verdict::Yes => IamAnswer::Approved,
        Verdict::No(reason) => IamAnswer::Refused(reason),
    }
}

impl Iam for Guard {
    fn check<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, IamAnswer> {
        Box::pin(self.answer(question))
    }

    fn is_open_unreached(&self) -> bool {
        self.unreached == Unreached::Open
    }
}

#[cfg(test)]
mod tests;
