//! A tool of a server as a [`Tool`]: what was accepted is what is called, and what comes back is the product, as data.

use core::time::Duration;
use std::sync::Arc;

use execgate_model::{BoxFuture, Effect, ErrorReport, Product, RunId, Verdict, Watcher};
use hyper::header::HeaderMap;
use serde_json::{Value, json};

use super::client::AskError;
use super::entry::Entry;
use super::http::Mirrored;
use super::server::{Place, Upstream};
use crate::pure::Computed;
use crate::{BadCall, Call, Cancel, Description, NotStarted, Prepared, RunContext, RunFault, Tool};

/// The member of a result that holds the error which a server answered with, where it answered with one.
pub const RPC_ERROR: &str = "rpcError";

/// What a caller is told whose server wants more of it than arguments.
const NOT_HANDED_ON: &str = "the server wants an answer of its client, or would answer later (elicitation, sampling, roots, a \
                             task): execgate hands none of that on, and the call has no result";

/// The longest message of an error that is repeated, in characters.
const MESSAGE_CHARS_MAX: usize = 500;

/// One tool of a server.
pub(super) struct UpstreamTool {
    upstream: Arc<Upstream>,
    /// The action.
    action: String,
    entry: Entry,
}

impl UpstreamTool {
    /// A tool that was accepted.
    pub(super) fn of_entry(upstream: Arc<Upstream>, entry: Entry) -> Option<Self> {
        let action = upstream.name().action(&entry.name)?.to_string();
        Some(Self { upstream, action, entry })
    }
}

impl Tool for UpstreamTool {
    fn name(&self) -> &str {
        &self.action
    }

    /// Nobody knows what another's server does.
    fn reaches_out(&self) -> bool {
        true
    }

    fn describe(&self) -> Description {
        Description {
            summary: self.entry.summary().to_owned().into(),
            schema: self.entry.raw.get("inputSchema").cloned().unwrap_or_default(),
        }
    }

    fn prepare(&self, call: &Call<'_>) -> Result<Box<dyn Prepared>, BadCall> {
        if !call.payload.is_object() {
            return Err(BadCall::at("", "the arguments of a tool are an object"));
        }
        let longest = self.upstream.call_within();
        let within =
            call.options.timeout_ms.map_or(longest, |asked| Duration::from_millis(asked).min(longest));
        if call.effect == Effect::DryRun {
            let server = self.upstream.name().as_str();
            return Ok(Box::new(Computed(
                json!({"simulated": true, "server": server, "arguments": call.payload}),
            )));
        }
        Ok(Box::new(PreparedCall {
            upstream: Arc::clone(&self.upstream),
            entry: self.entry.clone(),
            payload: call.payload.clone(),
            within,
            place: None,
        }))
    }
}

struct PreparedCall {
    upstream: Arc<Upstream>,
    entry: Entry,
    payload: Value,
    within: Duration,
    place: Option<Place>,
}

impl Prepared for PreparedCall {
    fn reserve(&mut self) -> Result<(), NotStarted> {
        self.place = Some(self.upstream.reserve()?);
        Ok(())
    }

    fn run(self: Box<Self>, context: RunContext) -> BoxFuture<'static, Result<Product, RunFault>> {
        Box::pin(async move {
            let Self { upstream, entry, payload, within, place } = *self;
            let place = match place {
                Some(place) => place,
                None => upstream.reserve()?,
            };
            let params = question(&upstream, &entry, payload, context.run)?;
            let enforced = json!({"upstream": described(&upstream, &entry)});
            let mirrored = entry.raw.get("inputSchema").and_then(Mirrored::of).unwrap_or_default();
            let mirrored = params.get("arguments").map(|arguments| mirrored.headers(arguments));
            let wanted = Wanted {
                mirrored: mirrored.unwrap_or_default(),
                within,
                watcher: context.watcher,
                cancel: context.cancel,
            };
            let asked = ask(&place, "tools/call", params, wanted);
            let product = product(asked.await)?;
            Ok(Product { enforced, ..product })
        })
    }
}

