//! The way to a service: which may be asked, and for how long. One exchange is `execgate_line`'s.

use core::time::Duration;
use std::io;

use bytes::Bytes;
use execgate_line::{ExchangeError, Reply, TlsError, connector, exchange};
use http_body_util::Full;
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use url::{Host, Url};

/// The longest answer, in bytes. Logs of one payment have some thousand.
pub(crate) const ANSWER_MAX: usize = 1 << 20;

/// How long connecting may take.
const CONNECT_TIME: Duration = Duration::from_secs(5);

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
        Ok(Self { url, patience, tls })
    }

    /// The same service, which may take so long to answer.
    pub(crate) fn within(self, patience: Duration) -> Self {
        Self { patience, ..self }
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
            .header(USER_AGENT, "execgate")
            .header(CONNECTION, "close");
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(value).map_err(|_| LineError::Address)?;
            value.set_sensitive(true);
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|_| LineError::Address)?;
        let dialled = TcpStream::connect((host.trim_matches(['[', ']']), port));
        let stream = tokio::time::timeout(CONNECT_TIME, dialled).await;
        let stream =
            stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(LineError::Connect)?;
        let answered = async {
            match &self.tls {
                None => Ok(exchange(stream, request, ANSWER_MAX).await?),
                Some(tls) => {
                    let name = ServerName::try_from(host).map_err(|_| LineError::Address)?;
                    let stream = tls.connect(name, stream).await.map_err(LineError::Connect)?;
                    Ok(exchange(stream, request, ANSWER_MAX).await?)
                }
            }
        };
        let answered = tokio::time::timeout(self.patience, answered).await;
        answered.unwrap_or_else(|late| Err(LineError::Broken(late.into())))
    }
}
