//! Connections that are kept for the next request to the same origin (RFC 9112, 9.3).
//!
//! One is used again for a second after its last answer: servers that close idle connections wait longer (gunicorn 2 s, Node
//! and uvicorn 5 s), so that a request meets no server that has just hung up. One whose request may have been written is
//! never replaced: what became of that request nobody can tell.

use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::bad_answer;
use super::dial::Stream;
use super::target::Target;
use crate::compute::Raised;

/// All headers of an answer, in bytes, and their number.
const HEADER_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 100;

/// How long a connection waits for its next request.
const WAITS: Duration = Duration::from_secs(1);

/// How long one is used: a name that leads elsewhere by then is followed, and its addresses are checked anew.
const LIVES: Duration = Duration::from_mins(1);

/// Connections that wait at once.
const WAITING_MAX: usize = 64;

/// A connection to an address that was checked.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinSet<()>,
    since: Instant,
}

/// What became of a request.
pub(crate) enum Asked {
    /// It was answered.
    Answered(Response<Incoming>),
    /// Nothing of it was written: the connection had ended.
    Unsent(Request<Full<Bytes>>),
    /// It may have been heard.
    Lost,
}

impl Connection {
    /// Speaks HTTP/1.1 over a stream.
    pub(crate) async fn open(stream: Box<dyn Stream>) -> Result<Self, Raised> {
        let mut builder = Builder::new();
        builder.max_buf_size(HEADER_BYTES_MAX).max_headers(HEADERS_MAX);
        let shaken = builder.handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|_| bad_answer("the server speaks no HTTP/1.1"))?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // What goes wrong here, the answer or its body tells.
            drop(connection.await);
        });
        Ok(Self { sender, driver, since: Instant::now() })
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn ask(&mut self, request: Request<Full<Bytes>>) -> Asked {
        match self.sender.try_send_request(request).await {
            Ok(response) => Asked::Answered(response),
            Err(mut error) => error.take_message().map_or(Asked::Lost, Asked::Unsent),
        }
    }

    /// Ends it now.
    pub(crate) fn end(&mut self) {
        self.driver.abort_all();
    }
}

/// A connection that waits.
struct Waiting {
    connection: Connection,
    origin: Target,
    since: Instant,
}

/// The connections that wait. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<Vec<Waiting>>>);

