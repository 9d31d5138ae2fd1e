//! Questions in the answer to a request by HTTP (MCP 2025-11-25, transports): the answer becomes a stream of events, in which
//! they come before it. A client that hangs up drops all of it.

use core::convert::Infallible;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use axum::body::Body as Answer;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response as Answered};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Collected};
use hyper::body::{Body, Frame};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

type Whole = Answered<BoxBody<Bytes, Infallible>>;

/// An answer that is not there yet.
type Serving = Pin<Box<dyn Future<Output = Whole> + Send>>;

/// How often something is sent while a client thinks, so that nobody on the way believes that it is gone.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

const STREAM: &str = "text/event-stream";

/// The answer, with what is asked before it.
pub(in crate::mcp) async fn answered(mut serving: Serving, mut questions: mpsc::Receiver<Value>) -> Response {
    let (first, phase) = tokio::select! {
        biased;
        answer = &mut serving => {
            if !is_stream(&answer) {
                return answer.map(Answer::new);
            }
            let (parts, body) = answer.into_parts();
            let mixed = Mixed::new(None, Phase::Streaming(body), questions);
            return Answered::from_parts(parts, Answer::new(mixed));
        }
        Some(first) = questions.recv() => (first, Phase::Serving(serving)),
    };
    let mut answer = Response::new(Answer::new(Mixed::new(Some(event(&first)), phase, questions)));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(STREAM));
    answer
}

fn is_stream(answer: &Whole) -> bool {
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.starts_with(STREAM)
}

fn event(message: &Value) -> Bytes {
    format!("event: message\ndata: {message}\n\n").into()
}

enum Phase {
    Serving(Serving),
    /// An answer that is no stream, while it is read.
    Reading(Pin<Box<dyn Future<Output = Result<Collected<Bytes>, Infallible>> + Send>>),
    Streaming(BoxBody<Bytes, Infallible>),
    Over,
}

/// Questions, and then an answer.
struct Mixed {
    next: Option<Bytes>,
    phase: Phase,
    questions: mpsc::Receiver<Value>,
    /// Whether an event has just ended: nothing is put into one.
    is_between: bool,
    alive: Interval,
}

impl Mixed {
    fn new(next: Option<Bytes>, phase: Phase, questions: mpsc::Receiver<Value>) -> Self {
        let mut alive = interval(SIGN_OF_LIFE);
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        alive.reset();
        Self { next, phase, questions, is_between: true, alive }
    }

    /// What there is of questions, and of life.
    fn beside(&mut self, cx: &mut Context<'_>) -> Option<Bytes> {
        if let Some(next) = self.next.take() {
            return Some(next);
        }
        if !self.is_between {
            return None;
        }
        if let Poll::Ready(Some(question)) = self.questions.poll_recv(cx) {
            return Some(event(&question));
        }
        self.alive.poll_tick(cx).is_ready().then(|| Bytes::from_static(b":\n\n"))
    }
}

impl Body for Mixed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(beside) = self.beside(cx) {
                return Poll::Ready(Some(Ok(Frame::data(beside))));
            }
            let next = match &mut self.phase {
                Phase::Serving(serving) => {
                    let answer = ready!(serving.as_mut().poll(cx));
                    if is_stream(&answer) {
                        Phase::Streaming(answer.into_body())
                    } else {
                        Phase::Reading(Box::pin(answer.into_body().collect()))
                    }
                }
                Phase::Reading(reading) => {
                    let Ok(whole) = ready!(reading.as_mut().poll(cx));
                    let whole = whole.to_bytes();
                    self.phase = Phase::Over;
                    let told = [b"event: message\ndata: ", whole.as_ref(), b"\n\n"].concat();
                    return Poll::Ready(Some(Ok(Frame::data(told.into()))));
                }
                Phase::Streaming(body) => {
                    let frame = ready!(Pin::new(body).poll_frame(cx));
                    if let Some(Ok(frame)) = &frame {
                        self.is_between = frame.data_ref().is_none_or(|data| data.ends_with(b"\n\n"));
                    }
                    return Poll::Ready(frame);
                }
                Phase::Over => return Poll::Ready(None),
            };
            self.phase = next;
        }
    }
}