/// What goes to the server. Held once more against what is accepted: it may have changed since the call was checked.
fn question(upstream: &Upstream, entry: &Entry, payload: Value, run: RunId) -> Result<Value, NotStarted> {
    if upstream.find(&entry.name).as_ref().map(|now| now.digest) != Some(entry.digest) {
        let why = format!("`{}` is not what was accepted any more", entry.name);
        return Err(NotStarted::Unavailable(why));
    }
    let meta = json!({"execgate/run": run.to_string()});
    Ok(json!({"name": entry.name, "arguments": payload, "_meta": meta}))
}

/// What a receipt says of it.
fn described(upstream: &Upstream, entry: &Entry) -> Value {
    let mut told = upstream.enforced();
    told["server"] = upstream.name().as_str().into();
    told["tool"] = entry.name.as_str().into();
    told["entry"] = format!("sha256:{}", entry.digest).into();
    told
}

/// How an answer is waited for.
struct Wanted {
    /// What the head of a request says, too.
    mirrored: HeaderMap,
    within: Duration,
    watcher: Option<Watcher>,
    cancel: Cancel,
}

async fn ask(place: &Place, method: &str, params: Value, wanted: Wanted) -> Option<Result<Value, AskError>> {
    tokio::select! {
        // What is there is taken, also where the caller has gone just now.
        biased;
        answer = place.ask(method, params, wanted.mirrored, wanted.within, wanted.watcher) => Some(answer),
        () = wanted.cancel.cancelled() => None,
    }
}

/// What became of it. What was sent and never answered is lost: it may have happened.
fn product(answer: Option<Result<Value, AskError>>) -> Result<Product, RunFault> {
    match answer {
        Some(Ok(result)) if !is_complete(&result) => {
            // It waits for what nobody gives it: none of that was offered (MCP 2026-07-28, result types).
            let content = json!([{"type": "text", "text": NOT_HANDED_ON}]);
            let result = json!({"content": content, "isError": true});
            let error = report("NotHandedOn", NOT_HANDED_ON);
            Ok(Product { verdict: Verdict::Exception, result, error: Some(error), enforced: Value::Null })
        }
        Some(Ok(result)) => {
            let is_error = result.get("isError").and_then(Value::as_bool).unwrap_or_default();
            if !is_error {
                return Ok(Product { verdict: Verdict::Value, result, error: None, enforced: Value::Null });
            }
            let said = result.pointer("/content/0/text").and_then(Value::as_str).unwrap_or("the tool failed");
            let error = report("ToolError", said);
            Ok(Product { verdict: Verdict::Exception, result, error: Some(error), enforced: Value::Null })
        }
        Some(Err(AskError::Rpc(error) | AskError::Refused(error))) => {
            let report = report("RpcError", &error.message);
            let result = json!({ RPC_ERROR: error.into_json() });
            Ok(Product { verdict: Verdict::Exception, result, error: Some(report), enforced: Value::Null })
        }
        Some(Err(AskError::NotSent(why))) => Err(NotStarted::Unavailable(why).into()),
        Some(Err(AskError::Lost(why))) => Err(RunFault::Lost(why)),
        Some(Err(AskError::Slow)) => Err(RunFault::Lost("the server did not answer in time".to_owned())),
        None => Err(RunFault::Lost("the caller was gone before the server answered".to_owned())),
    }
}

/// Whether a result is one: revisions before 2026-07-28 say nothing of it.
fn is_complete(result: &Value) -> bool {
    result.get("resultType").is_none_or(|kind| kind == "complete")
}

fn report(name: &str, message: &str) -> ErrorReport {
    let message = message.chars().take(MESSAGE_CHARS_MAX).collect();
    ErrorReport { name: name.to_owned(), message, traceback: String::new() }
}
