//! One exchange with a service that the operator has named: a connection of its own, one question, one bounded answer, no
//! redirect; and whom to believe where it is by TLS.
//!
//! Who may be asked, and for how long, is for whoever asks (`iam`, `settler`). What callers name is asked by `tool`, which
//! guards its way out by itself.

use core::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::client::conn::http1;
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
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_MAX);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(ExchangeError::Http)?;
    let answer = async move {
        let response = sender.send_request(request).await.map_err(ExchangeError::Http)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), answer_max).collect().await;
        Ok(Reply { status, body: body.map_err(ExchangeError::Answer)?.to_bytes() })
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
