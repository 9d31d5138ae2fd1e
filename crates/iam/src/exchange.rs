//! The way to a service: where it is, and how it is asked. One exchange is `execgate_line`'s.

use std::io;

use bytes::Bytes;
use execgate_line::{ExchangeError as Broken, Reply, TlsError, connector, exchange};
use http_body_util::Full;
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::http::request::Builder;
use hyper::{Method, Request};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::ServiceUrl;

/// The longest answer, in bytes. Those of the shape have some hundred.
pub(crate) const ANSWER_MAX: usize = 64 << 10;

/// Why there is no answer. It is for the log alone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("failed to connect")]
    Connect(#[source] io::Error),
    #[error("failed to agree on TLS")]
    Tls(#[source] io::Error),
    #[error("the host is no name that a certificate can have")]
    Name,
    #[error("the question cannot be written")]
    Question(#[source] hyper::http::Error),
    #[error(transparent)]
    Exchange(#[from] Broken),
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
            None => Ok(exchange(stream, request, ANSWER_MAX).await?),
            Some(tls) => {
                let name = ServerName::try_from(self.url.host.clone()).map_err(|_| ExchangeError::Name)?;
                let stream = tls.connect(name, stream).await.map_err(ExchangeError::Tls)?;
                Ok(exchange(stream, request, ANSWER_MAX).await?)
            }
        }
    }
}
