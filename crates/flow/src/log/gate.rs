//! Whether the log lets live runs pass.

use std::sync::{Arc, PoisonError, RwLock};

use execgate_model::Effect;

use super::LogFault;
use crate::Refusal;

/// What is wrong with the log, as the corridor sees it. A clone is the same gate; a new one is open.
#[derive(Debug, Clone, Default)]
pub struct LogGate(Arc<RwLock<Option<LogFault>>>);

impl LogGate {
    /// What is wrong, where something is.
    #[must_use]
    pub fn fault(&self) -> Option<LogFault> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, fault: Option<LogFault>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Refuses what is live while something is wrong. A simulation has no effect that a lost record could repeat.
    ///
    /// # Errors
    /// [`Refusal::Busy`] by the rule `log`.
    pub(crate) fn ask(&self, effect: Effect) -> Result<(), Refusal> {
        let closed = self.0.read().unwrap_or_else(PoisonError::into_inner).is_some();
        if closed && effect == Effect::Live {
            return Err(Refusal::Busy {
                rule: "log",
                reason: "the record is not the one that its log was seen with; live runs are refused until the operator has looked (`execgate log`)",
            });
        }
        Ok(())
    }
}
