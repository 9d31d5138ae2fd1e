//! The protocol over standard input and output, for one client that has started this process.

use std::future::pending;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use execgate_model::{BodyPlace, Caller, Identity};
use execgate_tool::Cancel;
use execgate_tool::upstream::Upstream;
use rmcp::model::ProtocolVersion;
use rmcp::service::{ServerInitializeError, serve_server};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::{Peer, RoleServer};
use tokio::io::{AsyncRead, AsyncWrite, duplex};
use tokio::sync::mpsc::channel;
use tokio::task::{JoinError, JoinSet};

use super::asking::{AskLine, QUESTIONS_MAX, filtered, merged};
use super::desk::{Asker, Desk};
use super::listening::{Listener, Seen};
use super::own::OwnDesk;
use super::server::Server;
use super::upstream::UpstreamDesk;
use crate::house::House;

/// The longest line that is read, in bytes: as much as a body by HTTP may have, and what surrounds it.
const LINE_MAX: usize = 9 << 20;

/// What lies between the pipe and the protocol at most, on either way, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// Why a pipe is served no more.
#[derive(Debug, thiserror::Error)]
pub enum PipeError {
    /// What came first was no beginning of the protocol.
    #[error("the client did not begin as the protocol asks")]
    Beginning(#[source] Box<ServerInitializeError>),
    /// What was said could not be written.
    #[error("failed to write to the client")]
    Write(#[source] io::Error),
    /// The task that served it failed.
    #[error("failed to serve the client")]
    Serve(#[source] JoinError),
}

impl House {
    /// The caller at the other end of a pipe: whoever has started this process.
    fn local(&self) -> Caller {
        Caller { tenant: self.parts.tenant.clone(), identity: Identity::Local }
    }
}

/// Serves one client until it closes its end. Nothing but messages of the protocol is written.
///
/// # Errors
/// [`PipeError`] where it does not speak the protocol.
pub async fn serve_pipe(
    house: Arc<House>,
    input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Send + Unpin + 'static,
) -> Result<(), PipeError> {
    let desk = Arc::new(OwnDesk(Arc::clone(&house)));
    serve_desk(&house, desk, None, input, output).await
}

/// The same, with the tools of one server of others in the place of this gateway's own.
///
/// # Errors
/// As [`serve_pipe`].
pub async fn serve_upstream_pipe(
    house: Arc<House>,
    upstream: Arc<Upstream>,
    input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Send + Unpin + 'static,
) -> Result<(), PipeError> {
    let desk = Arc::new(UpstreamDesk::new(Arc::clone(&house), upstream));
    if desk.asks().is_empty() {
        return serve_desk(&house, desk, None, input, output).await;
    }
    let (out, questions) = channel(QUESTIONS_MAX);
    let (to_us, ours) = duplex(PIECE_BYTES);
    let (its, from_us) = duplex(PIECE_BYTES);
    let line = AskLine { out, session: String::new(), takes: None };
    let mut beside = JoinSet::new();
    let (book, caller) = (Arc::clone(&house.questions), house.local());
    let line_max = u64::try_from(LINE_MAX).unwrap_or(u64::MAX);
    beside.spawn(async move { filtered(&book, &caller, line_max, input, to_us).await });
    let writes = tokio::spawn(merged(from_us, questions, output));
    let served = serve_desk(&house, desk, Some(line), ours, its).await;
    // What was said is written to its end.
    match writes.await.map_err(PipeError::Serve)? {
        // A client that is gone needs to be told nothing.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(PipeError::Write(error)),
        Ok(()) | Err(_) => served,
    }
}

async fn serve_desk(
    house: &House,
    desk: Arc<dyn Desk>,
    asks: Option<AskLine>,
    input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Send + Unpin + 'static,
) -> Result<(), PipeError> {
    let version = house.parts.info.version;
    let asker = Asker { caller: house.local(), peer: None, origin: None };
    // Of before anything can be asked: what changes later is told.
    let seen = Seen::now(desk.as_ref(), &asker).await.ok();
    let server = Server {
        desk: Arc::clone(&desk),
        asker: asker.clone(),
        version,
        cancel: Cancel::default(),
        open: None,
        place: BodyPlace::default(),
        seen,
        is_at_a_pipe: true,
        asks,
    };
    let transport = AsyncRwTransport::<RoleServer, _, _>::new(input, output).with_max_line_length(LINE_MAX);
    let running = match serve_server(server, transport).await {
        Ok(running) => running,
        // A client that goes before it has begun is no fault.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => return Err(PipeError::Beginning(Box::new(error))),
    };
    let telling = tell(desk.as_ref(), &asker, seen, running.peer().clone());
    tokio::select! {
        biased;
        ended = running.waiting() => ended.map(drop).map_err(PipeError::Serve),
        () = telling => Ok(()),
    }
}

/// Tells a client of a revision before 2026-07-28 of other lists; those since then ask for it. Goes on for as long as it
/// is polled.
async fn tell(desk: &dyn Desk, asker: &Asker, seen: Option<Seen>, peer: Peer<RoleServer>) {
    let asks = |version: &ProtocolVersion| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str();
    if peer.peer_info().is_some_and(|client| !asks(&client.protocol_version)) {
        let mut listener = Listener::at_a_pipe(desk, asker, seen);
        while let Some(changed) = listener.changed().await {
            for news in changed {
                if !news.tell_unasked(&peer).await {
                    return pending().await;
                }
            }
        }
    }
    pending().await
}
