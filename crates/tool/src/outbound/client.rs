//! One exchange with a server: its addresses are found and checked, one is dialled, it is asked and answers.

use core::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, CONNECTION, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::dial::dial;
use super::guard::{HostResolver, Judge, Resolve, checked, judge, judge_private, judge_within};
use super::pool::{Asked, Connection, Pool};
use super::target::Target;
use crate::NotStarted;
use crate::compute::Raised;

/// Exchanges at the same time.
const EXCHANGES_MAX: usize = 64;

/// Who asks servers: no cookies, no proxies, no credentials but those of a request. Clones share their places.
#[derive(Clone)]
pub struct HttpClient {
    resolver: Arc<dyn Resolve>,
    judge: Judge,
    places: Arc<Semaphore>,
    /// Where connections wait for the next request; none: each is for one.
    pool: Option<Pool>,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").finish_non_exhaustive()
    }
}

impl Default for HttpClient {
    fn default() -> Self {
        Self::new()
    }
}

/// What is asked.
pub(crate) struct Outgoing<'a> {
    pub(crate) method: Method,
    pub(crate) target: &'a Target,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A server's answer, whose body is still to be read.
pub(crate) struct Exchange {
    pub(crate) response: Response<Incoming>,
    /// Dropping it ends the connection.
    pub(crate) connection: Held,
}

/// The connection of an exchange.
pub(crate) struct Held {
    connection: Connection,
    /// Where it goes when it is given back.
    home: Option<(Pool, Target)>,
}

impl Held {
    /// Ends it now.
    pub(crate) fn end(&mut self) {
        self.connection.end();
    }

    /// Has it wait for the next request, where the client keeps connections. The answer has to be read to its end.
    pub(crate) fn give_back(self) {
        if let Some((pool, origin)) = self.home {
            pool.put(origin, self.connection);
        }
    }
}

pub(crate) fn bad_answer(why: &str) -> Raised {
    Raised::new("BadAnswer", why)
}

impl HttpClient {
    /// A client that asks the host's resolver, and reaches what is anybody's on the internet.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Arc::new(HostResolver::new()), judge)
    }

    /// A client for a host that the operator has named: in a private network only where that was said; where a secret goes
    /// in the clear, nowhere else.
    pub(crate) fn for_named(allow_private: bool, is_safe: bool) -> Self {
        match (allow_private, is_safe) {
            (true, true) => Self::new().judged_by(judge_private),
            (true, false) => Self::new().judged_by(judge_within),
            (false, _) => Self::new(),
        }
    }

    pub(crate) fn with(resolver: Arc<dyn Resolve>, judge: Judge) -> Self {
        Self { resolver, judge, places: Arc::new(Semaphore::new(EXCHANGES_MAX)), pool: None }
    }

    /// The same with another judge, and the same places. It keeps no connections: this judge has not seen them.
    pub(crate) fn judged_by(&self, judge: Judge) -> Self {
        Self { judge, pool: None, ..self.clone() }
    }

    /// The same, that keeps connections which are given back.
    pub(crate) fn keeping(self) -> Self {
        Self { pool: Some(Pool::default()), ..self }
    }

    /// How many connections wait for the next request.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.pool.as_ref().map_or(0, Pool::open)
    }

    pub(crate) fn judge(&self) -> Judge {
        self.judge
    }

    /// Takes one of the places.
    pub(crate) fn reserve(&self) -> Result<OwnedSemaphorePermit, NotStarted> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| NotStarted::Full)
    }

    /// Asks once. Nothing is sent before every address of the host is checked; a connection that was kept leads to one that was
    /// checked when it was dialled.
    pub(crate) async fn exchange(&self, outgoing: Outgoing<'_>) -> Result<Exchange, Raised> {
        let (target, mut request) = (outgoing.target, self.request(outgoing)?);
        let home = self.pool.clone().map(|pool| (pool, target.clone()));
        while let Some((pool, _)) = &home
            && let Some(mut connection) = pool.take(target).await
        {
            match connection.ask(request).await {
                Asked::Answered(response) => {
                    return Ok(Exchange { response, connection: Held { connection, home } });
                }
                Asked::Unsent(unsent) => request = unsent,
                Asked::Lost => return Err(no_answer()),
            }
        }
        let addresses = checked(target, self.resolver.as_ref(), self.judge).await?;
        let mut connection = Connection::open(dial(target, &addresses).await?).await?;
        match connection.ask(request).await {
            Asked::Answered(response) => Ok(Exchange { response, connection: Held { connection, home } }),
            Asked::Unsent(_) | Asked::Lost => Err(no_answer()),
        }
    }

    fn request(&self, outgoing: Outgoing<'_>) -> Result<Request<Full<Bytes>>, Raised> {
        let Outgoing { method, target, headers, body } = outgoing;
        let host =
            HeaderValue::from_str(&target.authority()).map_err(|_| bad_answer("the host is no header"))?;
        let mut request = Request::builder()
            .method(method)
            .uri(target.path())
            .body(Full::new(body))
            .map_err(|_| bad_answer("the path cannot stand in a request"))?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(HOST, host);
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if self.pool.is_none() {
            request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(request)
    }
}

fn no_answer() -> Raised {
    bad_answer("the server gave no answer in HTTP/1.1")
}
