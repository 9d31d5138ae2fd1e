//! Fetches a URL, and where it leads to.

use core::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT_ENCODING, CONNECTION, HOST, HeaderMap, HeaderValue, LOCATION};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::answer::{read, refuse_encoded, show};
use super::dial::{Stream, dial};
use super::guard::{HostResolver, Judge, Resolve, checked, judge};
use super::target::Target;
use crate::compute::Raised;

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 5;

/// All headers of an answer, in bytes, and their number.
const HEADER_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 100;

/// Fetches at the same time.
const FETCHES_MAX: usize = 64;

/// Who fetches: no cookies, no proxies, no credentials but those of a call.
#[derive(Clone)]
pub struct HttpClient {
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) judge: Judge,
    pub(super) places: Arc<Semaphore>,
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

/// A checked call.
#[derive(Debug, Clone)]
pub(super) struct Fetch {
    pub(super) target: Target,
    pub(super) headers: HeaderMap,
    pub(super) bytes_max: usize,
}

fn bad_answer(why: &str) -> Raised {
    Raised::new("BadAnswer", why)
}

impl HttpClient {
    /// A client that asks the host's resolver, and reaches what is anybody's on the internet.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Arc::new(HostResolver), judge)
    }

    pub(super) fn with(resolver: Arc<dyn Resolve>, judge: Judge) -> Self {
        Self { resolver, judge, places: Arc::new(Semaphore::new(FETCHES_MAX)) }
    }

    /// Fetches; each redirect is checked as the first URL was.
    pub(super) async fn fetch(&self, fetch: Fetch) -> Result<Value, Raised> {
        let Fetch { mut target, mut headers, bytes_max } = fetch;
        for _ in 0..=REDIRECTS_MAX {
            let addresses = checked(&target, self.resolver.as_ref(), self.judge).await?;
            let stream = dial(&target, &addresses).await?;
            // Dropping it ends the connection.
            let mut connection = JoinSet::new();
            let response = ask(stream, &target, &headers, &mut connection).await?;
            let Some(next) = redirect(&target, &response)? else {
                let (status, received) = (response.status().as_u16(), response.headers().clone());
                refuse_encoded(&received)?;
                let body = read(response.into_body(), bytes_max).await?;
                return Ok(show(status, &received, &target, body));
            };
            if !next.is_same_origin(&target) {
                headers.clear();
            }
            target = next;
        }
        Err(Raised::new("TooManyRedirects", format!("more than {REDIRECTS_MAX} redirects")))
    }
}

/// Where an answer leads, if it does.
fn redirect(target: &Target, response: &Response<Incoming>) -> Result<Option<Target>, Raised> {
    let leads = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let Some(location) = response.headers().get(LOCATION).filter(|_| leads) else { return Ok(None) };
    let location = location.to_str().map_err(|_| bad_answer("a redirect leads to no URL"))?;
    let next = target.join(location);
    next.map(Some).map_err(|rule| Raised::new("AddressRefused", format!("a redirect {rule}")))
}

async fn ask(
    stream: Box<dyn Stream>,
    target: &Target,
    headers: &HeaderMap,
    connection: &mut JoinSet<()>,
) -> Result<Response<Incoming>, Raised> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEADER_BYTES_MAX).max_headers(HEADERS_MAX);
    let shaken = builder.handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await;
    let (mut sender, driver) = shaken.map_err(|_| bad_answer("the server speaks no HTTP/1.1"))?;
    connection.spawn(async move {
        // What goes wrong here, the answer or its body tells.
        drop(driver.await);
    });
    let host = HeaderValue::from_str(&target.authority()).map_err(|_| bad_answer("the host is no header"))?;
    let mut request = Request::get(target.path())
        .body(Empty::new())
        .map_err(|_| bad_answer("the path cannot stand in a request"))?;
    *request.headers_mut() = headers.clone();
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    sender.send_request(request).await.map_err(|_| bad_answer("the server gave no answer in HTTP/1.1"))
}
