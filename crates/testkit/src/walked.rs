//! What came of a walk through the rooms of one process.

use execgate_flow::{Passage, Refusal};

/// What came of a walk.
#[derive(Debug)]
pub enum Walked {
    /// It has an answer.
    Passed(Passage),
    /// It was turned away.
    Refused(Refusal),
    /// The process died first.
    Died,
}

impl Walked {
    /// The passage.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn passage(self) -> Passage {
        let Self::Passed(passage) = self else { unreachable!("{self:?}") };
        passage
    }

    /// The rule that refused.
    ///
    /// # Panics
    /// If it was not refused.
    #[must_use]
    #[track_caller]
    pub fn rule(self) -> String {
        let Self::Refused(refusal) = self else { unreachable!("{self:?}") };
        refusal.rule().to_owned()
    }

    /// The rule that refused, where one did.
    #[must_use]
    pub fn refused_by(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => Some(refusal.rule()),
            Self::Passed(_) | Self::Died => None,
        }
    }

    /// Whether the process died first.
    #[must_use]
    pub const fn died(&self) -> bool {
        matches!(self, Self::Died)
    }
}
