//! `/mcp`: Streamable HTTP. One POST is one message; every revision of the protocol on one path.
//!
//! Nothing is kept of a session: its id is a random text that clients of earlier revisions send back, by which a call
//! is found that is to be cancelled, and by which whoever shows no key is the same as before.

use core::convert::Infallible;
use core::time::Duration;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Request as Asked, Response as Answered, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use execgate_model::Digest;
use execgate_tool::Cancel;
use http_body_util::Full;
use http_body_util::channel::{Channel as BodyChannel, Sender};
use http_body_util::combinators::BoxBody;
use rmcp::model::{ConstString as _, SubscriptionsListenRequestMethod};
use rmcp::transport::StreamableHttpServerConfig;
use rmcp::transport::streamable_http_server::StreamableHttpService;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use serde_json::{Value, json};
use tokio::sync::mpsc::channel;
use tokio::time::sleep;

use super::asking::{AskLine, QUESTIONS_MAX, Said, answered, takes};
use super::desk::{Asker, Desk};
use super::listening::{Listener, News, Seen, View};
use super::server::Server;
use super::upstream::desk_at;
use crate::caller::{SESSION, Visitor, is_secret, recognise_at};
use crate::house::House;
use crate::peer::Peer;
use crate::problem::Problem;

/// The header of a session of the revisions before 2026-07-28.
const MCP_SESSION: &str = "mcp-session-id";

/// How often something is said on a stream of which nothing is new: so long at the most it is kept for who has gone.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// The header of a request for a stream that was there before: the last event that was seen of it.
const LAST_EVENT: &str = "last-event-id";

/// The header of the revision that is spoken, and the first one whose clients take an event that says nothing but its name
/// (MCP 2025-11-25, basic/transports); such texts are in the order of their dates.
const REVISION: &str = "mcp-protocol-version";
const TAKES_NAMES: &str = "2025-11-25";

/// What a message is, as far as a door needs to know.
struct Message<'a> {
    method: &'a str,
    id: Option<&'a Value>,
    /// The call that it cancels.
    cancels: Option<&'a Value>,
}

impl<'a> Message<'a> {
    fn of(message: &'a Value) -> Self {
        let method = message.get("method").and_then(Value::as_str).unwrap_or_default();
        let id = message.get("id").filter(|id| id.is_string() || id.is_number());
        let cancels = message.pointer("/params/requestId").filter(|_| method == "notifications/cancelled");
        Self { method, id, cancels }
    }
}

