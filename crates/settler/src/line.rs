//! The way to a service: one question by HTTP, one bounded answer, no redirect.

use core::convert::Infallible;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::{Host, Url};

/// The longest answer, in bytes. Logs of one payment have some thousand.
const ANSWER_MAX: usize = 1 << 20;

/// The longest head of an answer, in bytes.
const HEAD_MAX: usize = 16 << 10;

/// How long connecting may take.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The address is none, or of another scheme than http and https, or http beyond this machine.
    #[error("the address of a service is https, or http on this machine, with a host and no credentials")]
    Address,
    /// Nothing says whom to believe.
    #[error("this host has no certificates of authorities, so that no service can be told by https")]
    NoRoots,
    /// No connection came to be: nothing was asked.
    #[error("failed to connect")]
    Connect(#[source] io::Error),
    /// It broke off, or took too long: it may have been heard.
    #[error("the question was not answered in time or in full")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl LineError {
    /// Whether the question surely did not arrive.
    #[must_use]
    pub const fn is_unasked(&self) -> bool {
        matches!(self, Self::Address | Self::NoRoots | Self::Connect(_))
    }
}

/// What a service has answered.
#[derive(Debug)]
pub struct Reply {
    /// Its status code.
    pub status: u16,
    /// Its body.
    pub body: Bytes,
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
    /// [`LineError::Address`] and [`LineError::NoRoots`].
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
                None => exchange(stream, request).await,
                Some(tls) => {
                    let name = ServerName::try_from(host).map_err(|_| LineError::Address)?;
                    let stream = tls.connect(name, stream).await.map_err(LineError::Connect)?;
                    exchange(stream, request).await
                }
            }
        };
        let answered = tokio::time::timeout(self.patience, answered).await;
        answered.unwrap_or_else(|late| Err(LineError::Broken(late.into())))
    }
}

/// One question and its answer on a connection of their own.
pub(crate) async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Reply, LineError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let broken = |error: hyper::Error| LineError::Broken(error.into());
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answer = async move {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        Ok(Reply { status, body: body.map_err(LineError::Broken)?.to_bytes() })
    };
    // The connection ends with this future, so that no question outlives who asks it.
    let drive = async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to a service ended badly");
        }
        core::future::pending::<Infallible>().await
    };
    tokio::select! {
        answer = answer => answer,
        never = drive => match never {},
    }
}

fn connector() -> Result<TlsConnector, LineError> {
    let mut roots = RootCertStore::empty();
    // Certificates that cannot be read are passed over: what counts is whether any can.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(LineError::NoRoots);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| LineError::Broken(error.into()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
