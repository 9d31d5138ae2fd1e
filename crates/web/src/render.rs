//! The words of `/execute` for the end of a run: OpenExec's `{id, action, result, approved, receipt}`.

use execgate_flow::witness::{Render, Summary};
use execgate_model::Outcome;
use execgate_store::Answer;
use serde_json::json;

use crate::problem::Problem;

/// The words of `/execute`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExecuteWords;

impl Render for ExecuteWords {
    fn answer(&self, summary: &Summary<'_>) -> Answer {
        match summary.outcome {
            Outcome::Unknown => Problem::unknown_outcome(summary.run, summary.content).into_answer(),
            Outcome::Done { product } => {
                let body = json!({
                    "id": summary.run,
                    "action": summary.action,
                    "result": product.result,
                    "approved": true,
                    "receipt": summary.content,
                });
                Answer {
                    status: 200,
                    content_type: "application/json".to_owned(),
                    body: body.to_string().into_bytes(),
                }
            }
        }
    }
}
