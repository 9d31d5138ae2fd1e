//! Streamable HTTP (MCP 2025-11-25, transports): each message is a request of its own, answered by a message or by a stream
//! of them. A stream that breaks off is asked for again where the server has named its events; nothing is sent twice.

use core::time::Duration;
use std::sync::Arc;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::client::AskError;
use super::super::connect::Opened;
use super::super::link::{Hold, Inbound, Link, Outbound, Queues, given_up, queues};
use super::super::message::FRAME_BYTES_MAX;
use super::super::sse::{Event, Events};
use super::line::{Line, OVER, failed, lost, refused};
use super::listen::{listen, resume};
use crate::outbound::{Exchange, read, refuse_encoded};

/// How long one exchange may take: calls have deadlines of their own, which are shorter.
const EXCHANGE_WITHIN: Duration = Duration::from_mins(11);

/// How long something may take that has no answer: replies, notifications.
const TELLS_WITHIN: Duration = Duration::from_secs(30);

/// How long what comes behind the greeting waits for the stream of what a server says by itself: what it says, or asks within
/// a call, while nobody listens is lost. Some send the head of that stream with its first event alone.
const LISTENS_WITHIN: Duration = Duration::from_secs(2);

/// How long it may take to find out whether a session is still known, and to end one.
const LOOKS_WITHIN: Duration = Duration::from_secs(10);

/// Requests, and messages without an answer, that are under way at once. Calls have fewer places; what was given up frees its
/// own at once.
const ASKS_MAX: usize = 256;
const TELLS_MAX: usize = 64;

