//! One exchange with a service: a connection of its own, one question, one bounded answer, no redirect.

use core::convert::Infallible;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::http::request::Builder;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, Error as RustlsError, RootCertStore};

use crate::ServiceUrl;

/// The longest answer, in bytes. Those of the shape have some hundred.
pub(crate) const ANSWER_MAX: usize = 64 << 10;

/// The longest head of an answer, in bytes.
const HEAD_MAX: usize = 16 << 10;

/// Why a service cannot be asked by TLS at all.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Nothing says whom to believe.
    #[error("this host has no certificates of authorities, so that no service can be told by https")]
    NoRoots,
    /// The TLS library refuses its own configuration.
    #[error("failed to set up TLS")]
    SetUp(#[source] RustlsError),
}

/// Why there is no answer. It is for the log alone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("failed to connect")]
    Connect(#[source] io::Error),
    #[error("failed to agree on TLS")]
    Tls(#[source] io::Error),
    #[error("the host is no name that a certificate can have")]
    Name,
    #[error("failed to exchange a question for an answer")]
    Http(#[source] hyper::Error),
    #[error("the question cannot be written")]
    Question(#[source] hyper::http::Error),
    #[error("the answer is too long or broke off")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a service has answered.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// The way to a service.
pub(crate) struct Line {
    url: ServiceUrl,
    tls: Option<TlsConnector>,
}

impl Line {
    /// The way to a service; where that is TLS, by the authorities that this host believes.
    pub(crate) fn new(url: ServiceUrl) -> Result<Self, TlsError> {
        let tls = if url.secure { Some(connector()?) } else { None };
        Ok(Self { url, tls })
    }

    /// Host and port, for tests that dial them otherwise.
    #[cfg(test)]
    pub(crate) fn address(&self) -> String {
        self.url.authority.clone()
    }

    /// Asks by `POST`. The caller bounds the time.
    pub(crate) async fn ask(&self, body: Vec<u8>) -> Result<Reply, ExchangeError> {
        let request = self.request(Method::POST).header(CONTENT_TYPE, "application/json");
        self.send(request.body(Full::new(Bytes::from(body))).map_err(ExchangeError::Question)?).await
    }

    /// Asks by `POST` with a text at a path below that of the address. The caller bounds the time.
    pub(crate) async fn submit(&self, path: &str, text: Vec<u8>) -> Result<Reply, ExchangeError> {
        let target = format!("{}/{path}", self.url.target.trim_end_matches('/'));
        let request =
            self.request(Method::POST).uri(target).header(CONTENT_TYPE, "text/plain; charset=utf-8");
        self.send(request.body(Full::new(Bytes::from(text))).map_err(ExchangeError::Question)?).await
    }

    /// Reads by `GET`. The caller bounds the time.
    pub(crate) async fn read(&self) -> Result<Reply, ExchangeError> {
        let request = self.request(Method::GET).body(Full::default());
        self.send(request.map_err(ExchangeError::Question)?).await
    }

    fn request(&self, method: Method) -> Builder {
        Request::builder()
            .method(method)
            .uri(self.url.target.as_str())
            .header(HOST, self.url.authority.as_str())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, "execgate")
            .header(CONNECTION, "close")
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Reply, ExchangeError> {
        let stream = match self.url.address() {
            Some(address) => TcpStream::connect((address, self.url.port)).await,
            None => TcpStream::connect((self.url.host.as_str(), self.url.port)).await,
        };
        let stream = stream.map_err(ExchangeError::Connect)?;
        match &self.tls {
            None => exchange(stream, request).await,
            Some(tls) => {
                let name = ServerName::try_from(self.url.host.clone()).map_err(|_| ExchangeError::Name)?;
                let stream = tls.connect(name, stream).await.map_err(ExchangeError::Tls)?;
                exchange(stream, request).await
            }
        }
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Reply, ExchangeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_MAX);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(ExchangeError::Http)?;
    let answer = async move {
        let response = sender.send_request(request).await.map_err(ExchangeError::Http)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_MAX);
        let body = body.collect().await.map_err(ExchangeError::Answer)?.to_bytes();
        Ok(Reply { status, body })
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

fn connector() -> Result<TlsConnector, TlsError> {
    let mut roots = RootCertStore::empty();
    // Certificates that cannot be read are passed over: what counts is whether any can.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    let provider = ring::default_provider();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::SetUp)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
