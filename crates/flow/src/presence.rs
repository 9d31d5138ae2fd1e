//! Whether a walk goes on without its caller.

use execgate_tool::Cancel;

/// Whether a walk goes on when its caller hangs up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Needed,
    Dispensable,
}

/// Cancels a run when its caller goes.
pub(crate) struct HangUp(pub(crate) Option<Cancel>);

impl Drop for HangUp {
    fn drop(&mut self) {
        if let Some(cancel) = &self.0 {
            cancel.cancel();
        }
    }
}
