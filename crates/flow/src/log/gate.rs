//! Whether the log lets live runs pass.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use execgate_model::Effect;

use super::LogFault;
use crate::Refusal;

/// What is wrong with the log, as the corridor sees it. A clone is the same gate; a new one is open.
#[derive(Debug, Clone, Default)]
pub struct LogGate(Arc<Kept>);

#[derive(Debug, Default)]
struct Kept {
    fault: RwLock<Option<LogFault>>,
    /// Whether witnesses are waited for.
    unwitnessed: AtomicBool,
}

impl LogGate {
    /// What is wrong, where something is.
    #[must_use]
    pub fn fault(&self) -> Option<LogFault> {
        self.0.fault.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, fault: Option<LogFault>) {
        *self.0.fault.write().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    pub(super) fn await_witnesses(&self, wait: bool) {
        self.0.unwitnessed.store(wait, Ordering::SeqCst);
    }

    pub(super) fn is_unwitnessed(&self) -> bool {
        self.0.unwitnessed.load(Ordering::SeqCst)
    }

    /// Refuses what is live while something is wrong, or not known to be right. A simulation has no effect that a lost
    /// record could repeat, and an answer that is kept starts nothing: neither comes here.
    ///
    /// # Errors
    /// [`Refusal::Busy`] by the rule `log` or `witness`.
    pub(crate) fn ask(&self, effect: Effect) -> Result<(), Refusal> {
        if effect != Effect::Live {
            return Ok(());
        }
        if self.0.fault.read().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Err(Refusal::Busy {
                rule: "log",
                reason: "the record is not the one that its log was seen with; live runs are refused until the operator has looked (`execgate log`)",
            });
        }
        if self.is_unwitnessed() {
            return Err(Refusal::Busy {
                rule: "witness",
                reason: "too few witnesses have agreed with the log since this gateway started; live runs are refused until they have",
            });
        }
        Ok(())
    }
}
