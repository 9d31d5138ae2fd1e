//! The words of the surfaces for the end of a run.

use execgate_flow::parking::Closed;
use execgate_flow::witness::{Render, Summary};
use execgate_model::{Effect, Outcome, Product, Surface, Verdict};
use execgate_store::Answer;
use serde_json::{Value, json};

use crate::mcp::McpWords;
use crate::problem::{Asked, Problem, Shape, Took};

/// The words of `/execute`: OpenExec's `{id, action, result, approved, receipt}`.
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
                json_answer(200, &body)
            }
        }
    }

    fn closed(&self, closed: &Closed<'_>) -> Answer {
        Problem::closed(closed).into_answer()
    }
}

/// The words of the code-run surfaces: the envelope itself, and 504 for a timeout.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CodeWords;

impl Render for CodeWords {
    fn answer(&self, summary: &Summary<'_>) -> Answer {
        match summary.outcome {
            Outcome::Unknown => Problem::unknown_outcome(summary.run, summary.content).shaped(Shape::CodeRun),
            Outcome::Done { product: Product { verdict: Verdict::Timeout { .. }, error, .. } } => {
                let told = error.as_ref().map_or("Execution timed out", |error| error.message.as_str());
                json_answer(504, &json!({"error": told}))
            }
            Outcome::Done { product } => {
                let mut envelope = product.result.clone();
                if let (true, Value::Object(fields)) = (summary.wants_receipt, &mut envelope) {
                    let receipt = serde_json::from_slice(summary.receipt).unwrap_or_default();
                    fields.insert("receipt".to_owned(), receipt);
                }
                json_answer(200, &envelope)
            }
        }
    }

    fn closed(&self, closed: &Closed<'_>) -> Answer {
        Problem::closed(closed).shaped(Shape::CodeRun)
    }
}

/// The words of `/exec/*`: one envelope, whatever the tool (CONTRACTS 3 and 4).
#[derive(Debug, Clone, Copy, Default)]
pub struct ExecWords;

/// The exit code of a run that a limit ended, as a shell has it for SIGKILL.
const EXIT_LIMIT: i32 = 137;

/// The exit code of a run that its deadline ended, as `timeout(1)` has it.
const EXIT_TIMEOUT: i32 = 124;

impl Render for ExecWords {
    fn answer(&self, summary: &Summary<'_>) -> Answer {
        let asked = Asked {
            tool: Some(summary.action.to_string()),
            effect: Some(summary.effect),
            iam_approved: summary.iam_approved,
            iam: Some(summary.iam),
            rail: Some(summary.rail.to_owned()),
        };
        let latency_ms = summary.ended.0.saturating_sub(summary.started.0);
        let took = Took { at: summary.ended, latency_ms };
        let Outcome::Done { product } = summary.outcome else {
            return Problem::unknown_outcome(summary.run, summary.content).in_exec(&asked, took);
        };
        let exit_code = match product.verdict {
            Verdict::Value => 0,
            Verdict::Exception => 1,
            Verdict::Exit { code } => code,
            Verdict::Limit { .. } => EXIT_LIMIT,
            Verdict::Timeout { .. } => EXIT_TIMEOUT,
        };
        let mut result = json!({
            "output": product.result,
            "exitCode": exit_code,
            "simulated": summary.effect == Effect::DryRun,
        });
        if let Some(error) = &product.error {
            result["error"] = json!({"name": error.name, "message": error.message});
        }
        let mut body = asked.envelope(took);
        body["jobId"] = json!(summary.run);
        body["status"] = if product.verdict == Verdict::Value { "completed" } else { "failed" }.into();
        body["result"] = result;
        body["proofHash"] = format!("0x{}", summary.content).into();
        json_answer(200, &body)
    }

    fn closed(&self, closed: &Closed<'_>) -> Answer {
        let asked = Asked {
            tool: Some(closed.action.to_string()),
            effect: Some(closed.effect),
            rail: Some(closed.rail.to_owned()),
            ..Asked::default()
        };
        // People took that time, and no run.
        Problem::closed(closed).in_exec(&asked, Took { at: closed.ended, latency_ms: 0 })
    }
}

/// The words of whatever surface a run came in by, for those who find it later.
#[derive(Debug, Clone, Copy, Default)]
pub struct OwnWords;

impl Render for OwnWords {
    fn answer(&self, summary: &Summary<'_>) -> Answer {
        match summary.surface {
            Surface::Execute => ExecuteWords.answer(summary),
            Surface::CodeRun => CodeWords.answer(summary),
            Surface::SecureExec | Surface::Simulate => ExecWords.answer(summary),
            Surface::Mcp => McpWords.answer(summary),
        }
    }

    fn closed(&self, closed: &Closed<'_>) -> Answer {
        match closed.surface {
            Surface::Execute => ExecuteWords.closed(closed),
            Surface::CodeRun => CodeWords.closed(closed),
            Surface::SecureExec | Surface::Simulate => ExecWords.closed(closed),
            Surface::Mcp => McpWords.closed(closed),
        }
    }
}

fn json_answer(status: u16, body: &Value) -> Answer {
    Answer { status, content_type: "application/json".to_owned(), body: body.to_string().into_bytes() }
}
