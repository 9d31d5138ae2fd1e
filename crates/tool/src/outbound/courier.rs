//! Short messages to servers that the operator, or whoever sits at the command line, has named.
//!
//! By the same way out as everything else: each address is checked before it is dialled, and no redirect is followed.

use core::future::Future;
use core::time::Duration;
use std::net::IpAddr;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::timeout;

use super::answer::{read, refuse_encoded};
use super::client::{Exchange, HttpClient, Outgoing};
use super::guard::{Judge, judge, judge_private};
use super::target::Target;
use crate::compute::Raised;

/// Where a courier may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To what is anybody's on the internet.
    Internet,
    /// To private networks and this host, too.
    Private,
    /// Wherever the person who sits here has said.
    Anywhere,
}

/// Why a message did not come through. The text is for the operator, and has no secret in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CourierError {
    /// The URL is none that may be asked.
    #[error("the URL {0}")]
    Url(String),
    /// A header cannot be sent.
    #[error("the header `{0}` cannot be sent")]
    Header(&'static str),
    /// The server cannot be reached, or gave no answer.
    #[error("{0}")]
    Failed(String),
    /// It took too long.
    #[error("no answer within {0} s")]
    Slow(u64),
    /// The answer is longer than is read.
    #[error("the answer has more than {0} bytes")]
    Long(usize),
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The status.
    pub status: u16,
    /// The body, whole.
    pub body: Vec<u8>,
}

/// A message.
#[derive(Debug, Clone)]
pub struct Message {
    /// Something is asked (`GET`), or sent (`POST`).
    pub body: Option<Vec<u8>>,
    /// What is said beside it.
    pub headers: Vec<(&'static str, String)>,
    /// How long all of it may take.
    pub within: Duration,
    /// How much of an answer is read, in bytes; a longer one is an error.
    pub answer_bytes_max: usize,
}

/// Sends messages.
#[derive(Debug, Clone)]
pub struct Courier {
    client: HttpClient,
}

fn anywhere(_: IpAddr) -> Option<&'static str> {
    None
}

impl Courier {
    /// One that goes so far and no further.
    #[must_use]
    pub fn new(reach: Reach) -> Self {
        let judge: Judge = match reach {
            Reach::Internet => judge,
            Reach::Private => judge_private,
            Reach::Anywhere => anywhere,
        };
        Self { client: HttpClient::new().judged_by(judge) }
    }

    /// Whether a URL can be asked at all.
    ///
    /// # Errors
    /// [`CourierError::Url`] says what is wrong with it, and does not tell it.
    pub fn check(url: &str) -> Result<(), CourierError> {
        Target::of(url).map(drop).map_err(CourierError::Url)
    }

    /// Delivers a message, and brings back the answer.
    ///
    /// # Errors
    /// [`CourierError`].
    pub async fn deliver(&self, url: &str, message: Message) -> Result<Delivery, CourierError> {
        let (within, most) = (message.within, message.answer_bytes_max);
        let exchange = async {
            let mut exchange = self.send(url, message).await?;
            refuse_encoded(exchange.response.headers()).map_err(told)?;
            let status = exchange.response.status().as_u16();
            let read = read(exchange.response.into_body(), most).await;
            exchange.connection.end();
            read.map(|(body, is_cut)| (Delivery { status, body }, is_cut)).map_err(told)
        };
        match in_time(within, exchange).await? {
            (_, true) => Err(CourierError::Long(most)),
            (delivery, false) => Ok(delivery),
        }
    }

    /// Delivers a message of which only the status of the answer counts: nothing more of it is read, however long it is.
    ///
    /// # Errors
    /// [`CourierError`].
    pub async fn announce(&self, url: &str, message: Message) -> Result<u16, CourierError> {
        in_time(message.within, async {
            let mut exchange = self.send(url, message).await?;
            exchange.connection.end();
            Ok(exchange.response.status().as_u16())
        })
        .await
    }

    async fn send(&self, url: &str, message: Message) -> Result<Exchange, CourierError> {
        let target = Target::of(url).map_err(CourierError::Url)?;
        let mut headers = HeaderMap::new();
        for (name, text) in message.headers {
            let mut value = HeaderValue::from_str(&text).map_err(|_| CourierError::Header(name))?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), value);
        }
        let method = if message.body.is_some() { Method::POST } else { Method::GET };
        let body = Bytes::from(message.body.unwrap_or_default());
        let outgoing = Outgoing { method, target: &target, headers, body };
        self.client.exchange(outgoing).await.map_err(told)
    }
}

fn told(raised: Raised) -> CourierError {
    CourierError::Failed(raised.message)
}

async fn in_time<T>(
    within: Duration,
    exchange: impl Future<Output = Result<T, CourierError>>,
) -> Result<T, CourierError> {
    timeout(within, exchange).await.unwrap_or(Err(CourierError::Slow(within.as_secs())))
}
