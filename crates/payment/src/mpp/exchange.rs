//! The port to the services of others: one question, one bounded answer.

use core::fmt;

use execgate_model::BoxFuture;

/// A question. What is sent may be money: it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Question {
    /// The path and query below the service's address, from the slash on; nothing for that address itself.
    pub path: String,
    /// Headers, their names in lowercase.
    pub headers: Vec<(&'static str, String)>,
    /// What is sent (`POST`); none where something is only looked up (`GET`).
    pub body: Option<Vec<u8>>,
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Question(…)")
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body, whole.
    pub body: Vec<u8>,
}

/// No answer came, or none that could be read. The question may have been heard. The text is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no answer: {0}")]
pub struct NoAnswer(pub String);

/// A service. Whoever implements it bounds time and size, and follows no redirect.
pub trait Exchange: Send + Sync {
    /// Asks.
    ///
    /// # Errors
    /// [`NoAnswer`].
    fn ask(&self, question: Question) -> BoxFuture<'_, Result<Answer, NoAnswer>>;
}
