//! A server at a URL: Streamable HTTP (MCP 2025-03-26 and later), or the older HTTP with a stream of events (2024-11-05).
//!
//! All goes by the gateway's own way out: every address is checked, no redirect is followed, and nothing is ever sent to
//! another origin than the one that the operator has named. Credentials are put in last and are taken out of what comes back.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use execgate_model::BoxFuture;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client::AskError;
use super::connect::{Connect, ConnectError, Opened};
use super::link::{Hold, Inbound, Link, Outbound, Queues, queues};
use super::message::{FRAME_BYTES_MAX, RpcError};
use super::sse::{Event, Events};
use super::words::ServerName;
use crate::action::{Redactor, Secret};
use crate::builtin::HttpClient;
use crate::compute::Raised;
use crate::outbound::{Exchange, Outgoing, Target, judge_private, judge_within, read, refuse_encoded};

/// How long one exchange may take: calls have deadlines of their own, which are shorter.
const EXCHANGE_WITHIN: Duration = Duration::from_mins(11);

/// How long something may take that has no answer: replies, notifications.
const TELLS_WITHIN: Duration = Duration::from_secs(30);

/// Requests, and messages without an answer, that are under way at once. Calls have fewer places; what was given up takes
/// a while to end.
const ASKS_MAX: usize = 256;
const TELLS_MAX: usize = 64;

/// How long the stream of the older transport may take to say where to post.
const ENDPOINT_WITHIN: Duration = Duration::from_secs(20);

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const REVISION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// The revision whose requests name their method in a header (MCP 2026-07-28, 6).
const REVISION_STATELESS: &str = "2026-07-28";

/// The code of an error that is a status of HTTP (JSON-RPC 2.0: internal error).
const REFUSED: i64 = -32_603;

/// A server at a URL.
#[derive(Debug, Clone)]
pub struct HttpUpstreamSpec {
    /// Its name.
    pub server: ServerName,
    /// Where it is.
    pub url: String,
    /// Whether it is the older transport, with its stream of events.
    pub is_legacy: bool,
    /// Headers that go along, each a secret, with what stands before it (`Bearer `).
    pub headers: BTreeMap<String, (String, Secret)>,
    /// Whether it may be in a private network, or on this host.
    pub allow_private: bool,
}

/// Who asks it.
pub struct HttpUpstream {
    line: Arc<Line>,
    is_legacy: bool,
    redactor: Redactor,
}

struct Line {
    client: HttpClient,
    target: Target,
    headers: HeaderMap,
    state: Mutex<State>,
}

/// What a conversation has agreed on.
#[derive(Default)]
struct State {
    session: Option<HeaderValue>,
    revision: Option<HeaderValue>,
}

impl HttpUpstream {
    /// This server.
    ///
    /// # Errors
    /// A URL or a header that cannot be asked for; a secret that would cross the internet in the clear.
    pub fn new(spec: HttpUpstreamSpec) -> Result<Self, ConnectError> {
        let bad = |why: String| ConnectError(format!("the server `{}`: {why}", spec.server));
        let target = Target::of(&spec.url).map_err(|rule| bad(format!("`url` {rule}")))?;
        if !spec.headers.is_empty() && !target.is_tls && !spec.allow_private {
            return Err(bad(
                "`url` must begin with https://: a secret does not cross the internet in the clear".into(),
            ));
        }
        let client = match (spec.allow_private, target.is_tls || spec.headers.is_empty()) {
            (true, true) => HttpClient::new().judged_by(judge_private),
            (true, false) => HttpClient::new().judged_by(judge_within),
            (false, _) => HttpClient::new(),
        };
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static("execgate"));
        for (name, (before, secret)) in &spec.headers {
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad(format!("`{name}` is no header")))?;
            let mut value = HeaderValue::from_str(&format!("{before}{}", secret.reveal()))
                .map_err(|_| bad(format!("the header `{name}` cannot be sent")))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let redactor = Redactor::of(spec.headers.values().map(|(_, secret)| secret));
        let client = client.keeping();
        let line = Arc::new(Line { client, target, headers, state: Mutex::default() });
        Ok(Self { line, is_legacy: spec.is_legacy, redactor })
    }
}

impl Connect for HttpUpstream {
    fn open(&self) -> BoxFuture<'_, Result<Opened, ConnectError>> {
        Box::pin(async move {
            *self.line.state() = State::default();
            if self.is_legacy {
                legacy(Arc::clone(&self.line)).await
            } else {
                Ok(streamable(Arc::clone(&self.line)))
            }
        })
    }

    fn enforced(&self) -> Value {
        let transport = if self.is_legacy { "sse" } else { "http" };
        json!({"transport": transport, "origin": self.line.target.to_string(), "tls": self.line.target.is_tls})
    }

    fn clean(&self, value: Value) -> Value {
        self.redactor.clean_value(value)
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn headers(&self, outbound: &Outbound) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        let mut state = self.state();
        if outbound.method == "server/discover" {
            state.revision = Some(HeaderValue::from_static(REVISION_STATELESS));
        }
        if let Some(session) = &state.session {
            headers.insert(SESSION_ID, session.clone());
        }
        if let Some(revision) = &state.revision {
            headers.insert(REVISION, revision.clone());
            if revision == REVISION_STATELESS {
                headers.extend(HeaderValue::from_str(&outbound.method).ok().map(|method| (METHOD, method)));
                let name = outbound.name.as_deref().and_then(|name| HeaderValue::from_str(name).ok());
                headers.extend(name.map(|name| (NAME, name)));
            }
        }
        headers
    }

    async fn post(&self, target: &Target, outbound: Outbound) -> Result<Exchange, Raised> {
        let headers = self.headers(&outbound);
        let outgoing = Outgoing { method: Method::POST, target, headers, body: outbound.frame.into() };
        self.client.exchange(outgoing).await
    }
}

