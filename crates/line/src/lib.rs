//! One exchange with a service that the operator has named: one question, one bounded answer, no redirect; and whom to
//! believe where it is by TLS. A connection ends with its question, unless whoever asks keeps it.
//!
//! Who may be asked, and for how long, is for whoever asks (`iam`, `settler`). What callers name is asked by `tool`, which
//! guards its way out by itself.

use core::convert::Infallible;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, Error as RustlsError, RootCertStore};

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

/// Why there is no answer. The question may have been heard.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The connection was over before anything of the question was sent.
    #[error("the connection was closed before anything was asked")]
    Unasked,
    /// The service does not speak HTTP, or hung up.
    #[error("failed to exchange a question for an answer")]
    Http(#[source] hyper::Error),
    /// The answer does not end where it may.
    #[error("the answer is too long or broke off")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a service has answered.
#[derive(Debug)]
pub struct Reply {
    /// Its status code.
    pub status: u16,
    /// Its body.
    pub body: Bytes,
}

/// A connection to a service, for one question after the other. Nothing happens on it while nobody asks, so that it is in
/// [`Self::ask`] that the end of one that the service has closed is seen. One whose question was not answered is to be dropped.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// None once it has ended.
    drive: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("is_open", &self.drive.is_some()).finish_non_exhaustive()
    }
}

impl Connection {
    /// One on a stream that is just open.
    ///
    /// # Errors
    /// [`ExchangeError::Http`].
    pub async fn open<S>(stream: S) -> Result<Self, ExchangeError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_MAX);
        let (sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(ExchangeError::Http)?;
        let drive = async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to a service ended badly");
            }
        };
        Ok(Self { sender, drive: Some(Box::pin(drive)) })
    }

    /// One question and its answer, of at most so many bytes. The caller bounds the time. A future that is dropped leaves a
    /// connection that must not be asked again.
    ///
    /// # Errors
    /// [`ExchangeError`]; it is [`ExchangeError::Unasked`] where nothing of the question was sent.
    pub async fn ask(
        &mut self,
        request: Request<Full<Bytes>>,
        answer_max: usize,
    ) -> Result<Reply, ExchangeError> {
        let Self { sender, drive } = self;
        let Some(driven) = drive.as_mut() else { return Err(ExchangeError::Unasked) };
        // Looks first whether the service has hung up meanwhile.
        let is_open = tokio::select! {
            biased;
            () = driven => false,
            ready = sender.ready() => ready.is_ok(),
        };
        if !is_open {
            *drive = None;
            return Err(ExchangeError::Unasked);
        }
        let answer = async {
            let response = sender.try_send_request(request).await.map_err(|mut error| {
                let is_unasked = error.take_message().is_some();
                if is_unasked { ExchangeError::Unasked } else { ExchangeError::Http(error.into_error()) }
            })?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), answer_max).collect().await;
            Ok(Reply { status, body: body.map_err(ExchangeError::Answer)?.to_bytes() })
        };
        // Driven by whoever asks, so that no question outlives who asks it. Its end may come before its last answer is read.
        let driving = async {
            if let Some(driven) = drive.as_mut() {
                driven.await;
            }
            *drive = None;
            core::future::pending::<Infallible>().await
        };
        tokio::select! {
            answer = answer => answer,
            never = driving => match never {},
        }
    }
}

/// One question and its answer, of at most so many bytes, on a connection that ends with it. The caller bounds the time.
///
/// # Errors
/// [`ExchangeError`].
pub async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    answer_max: usize,
) -> Result<Reply, ExchangeError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    Connection::open(stream).await?.ask(request, answer_max).await
}

/// TLS by the authorities that this host believes.
///
/// # Errors
/// [`TlsError`].
pub fn connector() -> Result<TlsConnector, TlsError> {
    let mut roots = RootCertStore::empty();
    // Certificates that cannot be read are passed over: what counts is whether any can.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::SetUp)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