impl Pool {
    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to this origin that was used last, where one is left and its server has not hung up.
    pub(crate) async fn take(&self, target: &Target) -> Option<Connection> {
        loop {
            let mut connection = self.newest(target)?;
            // It waits until the last answer is over; that was read to its end.
            if connection.sender.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    fn newest(&self, target: &Target) -> Option<Connection> {
        let mut waiting = self.waiting();
        sweep(&mut waiting);
        let at = waiting.iter().rposition(|one| one.origin.is_same_origin(target))?;
        Some(waiting.remove(at).connection)
    }

    /// Keeps a connection whose last answer was read to its end.
    pub(crate) fn put(&self, origin: Target, connection: Connection) {
        let mut waiting = self.waiting();
        sweep(&mut waiting);
        if waiting.len() < WAITING_MAX && !connection.sender.is_closed() {
            waiting.push(Waiting { connection, origin, since: Instant::now() });
        }
    }
}

#[cfg(test)]
impl Pool {
    /// How many wait whose servers have not hung up.
    pub(crate) fn open(&self) -> usize {
        self.waiting().iter().filter(|one| !one.connection.sender.is_closed()).count()
    }
}

/// Lets go of what has waited, or lived, for too long.
fn sweep(waiting: &mut Vec<Waiting>) {
    waiting.retain(|one| one.since.elapsed() < WAITS && one.connection.since.elapsed() < LIVES);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use http_body_util::BodyExt as _;
    use hyper::Method;
    use hyper::header::HeaderMap;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::mpsc;
    use tokio::task::{JoinHandle, yield_now};
    use tokio::time::{Duration, advance, pause, resume};

    use super::{LIVES, WAITS};
    use crate::outbound::guard::HostResolver;
    use crate::outbound::{Exchange, HttpClient, Outgoing, Target};

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    /// What a server saw: a connection, or a request on the connection of that number.
    #[derive(Debug, PartialEq, Eq)]
    enum Saw {
        Connection,
        Request(usize),
    }

    /// A server that tells what it sees, and hangs up after so many answers.
    async fn server(answers: usize) -> (Target, mpsc::UnboundedReceiver<Saw>, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::of(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let (tell, told) = mpsc::unbounded_channel();
        let served = tokio::spawn(async move {
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                tell.send(Saw::Connection).unwrap();
                serve(stream, number, answers, &tell).await;
            }
        });
        (target, told, served)
    }

    async fn serve(mut stream: TcpStream, number: usize, answers: usize, tell: &mpsc::UnboundedSender<Saw>) {
        for _ in 0..answers {
            let (mut request, mut chunk) = (Vec::new(), [0; 1024]);
            while !request.ends_with(b"\r\n\r\n") {
                let read = stream.read(&mut chunk).await.unwrap();
                if read == 0 {
                    return;
                }
                request.extend_from_slice(&chunk[..read]);
            }
            tell.send(Saw::Request(number)).unwrap();
            stream.write_all(ANSWER).await.unwrap();
        }
    }

    fn client() -> HttpClient {
        HttpClient::with(Arc::new(HostResolver::new()), |_| None)
    }

    async fn ask(client: &HttpClient, target: &Target) {
        let outgoing =
            Outgoing { method: Method::GET, target, headers: HeaderMap::new(), body: Bytes::new() };
        let Exchange { response, connection } = client.exchange(outgoing).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
        connection.give_back();
    }

    /// Lets time pass; what is asked later runs by the clock.
    async fn pass(time: Duration) {
        pause();
        advance(time).await;
        resume();
    }

    #[tokio::test]
    async fn a_connection_serves_the_next_request_and_none_of_a_client_that_keeps_none() {
        let (target, mut told, served) = server(usize::MAX).await;
        let keeping = client().keeping();
        ask(&keeping, &target).await;
        ask(&keeping, &target).await;
        for saw in [Saw::Connection, Saw::Request(0), Saw::Request(0)] {
            assert_eq!(told.recv().await, Some(saw));
        }
        drop(keeping);
        ask(&client(), &target).await;
        for saw in [Saw::Connection, Saw::Request(1)] {
            assert_eq!(told.recv().await, Some(saw));
        }
        // Under another judge nothing is used that this one has let pass.
        let keeping = client().keeping();
        ask(&keeping, &target).await;
        assert_eq!((keeping.waiting(), keeping.judged_by(|_| None).waiting()), (1, 0));
        served.abort();
    }

    #[tokio::test]
    async fn a_server_that_hung_up_is_dialled_again() {
        let (target, mut told, served) = server(1).await;
        let keeping = client().keeping();
        for number in 0..3 {
            ask(&keeping, &target).await;
            assert_eq!(told.recv().await, Some(Saw::Connection));
            assert_eq!(told.recv().await, Some(Saw::Request(number)));
            while keeping.waiting() > 0 {
                yield_now().await;
            }
        }
        served.abort();
    }

    #[tokio::test]
    async fn what_has_waited_or_lived_for_too_long_is_let_go() {
        let (target, mut told, served) = server(usize::MAX).await;
        let keeping = client().keeping();
        ask(&keeping, &target).await;
        pass(WAITS).await;
        ask(&keeping, &target).await;
        for saw in [Saw::Connection, Saw::Request(0), Saw::Connection, Saw::Request(1)] {
            assert_eq!(told.recv().await, Some(saw));
        }
        let half = WAITS / 2;
        for _ in 0..LIVES.as_millis() / half.as_millis() {
            pass(half).await;
            ask(&keeping, &target).await;
        }
        let mut last = None;
        while let Ok(saw) = told.try_recv() {
            last = Some(saw);
        }
        assert_eq!(last, Some(Saw::Request(2)));
        served.abort();
    }
}