/// What an error means for what was asked: only before there was a connection nothing was sent.
fn failed(raised: Raised) -> AskError {
    match raised.name.as_str() {
        "AddressRefused" | "ConnectFailed" | "TlsFailed" | "ConnectTimeout" => {
            AskError::NotSent(raised.message)
        }
        _ => AskError::Lost(raised.message),
    }
}

/// What a status means for what was asked, where no message came with it. The server had the request: but for one that
/// lacks credentials it is never asked again by itself.
fn refused(status: StatusCode) -> AskError {
    let why = if status.is_redirection() {
        "the server answers with a redirect, and none is followed".to_owned()
    } else {
        format!("the server answers with status {}", status.as_u16())
    };
    match status {
        StatusCode::UNAUTHORIZED => AskError::NotSent(why),
        // Somebody on the way gave up waiting.
        StatusCode::REQUEST_TIMEOUT => AskError::Lost(why),
        _ if status.is_redirection() || status.is_client_error() => {
            let data = Some(json!({"status": status.as_u16()}));
            AskError::Refused(RpcError { code: REFUSED, message: why, data })
        }
        _ => AskError::Lost(why),
    }
}

fn lost(why: &str) -> AskError {
    AskError::Lost(why.to_owned())
}

/// A line each of whose messages is a request of its own.
fn streamable(line: Arc<Line>) -> Opened {
    let (outbound, inbound, Queues { mut to_server, from_server }) = queues();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut asks, mut tells) = (JoinSet::new(), JoinSet::new());
        loop {
            tokio::select! {
                next = to_server.recv() => {
                    let Some(next) = next else { return };
                    let (posts, most) =
                        if next.id.is_some() { (&mut asks, ASKS_MAX) } else { (&mut tells, TELLS_MAX) };
                    if posts.len() < most {
                        let (line, from_server) = (Arc::clone(&line), from_server.clone());
                        posts.spawn(async move { exchange(&line, next, &from_server).await });
                    } else if let Some(id) = next.id {
                        let error = AskError::NotSent("too much is under way at the server".to_owned());
                        drop(from_server.send(Inbound::Failed { id, error }).await);
                    } else {
                        // One that asks faster than it takes the replies does without them.
                        tracing::debug!(method = next.method, "a message to an upstream server was dropped");
                    }
                }
                Some(_) = asks.join_next() => {}
                Some(_) = tells.join_next() => {}
            }
        }
    });
    Opened(Link { outbound, inbound, hold: Hold::new(tasks, None) })
}

/// How long an exchange may take.
fn within(id: Option<u64>) -> Duration {
    if id.is_some() { EXCHANGE_WITHIN } else { TELLS_WITHIN }
}

/// Sends one message, and hands on what comes back.
async fn exchange(line: &Line, outbound: Outbound, from_server: &mpsc::Sender<Inbound>) {
    let id = outbound.id;
    let is_greeting = outbound.method == "initialize";
    let had_session = line.state().session.is_some();
    let mut is_over = false;
    let done = timeout(within(id), async {
        let Exchange { response, connection } = line.post(&line.target, outbound).await.map_err(failed)?;
        if response.status() == StatusCode::NOT_FOUND && had_session {
            is_over = true;
            return Err(AskError::NotSent("the session with the server is over".to_owned()));
        }
        refuse_encoded(response.headers()).map_err(|raised| AskError::Lost(raised.message))?;
        answer(line, response, is_greeting, from_server).await?;
        connection.give_back();
        Ok(())
    });
    let error = match done.await {
        Ok(Ok(())) => lost("the server ended its answer without a result"),
        Ok(Err(error)) => error,
        Err(_) => lost("the server did not answer in time"),
    };
    // Where it was answered nobody waits any more, and this is for nobody.
    if let Some(id) = id {
        drop(from_server.send(Inbound::Failed { id, error }).await);
    }
    // Behind the failure: the end of the conversation loses what still waits.
    if is_over {
        drop(from_server.send(Inbound::Ended("its session is over".to_owned())).await);
    }
}

