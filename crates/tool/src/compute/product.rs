//! How a computation ended, and what is shown of it.

use core::time::Duration;

use execgate_model::{ErrorReport, LimitKind, Product, Verdict};
use serde_json::{Value, json};

/// What a computation says against its arguments: the caller's own error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raised {
    /// The class: `BadPattern`, `MathError`, …
    pub(crate) name: String,
    /// What is wrong, and how to mend it.
    pub(crate) message: String,
}

impl Raised {
    pub(crate) fn new(name: &str, message: impl Into<String>) -> Self {
        Self { name: name.to_owned(), message: message.into() }
    }
}

/// How it ended, as its supervisor saw.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ended {
    Value(Value),
    Raised(Raised),
    Limit(LimitKind),
    Timeout,
}

impl Ended {
    /// What a run leaves that had this long. Whatever has no value shows its error in the result.
    pub(crate) fn product(self, wall: Duration) -> Product {
        match self {
            Self::Value(value) => {
                Product { verdict: Verdict::Value, result: value, error: None, enforced: Value::Null }
            }
            Self::Raised(raised) => failed(Verdict::Exception, report(&raised.name, &raised.message)),
            Self::Limit(limit) => {
                let message = match limit {
                    LimitKind::OutOfMemory => "the tool used more memory than it may; send less, or simpler",
                    LimitKind::OutputLimit => {
                        "the result is larger than an answer may be; ask for less of it"
                    }
                    LimitKind::Killed => "the tool was ended",
                    LimitKind::ProcessLimit => "the tool wanted more processes than it may have",
                    LimitKind::DiskFull => "the tool wanted more files than it may have",
                };
                failed(Verdict::Limit { limit }, report(limit.as_str(), message))
            }
            Self::Timeout => timed_out(wall),
        }
    }
}

/// What a run leaves that its deadline ended.
pub(crate) fn timed_out(wall: Duration) -> Product {
    let after_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
    let message = format!("Execution timed out after {}s", wall.as_secs_f64());
    failed(Verdict::Timeout { after_ms }, report("Timeout", &message))
}

/// An error without a traceback.
fn report(name: &str, message: &str) -> ErrorReport {
    ErrorReport { name: name.to_owned(), message: message.to_owned(), traceback: String::new() }
}

fn failed(verdict: Verdict, error: ErrorReport) -> Product {
    let result = json!({"error": {"name": error.name, "message": error.message}});
    Product { verdict, result, error: Some(error), enforced: Value::Null }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use execgate_model::{LimitKind, Verdict};
    use serde_json::json;

    use super::{Ended, Raised};

    #[test]
    fn what_has_no_value_shows_its_error_in_the_result() {
        let product = Ended::Raised(Raised::new("MathError", "no")).product(Duration::from_secs(1));
        assert_eq!(product.verdict, Verdict::Exception);
        assert_eq!(product.result, json!({"error": {"name": "MathError", "message": "no"}}));
        assert_eq!(product.error.map(|error| error.name), Some("MathError".to_owned()));
        let product = Ended::Timeout.product(Duration::from_millis(1500));
        assert_eq!(product.verdict, Verdict::Timeout { after_ms: 1500 });
        assert_eq!(product.result["error"]["message"], "Execution timed out after 1.5s");
        let product = Ended::Limit(LimitKind::OutOfMemory).product(Duration::from_secs(1));
        assert_eq!(product.result["error"]["name"], "OutOfMemory");
    }
}