/// `POST /mcp`.
pub(crate) async fn door(State(house): State<Arc<House>>, request: Request) -> Response {
    match pass(&house, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

/// `DELETE /mcp`: whatever the session has called ends.
pub(crate) async fn hang_up(State(house): State<Arc<House>>, uri: Uri, headers: HeaderMap) -> Response {
    let hung_up = async {
        let (visitor, session) = visit(&house, &headers, uri.path()).await?;
        desk_at(&house, uri.path())?;
        let Some(session) = session else {
            return Err(Problem::bad_request("mcp-session", "this needs the header Mcp-Session-Id"));
        };
        house.calls.end(&visitor.caller, &session);
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    hung_up.await.unwrap_or_else(|problem: Problem| problem.into_response())
}

/// `GET /mcp`: what is said unasked to a client of the revisions that have sessions, which is that a list of its own is another
/// one. The names of events are those of what it has seen, so that it is told what has changed since where it comes again.
/// Where no more may listen there is no stream, which a client has to expect (MCP 2025-11-25, basic/transports).
pub(crate) async fn stream(State(house): State<Arc<House>>, uri: Uri, headers: HeaderMap) -> Response {
    let opened = async {
        let (visitor, session) = visit(&house, &headers, uri.path()).await?;
        let desk = desk_at(&house, uri.path())?;
        let session = session.ok_or_else(Problem::method_not_allowed)?;
        let place = house.listeners.place(&visitor.caller).ok_or_else(Problem::method_not_allowed)?;
        let asker = Asker { caller: visitor.caller, peer: None, origin: origin(&house, &headers) };
        let now = seen(desk.as_ref(), &asker).await?;
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let before = text(LAST_EVENT).and_then(View::named);
        let takes_names = text(REVISION).is_some_and(|revision| revision >= TAKES_NAMES);
        let first = (before.is_none() && takes_names).then(|| format!("id: {}\ndata: \n\n", now.view));
        let (sender, body) = BodyChannel::<Bytes, Infallible>::new(1);
        let house = Arc::clone(&house);
        tokio::spawn(async move {
            let has_ended = || house.calls.has_ended(&asker.caller, &session);
            let listener = Listener::begin(desk.as_ref(), &asker, before.map_or(now, Seen::before));
            tell_on(listener, sender, first, has_ended).await;
            drop(place);
        });
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ];
        Ok((headers, Body::new(body)).into_response())
    };
    opened.await.unwrap_or_else(|problem: Problem| problem.into_response())
}

/// What a caller sees now.
async fn seen(desk: &dyn Desk, asker: &Asker) -> Result<Seen, Problem> {
    desk.settled().await;
    Seen::now(desk, asker).await.map_err(|_| Problem::fault())
}

/// Tells of other lists, for as long as somebody reads it.
async fn tell_on(
    mut listener: Listener<'_>,
    mut sender: Sender<Bytes, Infallible>,
    first: Option<String>,
    has_ended: impl Fn() -> bool,
) {
    let mut said = first;
    while !has_ended() {
        let events = match said.take() {
            Some(events) => events,
            None => tokio::select! {
                biased;
                changed = listener.changed() => match changed {
                    Some(changed) => events(&changed, listener.seen()),
                    None => return,
                },
                () = sleep(SIGN_OF_LIFE) => ": \n\n".to_owned(),
            },
        };
        if sender.send_data(Bytes::from(events)).await.is_err() {
            return;
        }
    }
}

/// What has changed, as events. The last one has the name: whoever has not got it is told all of them again.
fn events(changed: &[News], seen: Option<View>) -> String {
    let mut events = String::new();
    for (at, news) in changed.iter().enumerate() {
        if let Some(seen) = seen.filter(|_| at + 1 == changed.len()) {
            events.push_str(&format!("id: {seen}\n"));
        }
        let message = json!({"jsonrpc": "2.0", "method": news.method()});
        events.push_str(&format!("event: message\ndata: {message}\n\n"));
    }
    events
}

async fn pass(house: &Arc<House>, request: Request) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let (visitor, session) = visit(house, &parts.headers, parts.uri.path()).await?;
    let peer = parts.extensions.get::<Peer>().and_then(|peer| peer.address());
    let (bytes, value, place) = house.bodies.message(&parts.headers, body).await?;
    let message = Message::of(&value);
    if message.method.is_empty()
        && let Some(session) = &session
        && let Some(said) = Said::of(&bytes)
    {
        return answer(house, &visitor, session, said);
    }
    let cancel = Cancel::default();
    let open = session.as_ref().zip(message.id).filter(|_| message.method == "tools/call");
    let open = open.and_then(|(session, id)| house.calls.begin(&visitor.caller, session, id, &cancel));
    if let Some((session, id)) = session.as_ref().zip(message.cancels) {
        house.calls.cancel(&visitor.caller, session, id);
    }
    let begins = message.method == "initialize";
    let asker = Asker { caller: visitor.caller.clone(), peer, origin: origin(house, &parts.headers) };
    // What opens things is for this door, and goes no further.
    parts.headers.remove(SESSION);
    let desk = desk_at(house, parts.uri.path())?;
    let open = open.map(Arc::new);
    let asked = Asked::from_parts(parts, Full::new(bytes));
    let may_ask = !desk.asks().is_empty();
    let version = house.parts.info.version;
    // From before the answer: who is told of it later has asked for the list by then.
    let listens = message.method == SubscriptionsListenRequestMethod::VALUE;
    let seen = if listens { Some(seen(desk.as_ref(), &asker).await?) } else { None };
    let mut server =
        Server { desk, asker, version, cancel, open, place, seen, is_at_a_pipe: false, asks: None };
    let line = session.as_ref().filter(|_| may_ask && message.method == "tools/call");
    let mut response = match line {
        Some(session) => {
            let (out, questions) = channel(QUESTIONS_MAX);
            let takes = house.questions.met(&visitor.caller, session);
            server.asks = Some(AskLine { out, session: session.clone(), takes: Some(takes) });
            answered(Box::pin(serve(server, asked)), questions).await
        }
        None => serve(server, asked).await.map(Body::new),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    if begins && response.status().is_success() {
        let id = match &visitor.new_session {
            // Whoever shows no key is known by it from now on.
            Some(secret) => secret.clone(),
            None => random(house)?,
        };
        if may_ask && let Ok(session) = id.to_str() {
            let said = value.pointer("/params/capabilities").unwrap_or(&Value::Null);
            house.questions.meet(&visitor.caller, session, takes(said));
        }
        response.headers_mut().insert(MCP_SESSION, id);
    }
    visitor.announce(response.headers_mut());
    Ok(response)
}

/// Takes what a client answers to a question of its session.
fn answer(house: &House, visitor: &Visitor, session: &str, said: Said) -> Result<Response, Problem> {
    if house.questions.answer(&visitor.caller, session, said) {
        Ok(StatusCode::ACCEPTED.into_response())
    } else {
        Err(Problem::bad_request(
            "no-question",
            "nobody has asked this of this client, or waits for it any more",
        ))
    }
}

/// Has one message answered.
pub(super) async fn serve(
    server: Server,
    request: Asked<Full<Bytes>>,
) -> Answered<BoxBody<Bytes, Infallible>> {
    // Host, Origin and length were looked at by the doors of this gateway.
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .disable_allowed_hosts()
        .with_max_request_body_bytes(usize::MAX);
    let sessions = Arc::new(NeverSessionManager::default());
    StreamableHttpService::new(move || Ok(server.clone()), sessions, config).handle(request).await
}

/// Who asks, and in which session. Whoever shows no key is known by its session.
async fn visit(house: &House, headers: &HeaderMap, path: &str) -> Result<(Visitor, Option<String>), Problem> {
    let session = match headers.get(MCP_SESSION).map(|value| value.to_str().unwrap_or_default()) {
        None => None,
        Some(text) if is_secret(text) => Some(text.to_ascii_lowercase()),
        // A client begins anew where its session is not known (MCP 2025-11-25, basic/transports, "Session Management").
        Some(_) => return Err(Problem::not_found("this session is not one that this gateway gave")),
    };
    let named = session.as_ref().filter(|_| !headers.contains_key(SESSION));
    let visitor = match named.map(|session| HeaderValue::from_str(session)) {
        Some(Ok(secret)) => {
            let mut headers = headers.clone();
            headers.insert(SESSION, secret);
            recognise_at(house, &headers, Some(path)).await?
        }
        Some(Err(_)) | None => recognise_at(house, headers, Some(path)).await?,
    };
    let visitor = visitor.may_call()?;
    if session.as_ref().is_some_and(|session| house.calls.has_ended(&visitor.caller, session)) {
        return Err(Problem::not_found("this session was ended by its client"));
    }
    Ok((visitor, session))
}

fn random(house: &House) -> Result<HeaderValue, Problem> {
    let id = Digest::from_bytes(house.parts.entropy.thirty_two()).to_hex();
    HeaderValue::from_str(&id).map_err(|_| Problem::fault())
}

/// Under which name the caller reaches this gateway, or the operator's.
fn origin(house: &House, headers: &HeaderMap) -> Option<String> {
    let host = || headers.get(HOST).and_then(|host| host.to_str().ok()).map(|host| format!("http://{host}"));
    house.parts.public_url.clone().or_else(host)
}
