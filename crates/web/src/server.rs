//! A listener: bounded connections, bounded times, and an end that lets running requests finish.

use core::time::Duration;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::HOST;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use crate::patient::Patient;
use crate::peer::Peer;
use crate::upload;

/// How long the head of a request may take.
const HEADER_TIME: Duration = Duration::from_secs(10);

/// How large the head of a request may be, in bytes.
const HEADER_MAX: usize = 64 * 1024;

/// How long to wait after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How many connections of a listener are open.
#[derive(Debug, Clone, Default)]
pub struct OpenConnections(Arc<AtomicUsize>);

impl OpenConnections {
    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn one_more(&self) -> OpenConnection {
        self.0.fetch_add(1, Ordering::Relaxed);
        OpenConnection(self.clone())
    }
}

/// One of them.
struct OpenConnection(OpenConnections);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The bounds of one listener.
#[derive(Debug, Clone)]
pub struct ServerLimits {
    /// Open connections at once.
    pub connections: usize,
    /// How long requests may go on once the listener closes.
    pub drain: Duration,
    /// Is told how many are open.
    pub open: OpenConnections,
}

impl Default for ServerLimits {
    fn default() -> Self {
        // Longer than the longest run (300 s), so that an orderly end never cuts one off.
        Self { connections: 1024, drain: Duration::from_secs(330), open: OpenConnections::default() }
    }
}

/// Why a listener ended other than in order.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Requests went on past the time that draining allows.
    #[error("{open} connections were still busy when the time to drain was over")]
    Undrained {
        /// How many.
        open: usize,
    },
}

/// Where connections come in.
trait Door {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    async fn next(&self) -> io::Result<(Self::Stream, Peer)>;
}

impl Door for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, Peer)> {
        let (stream, address) = self.accept().await?;
        without_delay(&stream);
        Ok((stream, Peer::Network { address: address.ip() }))
    }
}

impl Door for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, Peer)> {
        let (stream, _) = self.accept().await?;
        let uid = stream.peer_cred()?.uid();
        Ok((stream, Peer::User { uid }))
    }
}

/// Serves until `stop` resolves; then takes no new connection and waits for the open requests.
///
/// # Errors
/// [`ServerError::Undrained`] if requests outlast the time to drain.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ServerLimits,
    stop: impl Future<Output = ()>,
) -> Result<(), ServerError> {
    take_all(listener, router, limits, stop).await
}

/// The same on a socket: every request has the [`Peer`] among its extensions.
///
/// # Errors
/// [`ServerError::Undrained`] if requests outlast the time to drain.
pub async fn serve_admin(
    listener: UnixListener,
    router: Router,
    limits: ServerLimits,
    stop: impl Future<Output = ()>,
) -> Result<(), ServerError> {
    take_all(listener, router, limits, stop).await
}

/// Serves one connection to its end, whatever it goes over.
pub async fn serve_one<S>(stream: S, peer: Peer, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    if let Err(error) = connection(stream, peer, router).await {
        tracing::debug!(%error, "a connection ended badly");
    }
}

async fn take_all(
    door: impl Door,
    router: Router,
    limits: ServerLimits,
    stop: impl Future<Output = ()>,
) -> Result<(), ServerError> {
    let places = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let place = tokio::select! {
            () = &mut stop => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = door.next() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = graceful.watch(connection(stream, peer, router.clone()));
                let open = limits.open.one_more();
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection ended badly");
                    }
                    drop((place, open));
                });
            }
            Err(error) => pause_after(&error).await,
        }
    }
    drop(door);
    let open = graceful.count();
    tokio::time::timeout(limits.drain, graceful.shutdown()).await.map_err(|_| ServerError::Undrained { open })
}

/// Small answers must not wait for the peer's delayed acknowledgement.
fn without_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY was refused");
    }
}

/// One HTTP/1.1 connection, with its time limits.
fn connection<S>(stream: S, peer: Peer, router: Router) -> impl GracefulConnection<Error = hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        async move { router.oneshot(arrived(request, peer)).await }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEADER_MAX)
        .serve_connection(TokioIo::new(Patient::new(stream)), service)
}

/// A request as the router knows it.
fn arrived(request: hyper::Request<Incoming>, peer: Peer) -> Request {
    let (mut head, incoming) = request.into_parts();
    // The host of an absolute target stands above the header (RFC 9112, 3.2.2); the doors read the header.
    let target = head.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    if let Some(host) = target {
        head.headers.insert(HOST, host);
    }
    head.extensions.insert(peer);
    let body = upload::body(incoming, &head.headers);
    Request::from_parts(head, body)
}

async fn pause_after(error: &io::Error) {
    tracing::warn!(%error, "accepting a connection failed");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncWriteExt as _, duplex};
    use tokio::time::timeout;

    use super::connection;
    use crate::peer::Peer;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_reads_ends_with_its_connection() {
        let (ours, mut theirs) = duplex(1 << 10);
        let router = Router::new().route("/", get(|| async { vec![0; 1 << 20] }));
        theirs.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let ended = timeout(Duration::from_hours(1), connection(ours, Peer::User { uid: 0 }, router)).await;
        assert!(ended.unwrap().is_err());
    }
}
