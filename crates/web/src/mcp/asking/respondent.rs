//! The client of one call, as a server of others can ask it something: by what it takes, and by the rules for it.

use std::sync::Arc;

use execgate_model::{BoxFuture, Respondent, Unanswered};
use execgate_tool::upstream::Asking;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::book::Takes;
use crate::mcp::desk::{Asker, Desk};

/// The code of a question that the rules, or a client, turn away: outside of what the protocol keeps for itself.
const TURNED_AWAY: i64 = 403;

/// The code of a question whose client is gone (JSON-RPC 2.0, 5.1: internal error).
const GONE: i64 = -32_603;

/// Questions to one client that wait to be sent: as many as one call may ask.
pub(in crate::mcp) const QUESTIONS_MAX: usize = 16;

/// Where questions to a client go out: those of the revisions before 2026-07-28.
#[derive(Clone)]
pub(in crate::mcp) struct AskLine {
    /// Messages to the client.
    pub(in crate::mcp) out: mpsc::Sender<Value>,
    /// Its session; empty for the one client of a pipe.
    pub(in crate::mcp) session: String,
    /// What it takes; none where each request says it.
    pub(in crate::mcp) takes: Option<Takes>,
}

/// A question of a call that is held.
pub(super) struct Question {
    pub(super) method: String,
    pub(super) params: Value,
    pub(super) answer: oneshot::Sender<Result<Value, Unanswered>>,
}

/// How a client is asked.
pub(super) enum Way {
    /// By a request.
    Line(AskLine),
    /// By an answer to its call, which it then makes again.
    Held(mpsc::Sender<Question>),
}

/// The client of one call.
pub(in crate::mcp) struct Client {
    pub(super) desk: Arc<dyn Desk>,
    pub(super) asker: Asker,
    pub(super) takes: Takes,
    pub(super) way: Way,
}

fn gone() -> Unanswered {
    Unanswered { code: GONE, message: "the client of this call is gone".to_owned() }
}

impl Client {
    /// That of a call whose line is there.
    pub(in crate::mcp) fn by_line(desk: Arc<dyn Desk>, asker: Asker, takes: Takes, line: AskLine) -> Self {
        Self { desk, asker, takes, way: Way::Line(line) }
    }

    async fn asked(&self, method: &str, params: Value) -> Result<Value, Unanswered> {
        let Some(kind) = Asking::of(method) else { return Err(gone()) };
        let allowed = self.desk.allows(&self.asker, kind, &params).await;
        allowed.map_err(|message| Unanswered { code: TURNED_AWAY, message })?;
        match &self.way {
            Way::Held(out) => {
                let (answer, answered) = oneshot::channel();
                let question = Question { method: method.to_owned(), params, answer };
                out.send(question).await.map_err(|_| gone())?;
                answered.await.map_err(|_| gone())?
            }
            Way::Line(line) => {
                let house = self.desk.house().ok_or_else(gone)?;
                let entropy = house.parts.entropy.as_ref();
                let begun = house.questions.begin(&self.asker.caller, &line.session, entropy);
                let mut waits = begun.ok_or_else(gone)?;
                let name = waits.name.as_str();
                let asked = json!({"jsonrpc": "2.0", "id": name, "method": method, "params": params});
                line.out.send(asked).await.map_err(|_| gone())?;
                tokio::select! {
                    answer = &mut waits.answer => answer.map_err(|_| gone())?,
                    // Whoever cannot be asked any more does not answer.
                    () = line.out.closed() => Err(gone()),
                }
            }
        }
    }
}

impl Respondent for Client {
    fn takes(&self, method: &str) -> bool {
        Asking::of(method).is_some_and(|kind| self.takes.contains(&kind))
    }

    fn ask<'a>(&'a self, method: &'a str, params: Value) -> BoxFuture<'a, Result<Value, Unanswered>> {
        Box::pin(self.asked(method, params))
    }
}
