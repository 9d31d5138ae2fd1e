//! Requests and replies without a socket.

use std::io;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use http_body_util::channel::{Channel, Sender};
use serde_json::Value;
use tower::ServiceExt as _;

/// The routes that sell code.
pub const CODE_ROUTES: [&str; 3] = ["/api/code-run", "/api/code-run-pro", "/api/code/run"];

/// The routes that call tools: one call each, and several.
pub const TOOL_ROUTES: [&str; 3] = ["/exec/tool", "/exec/simulate", "/exec/batch"];

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

/// A request under a name: on surfaces that have no nonce in their body, a header is the nonce.
#[must_use]
pub fn keyed(request: Request<Body>, key: &str) -> Request<Body> {
    with(request, "idempotency-key", key)
}

/// A request that asks for events as they come.
#[must_use]
pub fn live(request: Request<Body>) -> Request<Body> {
    with(request, "accept", "text/event-stream")
}

/// A body that a test sends piece by piece.
pub fn piecewise() -> (Sender<Bytes, io::Error>, Body) {
    let (sender, channel) = Channel::new(1);
    (sender, Body::new(channel))
}

/// One event of an answer that comes live; a comment has the name `:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveEvent {
    /// The name.
    pub name: String,
    /// What it tells.
    pub data: String,
}

impl LiveEvent {
    fn read(text: &str) -> Self {
        let event = text.strip_prefix("event: ").and_then(|rest| rest.split_once("\ndata: "));
        let (name, data) = event.or_else(|| text.split_at_checked(1)).expect("an event or a comment");
        assert!(!data.contains('\n'), "one event has one line: {data:?}");
        Self { name: name.to_owned(), data: data.to_owned() }
    }

    /// What it tells, as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).expect("an event tells JSON")
    }
}

/// An answer that is read event by event. To drop it is to hang up.
#[derive(Debug)]
pub struct Live {
    body: Body,
    text: String,
}

impl Live {
    /// Sends a request, and returns once its run has begun.
    ///
    /// # Panics
    /// If it is not answered with events.
    pub async fn open(router: Router, request: Request<Body>) -> Self {
        let Ok(response) = router.oneshot(live(request)).await;
        assert_eq!(response.status().as_u16(), 200);
        let kind = response.headers().get("content-type").expect("an answer has a type");
        assert_eq!(kind, "text/event-stream");
        Self { body: response.into_body(), text: String::new() }
    }

    /// The next event; none once the answer has ended.
    ///
    /// # Panics
    /// If the answer breaks off within an event.
    pub async fn next(&mut self) -> Option<LiveEvent> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = LiveEvent::read(event);
                self.text = rest.to_owned();
                return Some(event);
            }
            let Some(frame) = self.body.frame().await else {
                assert_eq!(self.text, "", "the answer breaks off");
                return None;
            };
            let piece = frame.expect("the body can be read").into_data().expect("the body has no trailers");
            self.text.push_str(str::from_utf8(&piece).expect("events are text"));
        }
    }

    /// All events that are left.
    pub async fn rest(mut self) -> Vec<LiveEvent> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
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

    /// The events of an answer that came live.
    #[must_use]
    pub fn events(&self) -> Vec<LiveEvent> {
        let text = String::from_utf8_lossy(&self.body);
        text.split_terminator("\n\n").map(LiveEvent::read).collect()
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