async fn answer(
    line: &Line,
    response: Response<Incoming>,
    is_greeting: bool,
    from_server: &mpsc::Sender<Inbound>,
) -> Result<(), AskError> {
    let status = response.status();
    if is_greeting && status.is_success() {
        let session = response.headers().get(&SESSION_ID).cloned();
        line.state().session = session;
    }
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if status.is_redirection() {
        return Err(refused(status));
    }
    if kind == "text/event-stream" && status.is_success() {
        let read = stream(response, |event| deliver(line, event.data, is_greeting, from_server)).await;
        return read.map_err(AskError::Lost);
    }
    let (body, is_cut) =
        read(response.into_body(), FRAME_BYTES_MAX).await.map_err(|raised| AskError::Lost(raised.message))?;
    if is_cut {
        return Err(AskError::Lost(format!("the server answered with more than {FRAME_BYTES_MAX} bytes")));
    }
    if kind == "application/json" && !body.is_empty() {
        deliver(line, body, is_greeting, from_server).await;
    }
    if status.is_success() { Ok(()) } else { Err(refused(status)) }
}

/// Hands a message on; the greeting's says which revision is spoken from now on.
async fn deliver(line: &Line, frame: Vec<u8>, is_greeting: bool, from_server: &mpsc::Sender<Inbound>) {
    if is_greeting {
        let said: Option<Value> = serde_json::from_slice(&frame).ok();
        let revision = said.as_ref().and_then(|said| said.pointer("/result/protocolVersion")?.as_str());
        let revision = revision.and_then(|revision| HeaderValue::from_str(revision).ok());
        if revision.is_some() {
            line.state().revision = revision;
        }
    }
    drop(from_server.send(Inbound::Frame(frame)).await);
}

/// Reads a stream of events to its end.
async fn stream<F: Future<Output = ()>>(
    response: Response<Incoming>,
    mut take: impl FnMut(Event) -> F,
) -> Result<(), String> {
    let mut body = response.into_body();
    let mut events = Events::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| "the server broke off its stream".to_owned())?;
        let Ok(data) = frame.into_data() else { continue };
        let whole = events.take(&data).map_err(|_| "the server sent an event that is too long".to_owned())?;
        for event in whole {
            take(event).await;
        }
    }
    Ok(())
}

/// A line of the older transport: one stream that comes, and requests that go to where it says.
async fn legacy(line: Arc<Line>) -> Result<Opened, ConnectError> {
    let (outbound, inbound, Queues { mut to_server, from_server }) = queues();
    let (endpoint, told) = oneshot::channel();
    let mut tasks = JoinSet::new();
    let (reads, sends) = (Arc::clone(&line), from_server.clone());
    tasks.spawn(async move {
        let why = listen(&reads, endpoint, &sends).await.err().unwrap_or_else(|| "it has ended".to_owned());
        drop(sends.send(Inbound::Ended(why)).await);
    });
    let told = timeout(ENDPOINT_WITHIN, told).await;
    let endpoint = told.ok().and_then(Result::ok);
    let endpoint =
        endpoint.ok_or_else(|| ConnectError("its stream does not say where to post".to_owned()))?;
    let endpoint =
        line.target.join(&endpoint).map_err(|rule| ConnectError(format!("its endpoint {rule}")))?;
    if !line.target.is_same_origin(&endpoint) {
        return Err(ConnectError("its endpoint is at another origin".to_owned()));
    }
    tasks.spawn(async move {
        while let Some(next) = to_server.recv().await {
            let id = next.id;
            let error = match timeout(within(id), line.post(&endpoint, next)).await {
                Ok(Ok(Exchange { response, connection: _ })) if response.status().is_success() => continue,
                Ok(Ok(Exchange { response, .. })) => refused(response.status()),
                Ok(Err(raised)) => failed(raised),
                Err(_) => lost("the server does not take what it is sent"),
            };
            if let Some(id) = id {
                drop(from_server.send(Inbound::Failed { id, error }).await);
            }
        }
    });
    Ok(Opened(Link { outbound, inbound, hold: Hold::new(tasks, None) }))
}

/// Reads the stream of the older transport.
async fn listen(
    line: &Line,
    endpoint: oneshot::Sender<String>,
    from_server: &mpsc::Sender<Inbound>,
) -> Result<(), String> {
    let mut headers = line.headers.clone();
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    let outgoing = Outgoing { method: Method::GET, target: &line.target, headers, body: Bytes::new() };
    let Exchange { response, connection: _open } =
        line.client.exchange(outgoing).await.map_err(|raised| raised.message)?;
    refuse_encoded(response.headers()).map_err(|raised| raised.message)?;
    if !response.status().is_success() {
        return Err(format!("it answers with status {}", response.status().as_u16()));
    }
    let mut endpoint = Some(endpoint);
    let read = stream(response, |event| {
        // The first says where to post; another has nothing to say about it.
        let first = if event.name == "endpoint" { endpoint.take() } else { None };
        let is_message = event.name.is_empty() || event.name == "message";
        async move {
            if let Some(first) = first {
                drop(first.send(String::from_utf8_lossy(&event.data).into_owned()));
            } else if is_message {
                drop(from_server.send(Inbound::Frame(event.data)).await);
            }
        }
    });
    read.await
}
