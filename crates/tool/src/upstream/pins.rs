//! What an operator has accepted of each server, and how an offer stands against it. Where the pins lie is the business of
//! whoever keeps the book.
//!
//! A pin is over all that a server says of a tool, and over its instructions. It cannot hold what the tool does: behaviour
//! behind an unchanged entry can change.

use std::collections::BTreeMap;

use execgate_model::Digest;

use super::offer::Offer;
use super::words::ServerName;

/// What was accepted of one server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pins {
    /// Over its instructions; none where it had none.
    pub instructions: Option<Digest>,
    /// Over each of its tools.
    pub tools: BTreeMap<String, Digest>,
}

impl Pins {
    /// All of an offer.
    #[must_use]
    pub fn of(offer: &Offer) -> Self {
        let tools = offer.entries.iter().map(|entry| (entry.name.clone(), entry.digest)).collect();
        Self { instructions: offer.instructions, tools }
    }
}

/// How a tool stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is what was accepted.
    Accepted,
    /// Nobody has accepted it.
    New,
    /// It is not what was accepted.
    Changed,
}

impl Standing {
    /// How a digest stands against what was accepted.
    #[must_use]
    pub fn of(accepted: Option<&Digest>, now: &Digest) -> Self {
        match accepted {
            None => Self::New,
            Some(accepted) if accepted == now => Self::Accepted,
            Some(_) => Self::Changed,
        }
    }

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::New => "new",
            Self::Changed => "changed",
        }
    }
}

/// What becomes of a server that nobody has accepted anything of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstContact {
    /// What it offers then is accepted, and told: for whoever has just named it.
    Accept,
    /// Everything of it waits for the operator.
    Wait,
}

/// Why a book cannot be read or written. The text is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PinError(pub String);

/// Keeps what was accepted, and what was seen.
pub trait PinBook: Send + Sync {
    /// What was accepted of a server; none where nothing ever was.
    ///
    /// # Errors
    /// [`PinError`]; nothing of the server is accepted then.
    fn pins(&self, server: &ServerName) -> Result<Option<Pins>, PinError>;

    /// Accepts this of a server of which nothing was accepted before.
    ///
    /// # Errors
    /// [`PinError`].
    fn accept_first(&self, server: &ServerName, pins: &Pins) -> Result<(), PinError>;

    /// Takes note of what a server offers, so that it can be looked at and accepted.
    ///
    /// # Errors
    /// [`PinError`].
    fn see(&self, server: &ServerName, offer: &Offer) -> Result<(), PinError>;
}