/// What is told when the greeting is over: what comes before may be refused by the server.
pub(super) const GREETED: &str = "notifications/initialized";

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// A line each of whose messages is a request of its own.
pub(super) fn streamable(line: Arc<Line>) -> Opened {
    let (outbound, inbound, Queues { mut to_server, from_server }) = queues();
    let mut tasks = JoinSet::new();
    let (greeted, is_greeted) = oneshot::channel();
    let (listens, does_listen) = oneshot::channel();
    let (heard, sends) = (Arc::clone(&line), from_server.clone());
    tasks.spawn(async move {
        if is_greeted.await.is_ok()
            && let Some(why) = listen(&heard, &sends, listens).await
        {
            drop(sends.send(Inbound::Ended(why)).await);
        }
    });
    let posts = Arc::clone(&line);
    tasks.spawn(async move {
        let (mut asks, mut tells) = (JoinSet::new(), JoinSet::new());
        let mut greeting = Some((greeted, does_listen));
        loop {
            tokio::select! {
                next = to_server.recv() => {
                    let Some(next) = next else { return };
                    if next.method == GREETED {
                        // Whatever comes behind it is sent when the server has it, and is listened to.
                        exchange(&posts, next, &from_server).await;
                        if let Some((greeted, does_listen)) = greeting.take() {
                            // Whoever would listen may be gone; one that is late is not waited for.
                            let _gone = greeted.send(());
                            drop(timeout(LISTENS_WITHIN, does_listen).await);
                        }
                        continue;
                    }
                    let (under_way, most) =
                        if next.id.is_some() { (&mut asks, ASKS_MAX) } else { (&mut tells, TELLS_MAX) };
                    if under_way.len() < most {
                        let (line, from_server) = (Arc::clone(&posts), from_server.clone());
                        under_way.spawn(async move {
                            let mut next = next;
                            let answered = next.answered.take();
                            tokio::select! {
                                // What is answered is read to its end, so that its connection serves again.
                                biased;
                                () = exchange(&line, next, &from_server) => {}
                                () = given_up(answered) => {}
                            }
                        });
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
    let hold = Hold::new(tasks, Some(Box::new(EndsSession(line))));
    Opened(Link { outbound, inbound, hold, tells_apart: true, tries_stateless: true })
}

/// Tells the server that its session is over, where it is dropped while there is one.
struct EndsSession(Arc<Line>);

impl Drop for EndsSession {
    fn drop(&mut self) {
        if self.0.session().is_none() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let line = Arc::clone(&self.0);
        // A server that does not hear of it forgets it by itself.
        runtime.spawn(async move { drop(timeout(LOOKS_WITHIN, line.delete()).await) });
    }
}

/// How long an exchange may take.
pub(super) fn within(id: Option<u64>) -> Duration {
    if id.is_some() { EXCHANGE_WITHIN } else { TELLS_WITHIN }
}

/// Sends one message, and hands on what comes back.
async fn exchange(line: &Line, outbound: Outbound, from_server: &mpsc::Sender<Inbound>) {
    let id = outbound.id;
    let is_greeting = outbound.method == "initialize";
    let mut is_over = false;
    let done = timeout(within(id), async {
        if line.state().is_over {
            // Without its name it would be another question.
            return Err(AskError::NotSent(OVER.to_owned()));
        }
        let had_session = line.session().is_some() && !is_greeting;
        let Exchange { response, connection } = line.post(&line.target, outbound).await.map_err(failed)?;
        let status = response.status();
        // A server that was started anew may say 400 of a session that it does not know.
        is_over = had_session
            && (status == StatusCode::NOT_FOUND
                || status == StatusCode::BAD_REQUEST && !is_known(line).await);
        if is_over {
            line.is_over();
            return Err(AskError::NotSent(OVER.to_owned()));
        }
        refuse_encoded(response.headers()).map_err(|raised| AskError::Lost(raised.message))?;
        answer(line, response, &Asked { id, is_greeting }, from_server).await?;
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
        drop(from_server.send(Inbound::Ended(OVER.to_owned())).await);
    }
}

/// Whether the server still knows the session, by a question that has no effect. Where it does not say, it does.
async fn is_known(line: &Line) -> bool {
    let ping = json!({"jsonrpc": "2.0", "id": "execgate", "method": "ping"});
    let ping = Outbound::new(None, "ping", ping.to_string());
    match timeout(LOOKS_WITHIN, line.post(&line.target, ping)).await {
        Ok(Ok(Exchange { response, .. })) => {
            !matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST)
        }
        Ok(Err(_)) | Err(_) => true,
    }
}

/// What was asked, as far as what comes back is read by it.
pub(super) struct Asked {
    pub(super) id: Option<u64>,
    pub(super) is_greeting: bool,
}

async fn answer(
    line: &Line,
    response: Response<Incoming>,
    asked: &Asked,
    from_server: &mpsc::Sender<Inbound>,
) -> Result<(), AskError> {
    let status = response.status();
    if asked.is_greeting && status.is_success() {
        let session = response.headers().get(&SESSION_ID).cloned();
        line.state().session = session;
    }
    if status.is_redirection() {
        return Err(refused(status));
    }
    let kind = kind(&response);
    if kind == "text/event-stream" && status.is_success() {
        let mut read = Reading { line, asked, from_server, events: Events::default(), is_answered: false };
        let broken = read.stream(response).await.err();
        return match broken {
            _ if read.is_answered => Ok(()),
            _ if read.events.last_id().is_some() && asked.id.is_some() => resume(read).await,
            Some(why) => Err(AskError::Lost(why)),
            None => Ok(()),
        };
    }
    let (body, is_cut) =
        read(response.into_body(), FRAME_BYTES_MAX).await.map_err(|raised| AskError::Lost(raised.message))?;
    if is_cut {
        return Err(AskError::Lost(format!("the server answered with more than {FRAME_BYTES_MAX} bytes")));
    }
    // An error that names no question is told by its status.
    if kind == "application/json" && !body.is_empty() && (status.is_success() || asked.is_answered_by(&body))
    {
        deliver(line, body, asked, from_server).await;
    }
    if status.is_success() { Ok(()) } else { Err(refused(status)) }
}

/// What an answer is, by its head.
pub(super) fn kind(response: &Response<Incoming>) -> String {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Of a message, whether it is an answer, and to what.
#[derive(Deserialize)]
struct Peek {
    id: Option<Value>,
    method: Option<IgnoredAny>,
}

impl Asked {
    /// Whether a message is the answer to it.
    fn is_answered_by(&self, frame: &[u8]) -> bool {
        let Some(id) = self.id else { return false };
        let peek: Option<Peek> = serde_json::from_slice(frame).ok();
        peek.is_some_and(|peek| peek.method.is_none() && peek.id.and_then(|said| said.as_u64()) == Some(id))
    }
}

/// A stream that is the answer to something, while it is read.
pub(super) struct Reading<'l> {
    pub(super) line: &'l Line,
    pub(super) asked: &'l Asked,
    pub(super) from_server: &'l mpsc::Sender<Inbound>,
    pub(super) events: Events,
    /// Whether the answer was seen: looked for only where the stream could be asked for again.
    pub(super) is_answered: bool,
}

impl Reading<'_> {
    /// Reads on, to the end of the stream or the answer.
    pub(super) async fn stream(&mut self, response: Response<Incoming>) -> Result<(), String> {
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| "the server broke off its stream".to_owned())?;
            let Ok(data) = frame.into_data() else { continue };
            let whole = self.events.take(&data).map_err(|_| "the server sent an event that is too long")?;
            for Event { data, .. } in whole {
                if data.is_empty() {
                    // It only says where the stream is.
                    continue;
                }
                let has_id = self.events.last_id().is_some();
                self.is_answered = self.is_answered || has_id && self.asked.is_answered_by(&data);
                deliver(self.line, data, self.asked, self.from_server).await;
            }
            if self.is_answered {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Hands a message on; the greeting's says which revision is spoken from now on.
pub(super) async fn deliver(line: &Line, frame: Vec<u8>, asked: &Asked, from_server: &mpsc::Sender<Inbound>) {
    if asked.is_greeting {
        let said: Option<Value> = serde_json::from_slice(&frame).ok();
        let revision = said.as_ref().and_then(|said| said.pointer("/result/protocolVersion")?.as_str());
        let revision = revision.and_then(|revision| HeaderValue::from_str(revision).ok());
        if revision.is_some() {
            line.state().revision = revision;
        }
    }
    drop(from_server.send(Inbound::Frame { frame, within: asked.id }).await);
}
