//! TLS to the database: certificates are checked, and the name.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;
use std::sync::Arc;

use execgate_model::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as Tls;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// Makes connections safe.
#[derive(Clone)]
pub(super) struct Safe(pub(super) Arc<ClientConfig>);

/// The same, for one host.
pub(super) struct SafeFor {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// A connection that is safe.
pub(super) struct SafeStream<S>(Tls<S>);

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> MakeTlsConnect<S> for Safe {
    type Stream = SafeStream<S>;
    type TlsConnect = SafeFor;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<SafeFor> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(SafeFor { config: Arc::clone(&self.0), name })
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> TlsConnect<S> for SafeFor {
    type Stream = SafeStream<S>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<SafeStream<S>>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(
            async move { TlsConnector::from(self.config).connect(self.name, stream).await.map(SafeStream) },
        )
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for SafeStream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for SafeStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, out)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for SafeStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
