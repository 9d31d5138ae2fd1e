//! The administration of a gateway at work: its socket, and a listener where one is set.

use core::pin::Pin;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use execgate_web::{Office, ServerError, ServerLimits, admin_router, serve, serve_admin};
use tokio::net::{TcpListener as AsyncListener, UnixListener as AsyncUnixListener};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::socket::AdminSocket;

/// Connections of one door at once: an operator, what scrapes, and some to spare.
const CONNECTIONS: usize = 64;

/// How long requests may go on once the gateway has ended: none of them waits for a run.
const DRAIN: Duration = Duration::from_secs(5);

/// The open doors of the administration.
pub(crate) struct Administration {
    socket: AdminSocket,
    doors: Vec<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Administration {
    /// Serves the socket, and the listener.
    pub(crate) fn open(
        (socket, listening): (AdminSocket, UnixListener),
        listener: Option<TcpListener>,
        office: Arc<Office>,
    ) -> anyhow::Result<Self> {
        let router = admin_router(office);
        let limits = || ServerLimits { connections: CONNECTIONS, drain: DRAIN, ..ServerLimits::default() };
        let listening = AsyncUnixListener::from_std(listening);
        let listening = listening.context("failed to take the socket of the administration")?;
        tracing::info!(socket = %socket.path().display(), "the administration is open");
        let mut doors = vec![door(|end| serve_admin(listening, router.clone(), limits(), end))];
        if let Some(listener) = listener {
            let listener = AsyncListener::from_std(listener);
            let listener = listener.context("failed to take the listener of the administration")?;
            doors.push(door(|end| serve(listener, router, limits(), end)));
        }
        Ok(Self { socket, doors })
    }

    /// Takes no new request, waits for those that are on their way, and removes the socket.
    pub(crate) async fn close(self) {
        for (ended, serving) in self.doors {
            drop(ended);
            if let Err(error) = serving.await {
                tracing::warn!(%error, "the administration ended badly");
            }
        }
        drop(self.socket);
    }
}

type End = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves until the sender is dropped.
fn door<S>(serve: impl FnOnce(End) -> S) -> (oneshot::Sender<()>, JoinHandle<()>)
where
    S: Future<Output = Result<(), ServerError>> + Send + 'static,
{
    let (ended, end) = oneshot::channel::<()>();
    let serving = serve(Box::pin(async { drop(end.await) }));
    let serving = tokio::spawn(async {
        if let Err(error) = serving.await {
            tracing::warn!(%error, "the administration was cut off");
        }
    });
    (ended, serving)
}
