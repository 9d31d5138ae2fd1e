//! The stages of a run, as they are stored and shown. The typed walk through them is `flow::ticket`.

use serde::{Deserialize, Serialize};

/// Where a recorded run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// A person has to answer first.
    Parked,
    /// Claimed: the intent is durable, the handler may have started.
    Execute,
    /// The outcome and its receipt are durable; money is not settled yet.
    Witness,
    /// Closed.
    Settled,
    /// The process died between intent and outcome. Never started again by itself.
    Unknown,
}

impl Stage {
    /// Every stage, in the order of a run.
    pub const ALL: [Self; 5] = [Self::Parked, Self::Execute, Self::Witness, Self::Settled, Self::Unknown];

    /// The word that is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parked => "parked",
            Self::Execute => "execute",
            Self::Witness => "witness",
            Self::Settled => "settled",
            Self::Unknown => "unknown",
        }
    }

    /// Reads back what [`Self::as_str`] gave.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == word)
    }
}
