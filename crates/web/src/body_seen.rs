//! What the body of a request hashes to, while whoever reads it reads it: a payment may be bound to it, and so may what a
//! 402 asks for, which is written when the body is long gone.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use execgate_model::Digest;
use hyper::body::{Frame, SizeHint};
use sha2::{Digest as _, Sha256};

tokio::task_local! {
    /// The body of the request that this task answers.
    static SEEN: BodySeen;
}

/// One body, as far as it was read.
#[derive(Clone, Default)]
pub(crate) struct BodySeen(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    hash: Sha256,
    bytes: usize,
    is_whole: bool,
}

impl BodySeen {
    /// The request, with its body watched.
    pub(crate) fn watch(&self, request: Request) -> Request {
        let seen = self.clone();
        request.map(|body| Body::new(Watched { body, seen }))
    }

    /// Answers a request whose body this is.
    pub(crate) async fn during<T>(self, answer: impl Future<Output = T>) -> T {
        SEEN.scope(self, answer).await
    }

    /// Does something about a request whose body this was.
    pub(crate) fn within<T>(self, act: impl FnOnce() -> T) -> T {
        SEEN.sync_scope(self, act)
    }

    /// What it hashes to; none where it is empty, or was not read to its end.
    pub(crate) fn digest(&self) -> Option<Digest> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (seen.is_whole && seen.bytes > 0).then(|| Digest::from_bytes(seen.hash.clone().finalize().into()))
    }

    fn took(&self, bytes: &Bytes) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.hash.update(bytes);
        seen.bytes += bytes.len();
    }

    fn ended(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_whole = true;
    }
}

/// What the body hashes to of the request that this task answers, where it is watched.
pub(crate) fn digest() -> Option<Digest> {
    SEEN.try_with(BodySeen::digest).ok().flatten()
}

struct Watched {
    body: Body,
    seen: BodySeen,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                frame.data_ref().into_iter().for_each(|bytes| self.seen.took(bytes))
            }
            Poll::Ready(None) => self.seen.ended(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        // Whoever reads is to come to the end.
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;
    use execgate_receipt::sha256;
    use http_body_util::BodyExt as _;

    use super::{BodySeen, digest};

    #[tokio::test]
    async fn a_body_is_known_once_it_is_read_to_its_end() {
        let seen = BodySeen::default();
        let request = seen.watch(Request::new(Body::from("{\"a\":1}")));
        assert_eq!(seen.digest(), None);
        let during = seen.clone().during(async {
            let bytes = request.into_body().collect().await.unwrap().to_bytes();
            (bytes, digest())
        });
        let (bytes, known) = during.await;
        assert_eq!((&bytes[..], known, seen.digest()), (&b"{\"a\":1}"[..], Some(sha256(&bytes)), known));
        assert_eq!(digest(), None, "outside of its request");
    }

    #[tokio::test]
    async fn an_empty_body_is_none() {
        let seen = BodySeen::default();
        let request = seen.watch(Request::new(Body::empty()));
        request.into_body().collect().await.unwrap();
        assert_eq!(seen.digest(), None);
    }
}
