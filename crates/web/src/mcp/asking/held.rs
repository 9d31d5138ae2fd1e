//! A call of the stateless revision that is held while its client is asked (MCP 2026-07-28, multi round-trip requests): the
//! client is answered by what is asked, makes the call again with its answers, and that goes on with the same run. What it
//! sends as state is a name that is looked up, with whose call it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use execgate_model::{Unanswered, Watcher};
use execgate_receipt::digest_json;
use rmcp::ErrorData;
use rmcp::model::{CallToolResponse, InputRequest, InputRequiredResult};
use serde_json::{Value, from_value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::book::Takes;
use super::respondent::{Client, QUESTIONS_MAX, Question, Way};
use crate::mcp::desk::{Asker, Call, Desk};

/// What the state of a held call begins with.
pub(super) const STATE: &str = "held-";

/// How long it is waited for more questions of the same moment.
const GATHERS: Duration = Duration::from_millis(20);

/// How long a call is held: a little longer than a call can take, so that its end can be had.
const HELD_FOR: Duration = Duration::from_mins(11);

/// The code of an answer that is none (JSON-RPC 2.0, 5.1: invalid params).
const NO_ANSWER: i64 = -32_602;

type Done = Result<CallToolResponse, ErrorData>;

/// A call that goes on while nobody waits for it.
pub(super) struct Held {
    /// Whose it is.
    pub(super) scope: String,
    /// Which call, as a digest.
    pub(super) what: String,
    under_way: UnderWay,
    waiting: BTreeMap<String, oneshot::Sender<Result<Value, Unanswered>>>,
    since: Instant,
}

impl Held {
    pub(super) fn is_over(&self) -> bool {
        self.since.elapsed() > HELD_FOR
    }
}

/// A call and its questions. It ends with this, as by a caller who hangs up.
struct UnderWay {
    questions: mpsc::Receiver<Question>,
    task: JoinSet<Done>,
}

/// Whether a state is that of a held call.
pub(in crate::mcp) fn is_held(state: &str) -> bool {
    state.starts_with(STATE)
}

/// Which call it is; none where nobody can be told from another.
fn what(desk: &dyn Desk, asker: &Asker, call: &Call) -> Option<(String, String)> {
    let what = json!({"server": desk.server(), "name": call.name, "arguments": call.arguments});
    let what = digest_json(&what).ok()?;
    Some((asker.caller.scope()?.as_str().to_owned(), what.to_string()))
}

/// Calls, as far as the end or the first questions.
pub(in crate::mcp) async fn begin(desk: &Arc<dyn Desk>, asker: &Asker, takes: Takes, mut call: Call) -> Done {
    let Some((scope, what)) = what(desk.as_ref(), asker, &call) else { return desk.call(asker, call).await };
    let (out, questions) = mpsc::channel(QUESTIONS_MAX);
    let client = Client { desk: Arc::clone(desk), asker: asker.clone(), takes, way: Way::Held(out) };
    call.asks = Watcher::default().answering(Arc::new(client));
    let (its, of) = (Arc::clone(desk), asker.clone());
    let mut task = JoinSet::new();
    task.spawn(async move { its.call(&of, call).await });
    let under_way = UnderWay { questions, task };
    go_on(desk, scope, what, under_way).await
}

/// Goes on with a call that was held, with what its client has answered.
pub(in crate::mcp) async fn resume(
    desk: &Arc<dyn Desk>,
    asker: &Asker,
    call: &Call,
    state: &str,
    mut answers: BTreeMap<String, Value>,
) -> Done {
    let over = || ErrorData::invalid_params("this call is not under way any more: make it anew", None);
    let (scope, what) = what(desk.as_ref(), asker, call).ok_or_else(over)?;
    let held = desk.house().and_then(|house| house.questions.take(state, &scope, &what)).ok_or_else(over)?;
    let Held { scope, what, under_way, waiting, .. } = held;
    for (name, waits) in waiting {
        let none = || Unanswered { code: NO_ANSWER, message: "the client gave no answer".to_owned() };
        // A question may have been given up meanwhile.
        let _given_up = waits.send(answers.remove(&name).ok_or_else(none));
    }
    go_on(desk, scope, what, under_way).await
}

async fn go_on(desk: &Arc<dyn Desk>, scope: String, what: String, mut under_way: UnderWay) -> Done {
    let failed = || ErrorData::internal_error("the call has failed", None);
    let first = tokio::select! {
        biased;
        done = under_way.task.join_next() => {
            return done.and_then(Result::ok).unwrap_or_else(|| Err(failed()));
        }
        Some(first) = under_way.questions.recv() => first,
    };
    let mut asked = vec![first];
    while let Ok(Some(more)) = timeout(GATHERS, under_way.questions.recv()).await {
        asked.push(more);
    }
    let (mut requests, mut waiting) = (BTreeMap::new(), BTreeMap::new());
    for (number, Question { method, params, answer }) in asked.into_iter().enumerate() {
        let request: Option<InputRequest> = from_value(json!({"method": method, "params": params})).ok();
        match request {
            Some(request) => {
                let name = format!("q{number}");
                requests.insert(name.clone(), request);
                waiting.insert(name, answer);
            }
            None => {
                let message = "the protocol has no form for this question".to_owned();
                let _given_up = answer.send(Err(Unanswered { code: NO_ANSWER, message }));
            }
        }
    }
    if requests.is_empty() {
        return Box::pin(go_on(desk, scope, what, under_way)).await;
    }
    let house = desk.house().ok_or_else(failed)?;
    let held = Held { scope, what, under_way, waiting, since: Instant::now() };
    match house.questions.hold(held, house.parts.entropy.as_ref()) {
        Ok(state) => Ok(InputRequiredResult::new(Some(requests), Some(state)).into()),
        Err(Held { scope, what, under_way, waiting, .. }) => {
            // Nobody is asked, and the server is told so.
            drop(waiting);
            Box::pin(go_on(desk, scope, what, under_way)).await
        }
    }
}
