//! Tasks (the extension `io.modelcontextprotocol/tasks` of MCP 2026-07-28): a run that waits for people, and what becomes of
//! it. A task is a run and its id the run's, so that it is as durable as the record, and nothing is kept of it beside that.
//!
//! A foreign id answers like a missing one. Every change here needs a second reader.

use std::sync::Arc;

use execgate_flow::execute::owner;
use execgate_flow::parking::{Withdrawn, never_started};
use execgate_flow::pay::Earlier;
use execgate_flow::settle::unpaid;
use execgate_flow::witness::Render;
use execgate_flow::{Passage, Refusal};
use execgate_model::{RunId, UnixMs};
use execgate_receipt::Timestamp;
use execgate_store::Record;
use execgate_tool::upstream::RPC_ERROR;
use rmcp::ErrorData;
use rmcp::model::{CallToolResult, DetailedTask, GetTaskResult, JsonObject, Task, TaskPayload, TaskStatus};
use serde_json::{Value, from_slice, from_value, to_value};

use super::desk::Asker;
use super::own::fault;
use super::{McpWords, result};
use crate::house::House;
use crate::problem::Problem;

/// How often a client should look, in milliseconds: people take longer.
const LOOK_EVERY_MS: u64 = 2_000;

const WAITS: &str = "waits for a person's approval";
const RUNS: &str = "was approved, and runs";
const ENDED: &str = "has ended";

/// What whoever cancels a task is told where that comes too late.
const TOO_LATE: &str = "this runs already, in another process of the gateway, and goes its way";

/// A run that waits, as a task; none where it cannot be read now.
pub(super) async fn begun(house: &House, run: RunId) -> Option<Task> {
    let record = house.parts.store.run(run).await.ok().flatten()?;
    Some(task(&record, WAITS))
}

/// What has become of a task.
///
/// # Errors
/// Those of the protocol: there is none of that id for this caller, or the record cannot be read.
pub(super) async fn look(house: &House, asker: &Asker, id: &str) -> Result<GetTaskResult, ErrorData> {
    let record = owned(house, asker, id).await?;
    let (run, fingerprint) = (record.run, record.fingerprint);
    let has_form = house.parts.upstreams.has_form(record.action.as_str());
    let (told, payload) = match Earlier::read(record.clone(), fingerprint) {
        Earlier::Parked => (WAITS, TaskPayload::Working),
        Earlier::Running => (RUNS, TaskPayload::Working),
        Earlier::Answered(passage) => {
            house.parked_calls.forget_run(run);
            (ENDED, ended(&passage, has_form))
        }
        Earlier::Unpaid(_) => (ENDED, refused(unpaid(&record), has_form)),
        Earlier::Refused(refusal) => (ENDED, refused(refusal, has_form)),
    };
    Ok(GetTaskResult::new(DetailedTask::new(task(&record, told), payload)))
}

/// Takes a run back: one that waits still never starts, and one that was started is told to end.
///
/// # Errors
/// As [`look`]; and that it is too late, where nobody here can tell it so.
pub(super) async fn cancel(house: &House, asker: &Asker, id: &str) -> Result<(), ErrorData> {
    let record = owned(house, asker, id).await?;
    house.parked_calls.forget_run(record.run);
    let words: Arc<dyn Render> = Arc::new(McpWords);
    let withdrawn = house.parts.corridor.withdraw(record.run, &words).await;
    match withdrawn.map_err(|refusal| fault(&Problem::from(refusal)))? {
        Withdrawn::Reached => Ok(()),
        Withdrawn::TooLate => Err(ErrorData::invalid_params(TOO_LATE, None)),
    }
}

/// That there is such a task: nothing is asked within one, so that nothing that is answered means anything.
///
/// # Errors
/// As [`look`].
pub(super) async fn acknowledge(house: &House, asker: &Asker, id: &str) -> Result<(), ErrorData> {
    owned(house, asker, id).await.map(drop)
}

/// The run of a task, for whoever has called it.
async fn owned(house: &House, asker: &Asker, id: &str) -> Result<Record, ErrorData> {
    let missing = || ErrorData::invalid_params("there is no such task, or it belongs to somebody else", None);
    let scope = asker.caller.scope().ok_or_else(missing)?;
    let run: RunId = id.parse().map_err(|_| missing())?;
    let record = house.parts.store.run(run).await;
    let record = record.map_err(|error| fault(&Problem::from(Refusal::Store(error))))?;
    record.filter(|record| record.owner == Some(owner(scope.as_str()))).ok_or_else(missing)
}

fn task(record: &Record, told: &str) -> Task {
    let at = |at: UnixMs| Timestamp::new(at).map(|at| at.to_string()).unwrap_or_default();
    let (created, updated) = (at(record.created), at(record.finished.unwrap_or(record.created)));
    // Of a run is known for ever; its status is that of the payload beside it.
    Task::new(record.run.to_string(), TaskStatus::Working, created, updated)
        .with_status_message(told)
        .with_poll_interval_ms(LOOK_EVERY_MS)
}

/// The end of a run: its result, or that its caller has taken it back.
fn ended(passage: &Passage, has_form: bool) -> TaskPayload {
    let said: Option<Value> = from_slice(&passage.answer.body).ok();
    if let Some(Value::Object(error)) = said.as_ref().and_then(|said| said.get(RPC_ERROR)) {
        return TaskPayload::Failed { error: error.clone() };
    }
    let is_withdrawn = |said: &Value| said["structuredContent"]["rule"] == Problem::WITHDRAWN;
    // What has run is never said to be taken back, whatever it has answered.
    if never_started(&passage.outcome) && said.as_ref().is_some_and(is_withdrawn) {
        return TaskPayload::Cancelled;
    }
    completed(result::read(&passage.answer), has_form)
}

fn refused(refusal: Refusal, has_form: bool) -> TaskPayload {
    completed(from_value(Problem::from(refusal).in_mcp()).unwrap_or_default(), has_form)
}

fn completed(result: CallToolResult, has_form: bool) -> TaskPayload {
    let result = if has_form { result::beside_form(result) } else { result };
    TaskPayload::Completed { result: object(to_value(result).unwrap_or_default()) }
}

fn object(value: Value) -> JsonObject {
    if let Value::Object(fields) = value { fields } else { JsonObject::new() }
}
