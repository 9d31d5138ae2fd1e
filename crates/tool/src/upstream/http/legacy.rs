//! The older transport (MCP 2024-11-05, HTTP with SSE): one stream that comes, and requests that go to where it says.

use core::time::Duration;
use std::sync::Arc;

use http_body_util::BodyExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::connect::{ConnectError, Opened};
use super::super::link::{Hold, Inbound, Link, Outbound, Queues, given_up, queues};
use super::super::sse::{Event, Events};
use super::line::{Line, failed, lost, refused};
use super::streamable::{GREETED, within};
use crate::outbound::{Exchange, Target, refuse_encoded};

/// How long the stream may take to say where to post.
const ENDPOINT_WITHIN: Duration = Duration::from_secs(20);

/// How long it may take to say why it has ended.
const SAYS_WHY_WITHIN: Duration = Duration::from_secs(1);

/// Posts under way at once. The answers come by the stream.
const POSTS_MAX: usize = 256;

/// A line of the older transport.
pub(super) async fn legacy(line: Arc<Line>) -> Result<Opened, ConnectError> {
    let (outbound, inbound, Queues { mut to_server, from_server }) = queues();
    let (endpoint, told) = oneshot::channel();
    let (ended, how) = oneshot::channel();
    let mut tasks = JoinSet::new();
    let (reads, sends) = (Arc::clone(&line), from_server.clone());
    tasks.spawn(async move {
        let why = listen(&reads, endpoint, &sends).await.err().unwrap_or_else(|| "it has ended".to_owned());
        drop(ended.send(why.clone()));
        drop(sends.send(Inbound::Ended(why)).await);
    });
    let Some(endpoint) = timeout(ENDPOINT_WITHIN, told).await.ok().and_then(Result::ok) else {
        // Where the stream has ended, it says why.
        let why = timeout(SAYS_WHY_WITHIN, how).await.ok().and_then(Result::ok);
        let why = why.unwrap_or_else(|| "its stream does not say where to post".to_owned());
        return Err(ConnectError(why));
    };
    let endpoint =
        line.target.join(&endpoint).map_err(|rule| ConnectError(format!("its endpoint {rule}")))?;
    if !line.target.is_same_origin(&endpoint) {
        return Err(ConnectError("its endpoint is at another origin".to_owned()));
    }
    let endpoint = Arc::new(endpoint);
    tasks.spawn(async move {
        let mut posts = JoinSet::new();
        while let Some(next) = to_server.recv().await {
            while posts.try_join_next().is_some() {}
            // Order counts for the greeting alone; where there are too many, the next one waits.
            if next.method == GREETED || posts.len() >= POSTS_MAX {
                post(&line, &endpoint, next, &from_server).await;
                continue;
            }
            let (line, endpoint, from_server) = (line.clone(), endpoint.clone(), from_server.clone());
            posts.spawn(async move { post(&line, &endpoint, next, &from_server).await });
        }
    });
    Ok(Opened(Link {
        outbound,
        inbound,
        hold: Hold::new(tasks, None),
        tells_apart: false,
        tries_stateless: false,
    }))
}

/// Posts a message; what is answered comes by the stream.
async fn post(line: &Line, endpoint: &Target, mut next: Outbound, from_server: &mpsc::Sender<Inbound>) {
    let answered = next.answered.take();
    tokio::select! {
        biased;
        () = posted(line, endpoint, next, from_server) => {}
        () = given_up(answered) => {}
    }
}

async fn posted(line: &Line, endpoint: &Target, next: Outbound, from_server: &mpsc::Sender<Inbound>) {
    let id = next.id;
    let error = match timeout(within(id), line.post(endpoint, next)).await {
        Ok(Ok(Exchange { response, connection: _ })) if response.status().is_success() => return,
        Ok(Ok(Exchange { response, .. })) => refused(response.status()),
        Ok(Err(raised)) => failed(raised),
        Err(_) => lost("the server does not take what it is sent"),
    };
    if let Some(id) = id {
        drop(from_server.send(Inbound::Failed { id, error }).await);
    }
}

/// Reads the stream.
async fn listen(
    line: &Line,
    endpoint: oneshot::Sender<String>,
    from_server: &mpsc::Sender<Inbound>,
) -> Result<(), String> {
    let Exchange { response, connection: _open } =
        line.get(&line.target, None).await.map_err(|raised| raised.message)?;
    refuse_encoded(response.headers()).map_err(|raised| raised.message)?;
    if !response.status().is_success() {
        return Err(format!("it answers with status {}", response.status().as_u16()));
    }
    let mut endpoint = Some(endpoint);
    let (mut body, mut events) = (response.into_body(), Events::default());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| "the server broke off its stream".to_owned())?;
        let Ok(data) = frame.into_data() else { continue };
        let whole = events.take(&data).map_err(|_| "the server sent an event that is too long".to_owned())?;
        for Event { name, data } in whole {
            // The first says where to post; another has nothing to say about it.
            if name == "endpoint" {
                if let Some(first) = endpoint.take() {
                    drop(first.send(String::from_utf8_lossy(&data).into_owned()));
                }
            } else if (name.is_empty() || name == "message") && !data.is_empty() {
                drop(from_server.send(Inbound::Frame { frame: data, within: None }).await);
            }
        }
    }
    Ok(())
}
