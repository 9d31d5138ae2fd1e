//! The port of whatever opens lines to a server.

use execgate_model::{BoxFuture, Digest};
use serde_json::Value;

use super::link::Link;

/// Why a server cannot be reached. The text is for the operator, and has no secret in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConnectError(pub(super) String);

/// A line that was opened. What it is made of is this module's own business.
pub struct Opened(pub(super) Link);

/// Opens lines to one server: starts its process, or dials it.
pub trait Connect: Send + Sync {
    /// A new line; the one before is gone.
    fn open(&self) -> BoxFuture<'_, Result<Opened, ConnectError>>;

    /// The same for one caller, whose own the line is; `None` is nobody's.
    fn open_of(&self, _owner: Option<Digest>) -> BoxFuture<'_, Result<Opened, ConnectError>> {
        self.open()
    }

    /// What confines it, for receipts: `{transport, sandbox, …}`.
    fn enforced(&self) -> Value;

    /// What a server said, without the secrets that went along.
    fn clean(&self, value: Value) -> Value {
        value
    }
}
