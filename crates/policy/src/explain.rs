//! How a decision comes about: every rule that was looked at, and why it let the request pass or did not.

use serde::Serialize;

use crate::decide::judge;
use crate::weigh::Watch;
use crate::{Decision, PolicySet, Request, Spent};

/// One rule that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its stable name.
    pub rule: String,
    /// What it said, in words for the operator. It may repeat what the file says, never an argument.
    pub finding: String,
}

/// A decision, and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The decision: the same that [`crate::decide`] makes.
    pub decision: Decision,
    /// The rules, in the order in which they were looked at.
    pub steps: Vec<Step>,
}

/// Decides a request, and says how.
#[must_use]
pub fn explain(request: &Request<'_>, rules: &PolicySet, spent: &Spent) -> Explanation {
    let mut steps = Steps(Vec::new());
    let decision = judge(request, rules, spent, &mut steps);
    Explanation { decision, steps: steps.0 }
}

struct Steps(Vec<Step>);

impl Watch for Steps {
    fn saw(&mut self, rule: &str, finding: impl FnOnce() -> String) {
        self.0.push(Step { rule: rule.to_owned(), finding: finding() });
    }
}
