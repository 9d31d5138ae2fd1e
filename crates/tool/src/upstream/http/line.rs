//! One conversation by requests of HTTP: what it has agreed on, and how a request of it is sent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE,
};
use hyper::{Method, StatusCode};
use serde_json::json;

use super::super::client::{AskError, DISCOVER, REVISION_STATELESS};
use super::super::connect::ConnectError;
use super::super::link::Outbound;
use super::super::message::RpcError;
use super::super::oauth::{Challenge, Tokens};
use crate::builtin::HttpClient;
use crate::compute::Raised;
use crate::outbound::{Exchange, Outgoing, Target};

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const REVISION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The code of an error that is a status of HTTP (JSON-RPC 2.0: internal error).
const REFUSED: i64 = -32_603;

/// Why nothing is asked in a session that a server does not know any more.
pub(super) const OVER: &str = "its session is over";

/// The name of what is wrong where there is no token.
const NO_TOKEN: &str = "NoToken";

/// A conversation with a server.
pub(super) struct Line {
    client: HttpClient,
    pub(super) target: Target,
    headers: HeaderMap,
    pub(super) tokens: Option<Arc<Tokens>>,
    state: Mutex<State>,
}

/// What a conversation has agreed on.
#[derive(Default)]
pub(super) struct State {
    pub(super) session: Option<HeaderValue>,
    pub(super) revision: Option<HeaderValue>,
    /// Whether there was a session that is over.
    pub(super) is_over: bool,
}

impl Line {
    pub(super) fn new(
        client: HttpClient,
        target: Target,
        headers: HeaderMap,
        tokens: Option<Arc<Tokens>>,
    ) -> Self {
        Self { client, target, headers, tokens, state: Mutex::default() }
    }

    /// The same server, and a conversation that has agreed on nothing yet.
    pub(super) fn anew(&self) -> Self {
        let (client, target, headers) = (self.client.clone(), self.target.clone(), self.headers.clone());
        Self::new(client, target, headers, self.tokens.clone())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session that this conversation is, where the server has named one.
    pub(super) fn session(&self) -> Option<HeaderValue> {
        self.state().session.clone()
    }

    /// The server does not know the session any more: nothing is asked in it.
    pub(super) fn is_over(&self) {
        let mut state = self.state();
        state.session = None;
        state.is_over = true;
    }

    /// What every request of the conversation says.
    fn spoken(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        let state = self.state();
        headers.extend(state.session.clone().map(|session| (SESSION_ID, session)));
        headers.extend(state.revision.clone().map(|revision| (REVISION, revision)));
        headers
    }

    /// Posts a message.
    pub(super) async fn post(&self, target: &Target, outbound: Outbound) -> Result<Exchange, Raised> {
        match outbound.method.as_str() {
            DISCOVER => self.state().revision = Some(HeaderValue::from_static(REVISION_STATELESS)),
            "initialize" => *self.state() = State::default(),
            _ => {}
        }
        let mut headers = self.spoken();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        // Servers of before pass over them.
        headers.extend(HeaderValue::from_str(&outbound.method).ok().map(|method| (METHOD, method)));
        let name = outbound.name.as_deref().and_then(|name| HeaderValue::from_str(name).ok());
        headers.extend(name.map(|name| (NAME, name)));
        if headers.get(&REVISION).is_some_and(|revision| revision == REVISION_STATELESS) {
            headers.extend(outbound.mirrored);
        }
        self.send(Method::POST, target, headers, outbound.frame.into()).await
    }

    /// Asks for the stream of what the server says by itself, or for what came after an event that was seen.
    pub(super) async fn get(&self, target: &Target, after: Option<&str>) -> Result<Exchange, Raised> {
        let mut headers = self.spoken();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let after = after.and_then(|id| HeaderValue::from_str(id).ok());
        headers.extend(after.map(|id| (LAST_EVENT_ID, id)));
        self.send(Method::GET, target, headers, Bytes::new()).await
    }

    /// Says that the session is of no use any more.
    pub(super) async fn delete(&self) -> Result<Exchange, Raised> {
        self.send(Method::DELETE, &self.target, self.spoken(), Bytes::new()).await
    }

    /// Sends a request, with the token of now. One that the server does not take is replaced once.
    async fn send(
        &self,
        method: Method,
        target: &Target,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Exchange, Raised> {
        let once = |authorization: Option<HeaderValue>| {
            let (method, mut headers, body) = (method.clone(), headers.clone(), body.clone());
            headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
            self.client.exchange(Outgoing { method, target, headers, body })
        };
        let Some(tokens) = &self.tokens else { return once(None).await };
        let no_token = |error: ConnectError| Raised::new(NO_TOKEN, error.to_string());
        let token = tokens.current().await.map_err(no_token)?;
        let exchange = once(token.clone()).await?;
        if exchange.response.status() != StatusCode::UNAUTHORIZED {
            return Ok(exchange);
        }
        let challenge = Challenge::of(exchange.response.headers().get_all(WWW_AUTHENTICATE).iter());
        drop(exchange);
        let token = tokens.instead_of(token.as_ref(), challenge).await.map_err(no_token)?;
        once(Some(token)).await
    }
}

/// What an error means for what was asked: only before there was a connection nothing was sent.
pub(super) fn failed(raised: Raised) -> AskError {
    match raised.name.as_str() {
        "AddressRefused" | "ConnectFailed" | "TlsFailed" | "ConnectTimeout" | NO_TOKEN => {
            AskError::NotSent(raised.message)
        }
        _ => AskError::Lost(raised.message),
    }
}

/// What a status means for what was asked, where no message came with it. The server had the request: but for one that
/// lacks credentials it is never asked again by itself.
pub(super) fn refused(status: StatusCode) -> AskError {
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

pub(super) fn lost(why: &str) -> AskError {
    AskError::Lost(why.to_owned())
}
