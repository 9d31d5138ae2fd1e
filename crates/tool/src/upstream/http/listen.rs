//! Streams that are asked for by `GET` (MCP 2025-11-25, transports): what a server says by itself, and the rest of an answer
//! whose stream has broken off. By the first one it is also heard that a session is over.

use core::time::Duration;

use hyper::StatusCode;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::super::client::AskError;
use super::super::link::Inbound;
use super::super::sse::Events;
use super::line::{Line, OVER, lost};
use super::streamable::{Asked, Reading, kind};
use crate::outbound::{Exchange, refuse_encoded};

/// How long it is waited before a stream is asked for again: where the server says nothing, and the bounds of what it says.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_mins(1);

/// A stream that was open for less is asked for ever more slowly.
const LIVED: Duration = Duration::from_secs(5);

/// How often in a row the rest of an answer is asked for without a new event.
const VAIN_MAX: usize = 5;

/// How long to wait, by what the server says.
fn wait(events: &Events) -> Duration {
    events.retry().unwrap_or(RETRY).clamp(RETRY_MIN, RETRY_MAX)
}

/// What came of asking for a stream.
enum Got {
    /// It is there.
    Stream(Box<Exchange>),
    /// The server offers none.
    None,
    /// It does not know the session.
    Over,
    /// It cannot be had now.
    Later,
}

async fn get(line: &Line, after: Option<&str>, was_there: bool) -> Got {
    let Ok(exchange) = line.get(&line.target, after).await else { return Got::Later };
    let status = exchange.response.status();
    let is_stream = kind(&exchange.response) == "text/event-stream";
    let has_session = line.session().is_some();
    if status.is_success() {
        let is_plain = refuse_encoded(exchange.response.headers()).is_ok();
        return if is_stream && is_plain { Got::Stream(Box::new(exchange)) } else { Got::None };
    }
    match status {
        // One that never had a stream may say so by a 404, too; whether the session is over the next call is told.
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST if has_session && was_there => Got::Over,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Got::Later,
        _ if status.is_server_error() => Got::Later,
        _ => Got::None,
    }
}

/// Hears what a server says by itself, for as long as it offers that. Why the session is over, if it is. `listens` resolves
/// when it is heard, or is known to be not.
pub(super) async fn listen(
    line: &Line,
    from_server: &mpsc::Sender<Inbound>,
    listens: oneshot::Sender<()>,
) -> Option<String> {
    let mut listens = Some(listens);
    let asked = Asked { id: None, is_greeting: false };
    let mut reading =
        Reading { line, asked: &asked, from_server, events: Events::default(), is_answered: false };
    let (mut was_there, mut pause) = (false, RETRY);
    loop {
        let after = reading.events.last_id().map(str::to_owned);
        let got = get(line, after.as_deref(), was_there).await;
        // Closed, it resolves, too. Whoever has not waited for it may have asked something before.
        let is_in_time = listens.take().is_some_and(|listens| listens.send(()).is_ok());
        match got {
            Got::None => return None,
            Got::Over => {
                line.is_over();
                return Some(OVER.to_owned());
            }
            Got::Stream(exchange) => {
                let Exchange { response, connection: _open } = *exchange;
                if was_there || !is_in_time {
                    // What it said while nobody listened it does not say again.
                    drop(from_server.send(Inbound::Missed).await);
                }
                was_there = true;
                let since = Instant::now();
                if let Err(why) = reading.stream(response).await {
                    tracing::debug!(why, "the stream of an upstream server has ended");
                }
                let again = wait(&reading.events);
                pause = if since.elapsed() < LIVED { (pause * 2).max(again) } else { again };
            }
            Got::Later => pause *= 2,
        }
        pause = pause.min(RETRY_MAX);
        sleep(pause).await;
        // What was half there when it broke off comes again.
        reading.events = reading.events.anew();
    }
}

/// Asks for the rest of an answer whose stream has broken off. It is not asked for the answer a second time: a server that
/// cannot go on where it was has lost it.
pub(super) async fn resume(mut reading: Reading<'_>) -> Result<(), AskError> {
    let mut vain = 0;
    while vain < VAIN_MAX {
        sleep(wait(&reading.events)).await;
        reading.events = reading.events.anew();
        let after = reading.events.last_id().map(str::to_owned);
        match get(reading.line, after.as_deref(), true).await {
            Got::Stream(exchange) => {
                let Exchange { response, connection: _open } = *exchange;
                // How it ends says nothing: the answer has come, or it is asked for again.
                drop(reading.stream(response).await);
            }
            Got::None | Got::Over => return Err(lost("the server broke off its stream, and has lost it")),
            Got::Later => {}
        }
        if reading.is_answered {
            return Ok(());
        }
        vain = if reading.events.last_id() == after.as_deref() { vain + 1 } else { 0 };
    }
    Err(lost("the server broke off its stream, and does not go on with it"))
}
