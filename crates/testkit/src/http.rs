//! Requests and replies without a socket.

use axum::body::Body;
use axum::http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use serde_json::Value;

/// A POST of JSON bytes to a path, as a local program sends it.
///
/// # Panics
/// If there can be no such request.
#[must_use]
pub fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("host", "localhost:5091")
        .header("content-type", "application/json");
    request.body(body.into()).expect("a request")
}

/// A GET of a path.
///
/// # Panics
/// If there can be no such request.
#[must_use]
pub fn get(path: &str) -> Request<Body> {
    Request::builder().uri(path).header("host", "localhost:5091").body(Body::empty()).expect("a request")
}

/// A POST of a JSON value to `/execute`.
#[must_use]
pub fn execute(body: &Value) -> Request<Body> {
    post("/execute", body.to_string())
}

/// A request with one more header, or another value of one.
///
/// # Panics
/// If there can be no such header.
#[must_use]
pub fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().insert(name, value.parse().expect("a header"));
    request
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Header names, lowercase, and values, in their order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    pub(crate) async fn read(response: Response<Body>) -> Self {
        let status = response.status().as_u16();
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let mut headers: Vec<_> = response
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())))
            .collect();
        headers.sort();
        let body = response.into_body().collect().await.expect("the body can be read").to_bytes().to_vec();
        Self { status, headers, body }
    }

    /// A header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(named, _)| named == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// Status, type and body in one text, for a snapshot.
    #[must_use]
    pub fn show(&self) -> String {
        let kind = self.header("content-type").unwrap_or("-");
        format!("{} {kind}\n{}", self.status, String::from_utf8_lossy(&self.body))
    }
}
