//! A run as it comes: server-sent events (WHATWG HTML 9.2) `stdout` and `stderr`, each `{"text"}`, then `receipt`,
//! then `result` with the envelope, or `error` with what would have been the status and body.
//!
//! A refusal before the run starts is an ordinary answer. Whoever hangs up ends a run that has no nonce.

use core::fmt::Display;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::{IntoResponse as _, Response};
use execgate_flow::{Passage, Refusal};
use execgate_model::{Progress, Proposal, Watcher};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{Instant, Interval, interval_at};

use super::text::Text;
use crate::figures::Note;
use crate::house::House;
use crate::problem::{Problem, Shape, seal_headers};
use crate::render::CodeWords;

/// How often something is said while nothing happens, so that nobody in between takes the line for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A stream of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

/// What was seen of the run and not told yet, joined by stream, the one that spoke first in front. Bounded by the
/// output that a run may keep, in however many pieces it comes.
#[derive(Debug, Clone, Default)]
struct Untold(Arc<Mutex<Joined>>);

/// Bytes by stream.
type Joined = Vec<(Stream, Vec<u8>)>;

impl Untold {
    fn add(&self, progress: Progress<'_>) {
        let (stream, bytes) = match progress {
            Progress::Started => return,
            Progress::Stdout(bytes) => (Stream::Stdout, bytes),
            Progress::Stderr(bytes) => (Stream::Stderr, bytes),
            Progress::Step { message, .. } => (Stream::Stdout, message.as_bytes()),
        };
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match streams.iter_mut().find(|(known, _)| *known == stream) {
            Some((_, joined)) => joined.extend_from_slice(bytes),
            None => streams.push((stream, bytes.to_vec())),
        }
    }

    fn take(&self) -> Joined {
        mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

type Walk = Pin<Box<dyn Future<Output = Result<Passage, Refusal>> + Send>>;

/// Walks a proposal and answers with its events, or with what refused it.
pub(super) async fn respond(
    house: Arc<House>,
    mut proposal: Proposal,
    words: Arc<CodeWords>,
    note: Note,
) -> Response {
    let untold = Untold::default();
    let (signal, mut seen) = channel(1);
    let unseen = untold.clone();
    proposal.watcher = Some(Watcher::new(move |progress| {
        unseen.add(progress);
        // One that waits is enough. If nobody listens any more, the run goes on if it has a nonce, and is being
        // cancelled if not.
        let _waits_or_gone = signal.try_send(());
    }));
    let mut walk: Walk = Box::pin(async move { house.parts.corridor.walk(proposal, words).await });
    let mut ended = None;
    tokio::select! {
        biased;
        Some(()) = seen.recv() => {}
        // A replay, or a refusal.
        walked = &mut walk => match walked {
            Ok(passage) => ended = Some(passage),
            Err(refusal) => return note.take(Problem::from(refusal).into_response()),
        },
    }
    let mut live = Live {
        walk: ended.is_none().then_some(walk),
        note: Some(note),
        seen,
        untold,
        texts: Default::default(),
        ready: VecDeque::new(),
        keep_alive: interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE),
    };
    // The signal that was taken above may have told of output too.
    live.show();
    if let Some(passage) = ended {
        live.finish(Ok(passage));
    }
    let mut response = Response::new(Body::new(UnsyncBoxBody::new(live)));
    seal_headers(&mut response, "text/event-stream");
    response
}

/// The body of the answer.
struct Live {
    /// None once it has ended.
    walk: Option<Walk>,
    /// None once it was taken.
    note: Option<Note>,
    /// Says that there is something untold.
    seen: Receiver<()>,
    untold: Untold,
    /// Of stdout and stderr.
    texts: [Text; 2],
    ready: VecDeque<Bytes>,
    keep_alive: Interval,
}

impl Live {
    fn show(&mut self) {
        for (stream, bytes) in self.untold.take() {
            let [out, err] = &mut self.texts;
            let (name, text) = match stream {
                Stream::Stdout => ("stdout", out.push(&bytes)),
                Stream::Stderr => ("stderr", err.push(&bytes)),
            };
            if !text.is_empty() {
                self.ready.push_back(event(name, &json!({"text": text})));
            }
        }
    }

    /// The last events. What was seen before the end comes before it.
    fn finish(&mut self, walked: Result<Passage, Refusal>) {
        self.show();
        let [out, err] = &mut self.texts;
        for (name, text) in [("stdout", out.end()), ("stderr", err.end())] {
            if !text.is_empty() {
                self.ready.push_back(event(name, &json!({"text": text})));
            }
        }
        let (answer, problem) = match walked {
            Ok(passage) => {
                let receipt = json!({
                    "run": passage.run, "receipt": passage.content, "replayed": passage.replayed
                });
                self.ready.push_back(event("receipt", &receipt));
                (passage.answer, None)
            }
            Err(refusal) => {
                let problem = Problem::from(refusal);
                (problem.clone().shaped(Shape::CodeRun), Some(problem))
            }
        };
        if let Some(note) = self.note.take() {
            note.ended(answer.status, problem.as_ref());
        }
        let body = String::from_utf8_lossy(&answer.body);
        self.ready.push_back(if answer.status == 200 {
            event("result", &body)
        } else {
            let mut told: Value = serde_json::from_str(&body).unwrap_or_else(|_| json!({}));
            told["status"] = answer.status.into();
            event("error", &told)
        });
    }
}

/// One event. JSON has no raw line break, so that one `data` line is enough.
fn event(name: &str, data: &impl Display) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

impl HttpBody for Live {
    type Data = Bytes;
    type Error = core::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if self.walk.is_none() {
                return Poll::Ready(None);
            }
            if self.seen.poll_recv(context) == Poll::Ready(Some(())) {
                self.show();
                continue;
            }
            if let Some(Poll::Ready(walked)) = self.walk.as_mut().map(|walk| walk.as_mut().poll(context)) {
                self.walk = None;
                self.finish(walked);
                continue;
            }
            if self.keep_alive.poll_tick(context).is_ready() {
                self.ready.push_back(Bytes::from_static(b": the run goes on\n\n"));
                continue;
            }
            return Poll::Pending;
        }
    }
}

#[cfg(test)]
mod tests {
    use execgate_model::Progress;

    use super::{Stream, Untold};

    #[test]
    fn pieces_that_nobody_takes_are_joined_by_stream() {
        let untold = Untold::default();
        untold.add(Progress::Started);
        for _ in 0..1000 {
            untold.add(Progress::Stderr(b"e"));
            untold.add(Progress::Stdout(b"o"));
        }
        let joined = [(Stream::Stderr, vec![b'e'; 1000]), (Stream::Stdout, vec![b'o'; 1000])];
        assert_eq!(untold.take(), joined);
        assert_eq!(untold.take(), []);
    }
}
