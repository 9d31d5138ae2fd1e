//! The way to a service: which may be asked, and for how long. One exchange is `execgate_line`'s.

use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use execgate_line::{Connection, ExchangeError, Reply, TlsError, connector};
use http_body_util::Full;
use hyper::header::{ACCEPT, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use url::{Host, Url};

/// The longest answer, in bytes. Logs of one payment have some thousand.
pub(crate) const ANSWER_MAX: usize = 1 << 20;

/// How long connecting may take.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// How many connections are kept that nobody asks on.
const KEPT_MAX: usize = 16;

/// How long one is kept: shorter than servers wait for the next question, so that none is asked on a connection that is just
/// being closed. Nobody could tell then whether it was heard.
const KEPT_TIME: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The address is none, or of another scheme than http and https, or http beyond this machine.
    #[error("the address of a service is https, or http on this machine, with a host and no credentials")]
    Address,
    /// It is by TLS, which cannot be had here.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No connection came to be: nothing was asked.
    #[error("failed to connect")]
    Connect(#[source] io::Error),
    /// It broke off, or took too long: it may have been heard.
    #[error("the question was not answered in time or in full")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<ExchangeError> for LineError {
    fn from(error: ExchangeError) -> Self {
        Self::Broken(error.into())
    }
}

impl LineError {
    /// Whether the question surely did not arrive.
    #[must_use]
    pub const fn is_unasked(&self) -> bool {
        matches!(self, Self::Address | Self::Tls(_) | Self::Connect(_))
    }
}

/// A service.
#[derive(Clone)]
pub struct Line {
    url: Url,
    patience: Duration,
    tls: Option<TlsConnector>,
    /// Connections that were answered on, and when.
    kept: Arc<Mutex<Vec<(Connection, Instant)>>>,
}

impl Line {
    /// The way to a service, and how long it may take to answer.
    ///
    /// # Errors
    /// [`LineError::Address`] and [`LineError::Tls`].
    pub fn new(address: &str, patience: Duration) -> Result<Self, LineError> {
        let url = Url::parse(address).map_err(|_| LineError::Address)?;
        let is_clean = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        let is_here = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            None => return Err(LineError::Address),
        };
        let tls = match (url.scheme(), is_here, is_clean) {
            ("https", _, true) => Some(connector()?),
            ("http", true, true) => None,
            _ => return Err(LineError::Address),
        };
        Ok(Self { url, patience, tls, kept: Arc::default() })
    }

    /// The same service, which may take so long to answer.
    pub(crate) fn within(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The same service, over a connection of its own: one that was kept may be hung up on at the moment it is asked, and nobody
    /// would know what became of the question.
    pub(crate) fn anew(&self) -> Self {
        Self { kept: Arc::default(), ..self.clone() }
    }

    /// Asks by `POST` with JSON, at a path below that of the address.
    ///
    /// # Errors
    /// [`LineError`] says whether the question may have been heard.
    pub async fn post(&self, path: &str, body: Vec<u8>) -> Result<Reply, LineError> {
        self.ask(Method::POST, path, body).await
    }

    /// Reads by `GET`, likewise.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub async fn get(&self, path: &str) -> Result<Reply, LineError> {
        self.ask(Method::GET, path, Vec::new()).await
    }

    async fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Reply, LineError> {
        let json = [("content-type", "application/json".to_owned())];
        self.question(method, path, &json, body).await
    }

    /// Asks with headers beside those of every question. Their values are secret.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub(crate) async fn question(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<Reply, LineError> {
        let host = self.url.host_str().ok_or(LineError::Address)?.to_owned();
        let port = self.url.port_or_known_default().ok_or(LineError::Address)?;
        let base = self.url.path().trim_end_matches('/');
        let query = self.url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let target = if path.is_empty() && base.is_empty() {
            format!("/{query}")
        } else {
            format!("{base}{path}{query}")
        };
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, format!("{host}:{port}"))
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, "execgate");
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(value).map_err(|_| LineError::Address)?;
            value.set_sensitive(true);
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|_| LineError::Address)?;
        let answered = tokio::time::timeout(self.patience, self.answered(&host, port, request)).await;
        answered.unwrap_or_else(|late| Err(LineError::Broken(late.into())))
    }

    /// Asks on a connection that was kept, where one is still open, and else on a new one.
    async fn answered(
        &self,
        host: &str,
        port: u16,
        request: Request<Full<Bytes>>,
    ) -> Result<Reply, LineError> {
        while let Some(mut connection) = self.take() {
            match connection.ask(request.clone(), ANSWER_MAX).await {
                // Nothing was sent, so that nothing is asked twice.
                Err(ExchangeError::Unasked) => {}
                answer => return self.kept(connection, answer),
            }
        }
        let mut connection = self.dial(host, port).await?;
        let answer = connection.ask(request, ANSWER_MAX).await;
        self.kept(connection, answer)
    }

    async fn dial(&self, host: &str, port: u16) -> Result<Connection, LineError> {
        let dialled = TcpStream::connect((host.trim_matches(['[', ']']), port));
        let stream = tokio::time::timeout(CONNECT_TIME, dialled).await;
        let stream =
            stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(LineError::Connect)?;
        stream.set_nodelay(true).map_err(LineError::Connect)?;
        match &self.tls {
            None => Ok(Connection::open(stream).await?),
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned()).map_err(|_| LineError::Address)?;
                let stream = tls.connect(name, stream).await.map_err(LineError::Connect)?;
                Ok(Connection::open(stream).await?)
            }
        }
    }

    /// Keeps a connection whose question was answered.
    fn kept(&self, connection: Connection, answer: Result<Reply, ExchangeError>) -> Result<Reply, LineError> {
        let answer = answer?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.push((connection, Instant::now()));
        }
        Ok(answer)
    }

    /// The connection that was asked last, unless that is too long ago. Those that are older are let go of.
    fn take(&self) -> Option<Connection> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(_, since)| since.elapsed() < KEPT_TIME);
        kept.pop().map(|(connection, _)| connection)
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::{KEPT_TIME, Line};

    /// Reads one question and answers it with a number.
    async fn answer(stream: &mut TcpStream, number: u8) {
        let mut question = Vec::new();
        while !question.ends_with(b"\r\n\r\n") {
            question.push(stream.read_u8().await.unwrap());
        }
        let told = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}");
        stream.write_all(told.as_bytes()).await.unwrap();
    }

    async fn line() -> (TcpListener, Line) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        (listener, Line::new(&address, Duration::from_secs(20)).unwrap())
    }

    async fn told(line: &Line) -> u8 {
        line.get("/").await.unwrap().body[0] - b'0'
    }

    #[tokio::test]
    async fn one_connection_is_asked_again_and_two_at_once_are_two() {
        let (listener, line) = line().await;
        let serve = async {
            let mut first = listener.accept().await.unwrap().0;
            answer(&mut first, 1).await;
            answer(&mut first, 2).await;
            let mut second = listener.accept().await.unwrap().0;
            answer(&mut second, 3).await;
            answer(&mut first, 4).await;
        };
        let ask = async {
            assert_eq!((told(&line).await, told(&line).await), (1, 2));
            let mut both = <[u8; 2]>::from(tokio::join!(told(&line), told(&line)));
            both.sort_unstable();
            assert_eq!(both, [3, 4]);
        };
        tokio::join!(serve, ask);
    }

    #[tokio::test]
    async fn one_that_the_service_has_closed_is_not_asked() {
        let (listener, line) = line().await;
        for number in 1..4 {
            let serve = async {
                let mut stream = listener.accept().await.unwrap().0;
                answer(&mut stream, number).await;
                stream
            };
            let (mut stream, heard) = tokio::join!(serve, told(&line));
            assert_eq!(heard, number);
            stream.shutdown().await.unwrap();
            // Something that happens after it is waited for, so that it has been heard of.
            let (later, _) =
                tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
            drop(later.unwrap());
        }
    }

    #[tokio::test]
    async fn one_is_not_kept_for_long() {
        let (listener, line) = line().await;
        let serve = async {
            let mut stream = listener.accept().await.unwrap().0;
            answer(&mut stream, 1).await;
            stream
        };
        let (_stream, heard) = tokio::join!(serve, told(&line));
        assert_eq!((heard, line.kept.lock().unwrap().len()), (1, 1));
        for (_, since) in line.kept.lock().unwrap().iter_mut() {
            *since -= KEPT_TIME;
        }
        assert!(line.take().is_none());
        assert!(line.kept.lock().unwrap().is_empty());
    }
}
