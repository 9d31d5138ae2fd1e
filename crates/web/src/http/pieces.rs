//! A body of a few pieces that lie in memory already, so that nothing large is copied to be answered, and what it takes up is
//! given back when it is sent.

use core::convert::Infallible;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::collections::VecDeque;

use axum::body::HttpBody;
use bytes::Bytes;
use execgate_model::BodyPlace;
use hyper::body::{Frame, SizeHint};

/// The pieces that are not sent yet.
pub(crate) struct Pieces {
    pieces: VecDeque<Bytes>,
    _place: BodyPlace,
}

impl Pieces {
    /// These, one behind the other. The place is kept until all of them are sent, or nobody waits for them any more.
    pub(crate) fn new(pieces: impl IntoIterator<Item = Bytes>, place: BodyPlace) -> Self {
        Self { pieces: pieces.into_iter().collect(), _place: place }
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.pieces.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let bytes: usize = self.pieces.iter().map(Bytes::len).sum();
        SizeHint::with_exact(u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}
