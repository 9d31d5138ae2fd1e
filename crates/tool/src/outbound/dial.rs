//! A connection to a checked address: its name is never resolved again.

use core::time::Duration;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use rustls_native_certs::load_native_certs;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::target::{Host, Target};
use crate::compute::Raised;

/// How long one address may take to take the connection.
const CONNECTS_WITHIN: Duration = Duration::from_secs(5);

/// The most addresses that are tried.
const TRIES_MAX: usize = 4;

/// A stream of bytes to a server.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The host's certificate roots, read once; none where it has none.
static TLS: LazyLock<Option<Arc<ClientConfig>>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(load_native_certs().certs);
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().ok().filter(|_| added > 0)?;
    Some(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
});

/// Dials the addresses in turn, until one answers.
pub(crate) async fn dial(target: &Target, addresses: &[IpAddr]) -> Result<Box<dyn Stream>, Raised> {
    let mut last = "no address";
    for address in addresses.iter().take(TRIES_MAX) {
        match timeout(CONNECTS_WITHIN, TcpStream::connect((*address, target.port))).await {
            Ok(Ok(stream)) => {
                // A small request is not held back until the server has taken the one before.
                drop(stream.set_nodelay(true));
                return if target.is_tls { secure(target, stream).await } else { Ok(Box::new(stream)) };
            }
            Ok(Err(error)) => last = reason(&error),
            Err(_elapsed) => last = "no answer in time",
        }
    }
    Err(Raised::new("ConnectFailed", format!("`{target}` could not be reached: {last}")))
}

fn reason(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        "the connection was refused"
    } else {
        "the network failed"
    }
}

async fn secure(target: &Target, stream: TcpStream) -> Result<Box<dyn Stream>, Raised> {
    let failed = |why: String| Raised::new("TlsFailed", format!("`{target}` has no safe connection: {why}"));
    let config = TLS.clone().ok_or_else(|| failed("this gateway has no certificate roots".to_owned()))?;
    let name = match &target.host {
        Host::Address(address) => ServerName::from(*address),
        Host::Name(name) => {
            let name = name.strip_suffix('.').unwrap_or(name).to_owned();
            ServerName::try_from(name).map_err(|_| failed("the name is no server's".to_owned()))?
        }
    };
    let stream = TlsConnector::from(config).connect(name, stream).await;
    stream.map(|stream| Box::new(stream) as _).map_err(|error| failed(error.to_string()))
}
