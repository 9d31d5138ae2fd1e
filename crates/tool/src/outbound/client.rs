//! One exchange with a server: its addresses are found and checked, one is dialled, it is asked and answers.

use core::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT_ENCODING, CONNECTION, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::dial::{Stream, dial};
use super::guard::{HostResolver, Judge, Resolve, checked, judge, judge_private, judge_within};
use super::target::Target;
use crate::NotStarted;
use crate::compute::Raised;

/// All headers of an answer, in bytes, and their number.
const HEADER_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 100;

/// Exchanges at the same time.
const EXCHANGES_MAX: usize = 64;

/// Who asks servers: no cookies, no proxies, no credentials but those of a request. Clones share their places.
#[derive(Clone)]
pub struct HttpClient {
    resolver: Arc<dyn Resolve>,
    judge: Judge,
    places: Arc<Semaphore>,
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
    pub(crate) connection: JoinSet<()>,
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
        Self { resolver, judge, places: Arc::new(Semaphore::new(EXCHANGES_MAX)) }
    }

    /// The same with another judge, and the same places.
    pub(crate) fn judged_by(&self, judge: Judge) -> Self {
        Self { judge, ..self.clone() }
    }

    pub(crate) fn judge(&self) -> Judge {
        self.judge
    }

    /// Takes one of the places.
    pub(crate) fn reserve(&self) -> Result<OwnedSemaphorePermit, NotStarted> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| NotStarted::Full)
    }

    /// Asks once. Nothing is sent before every address of the host is checked.
    pub(crate) async fn exchange(&self, outgoing: Outgoing<'_>) -> Result<Exchange, Raised> {
        let addresses = checked(outgoing.target, self.resolver.as_ref(), self.judge).await?;
        let stream = dial(outgoing.target, &addresses).await?;
        ask(stream, outgoing).await
    }
}

async fn ask(stream: Box<dyn Stream>, outgoing: Outgoing<'_>) -> Result<Exchange, Raised> {
    let Outgoing { method, target, headers, body } = outgoing;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEADER_BYTES_MAX).max_headers(HEADERS_MAX);
    let shaken = builder.handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await;
    let (mut sender, driver) = shaken.map_err(|_| bad_answer("the server speaks no HTTP/1.1"))?;
    let mut connection = JoinSet::new();
    connection.spawn(async move {
        // What goes wrong here, the answer or its body tells.
        drop(driver.await);
    });
    let host = HeaderValue::from_str(&target.authority()).map_err(|_| bad_answer("the host is no header"))?;
    let mut request = Request::builder()
        .method(method)
        .uri(target.path())
        .body(Full::new(body))
        .map_err(|_| bad_answer("the path cannot stand in a request"))?;
    *request.headers_mut() = headers;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let response = sender.send_request(request).await;
    let response = response.map_err(|_| bad_answer("the server gave no answer in HTTP/1.1"))?;
    Ok(Exchange { response, connection })
}
