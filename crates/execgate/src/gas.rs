//! What the settler of a gateway has for gas, for its metrics. Asked through its socket, and only where somebody reads them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use execgate_model::BoxFuture;
use execgate_payment::{Facilitator, Gas};
use execgate_settler::Counter;
use execgate_web::{Looker, Reading, ReadingKind};
use tokio::time::timeout;

/// How long what was seen is told, or that nothing was: some blocks.
const FRESH: Duration = Duration::from_secs(15);

/// How long whoever reads the metrics waits for the settler and its node.
const PATIENCE: Duration = Duration::from_secs(3);

/// Wei in a gwei.
const GWEI: u128 = 1_000_000_000;

/// What was seen, and when.
type Seen = Option<(Option<Gas>, Instant)>;

/// The account that pays for gas.
pub(crate) struct GasGauge {
    settler: Counter,
    seen: Mutex<Seen>,
    turn: tokio::sync::Mutex<()>,
}

impl GasGauge {
    /// That of the settler behind a socket.
    pub(crate) fn new(settler: Counter) -> Self {
        Self { settler, seen: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    fn seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn renew(&self) {
        // Whoever comes meanwhile waits, and finds it new.
        let _turn = self.turn.lock().await;
        if self.seen().is_some_and(|(_, at)| at.elapsed() < FRESH) {
            return;
        }
        let gas = match timeout(PATIENCE, self.settler.gas()).await {
            Ok(Ok(gas)) => gas,
            Ok(Err(error)) => {
                tracing::warn!(%error, "what the settler has for gas is in no metric");
                None
            }
            Err(_) => {
                tracing::warn!("the settler does not say in time what it has for gas");
                None
            }
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((gas, Instant::now()));
    }
}

impl Looker for GasGauge {
    fn look(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.renew())
    }

    fn readings(&self) -> Vec<Reading> {
        let Some((Some(gas), _)) = self.seen() else { return Vec::new() };
        let account = || [("account", gas.account.to_string())];
        let gauge = |name, help| Reading::new(name, help, ReadingKind::Gauge);
        vec![
            gauge("settler_gas_gwei", "What the account that pays for gas has, in gwei")
                .with(account(), gas.wei / GWEI),
            gauge("settler_nonce", "Transactions of that account that its chain has")
                .with(account(), gas.nonce),
        ]
    }
}
