//! A body on its way in. What is left of it when nobody reads on is taken for a while and thrown away: a caller that
//! is refused before it has sent everything would find the line cut, and never read why.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::HeaderMap;
use axum::http::header::EXPECT;
use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;

/// How much of the rest is taken, in bytes: as much again as the largest body that is read, and then some.
const REST_MAX: usize = 32 << 20;

/// How long the rest is taken, at most. The answer does not wait for it, but the connection's place does.
const REST_TIME: Duration = Duration::from_secs(5);

/// The body of a request.
pub(crate) fn body(incoming: Incoming, headers: &HeaderMap) -> Body {
    // Who waits to be told that it may go on sends nothing that could be thrown away.
    if headers.contains_key(EXPECT) { Body::new(incoming) } else { Body::new(Upload(Some(incoming))) }
}

/// Holds its body until it is dropped.
struct Upload(Option<Incoming>);

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = &mut self.0 else { return Poll::Ready(None) };
        Pin::new(incoming).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(rest) = self.0.take().filter(|rest| !rest.is_end_stream()) else { return };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(tokio::time::timeout(REST_TIME, throw_away(rest)));
        }
    }
}

async fn throw_away(mut rest: Incoming) {
    let mut left = REST_MAX;
    while let Some(Ok(frame)) = rest.frame().await {
        let taken = frame.data_ref().map_or(0, Bytes::len);
        let Some(after) = left.checked_sub(taken) else { return };
        left = after;
    }
}
