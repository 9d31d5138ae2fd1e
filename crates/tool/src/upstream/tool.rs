//! A tool of a server as a [`Tool`]: what was accepted is what is called, and what comes back is the product, as data. So is
//! what is read of it beside its tools, of which nothing can be accepted beforehand.

use core::time::Duration;
use std::sync::Arc;

use execgate_model::{BoxFuture, Digest, Effect, ErrorReport, Product, RunId, Verdict, Watcher};
use hyper::header::HeaderMap;
use serde_json::{Value, json};

use super::client::{AskError, Client};
use super::entry::Entry;
use super::http::Mirrored;
use super::reading::Reading;
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

/// What is asked of a server.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// A tool that was accepted.
    Tool(Entry),
    /// A resource or a prompt.
    Reading(Reading),
}

impl What {
    fn name(&self) -> &str {
        match self {
            Self::Tool(entry) => &entry.name,
            Self::Reading(reading) => reading.name(),
        }
    }

    fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Tool(entry) => Some(entry),
            Self::Reading(_) => None,
        }
    }

    const fn method(&self) -> &'static str {
        match self {
            Self::Tool(_) => "tools/call",
            Self::Reading(reading) => reading.method(),
        }
    }
}

/// One thing that can be asked of a server.
pub(super) struct UpstreamTool {
    upstream: Arc<Upstream>,
    /// The action.
    action: String,
    what: What,
}

impl UpstreamTool {
    /// None where that is no name of an action.
    pub(super) fn of(upstream: Arc<Upstream>, what: What) -> Option<Self> {
        let action = upstream.name().action(what.name())?.to_string();
        Some(Self { upstream, action, what })
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
        match &self.what {
            What::Tool(entry) => Description {
                summary: entry.summary().to_owned().into(),
                schema: entry.raw.get("inputSchema").cloned().unwrap_or_default(),
            },
            What::Reading(Reading::Resource) => Description {
                summary: "Reads a resource of an MCP server.".into(),
                schema: Reading::Resource.schema(),
            },
            What::Reading(Reading::Prompt) => Description {
                summary: "Fills in a prompt of an MCP server.".into(),
                schema: Reading::Prompt.schema(),
            },
        }
    }

    fn prepare(&self, call: &Call<'_>) -> Result<Box<dyn Prepared>, BadCall> {
        if !call.payload.is_object() {
            return Err(BadCall::at("", "the arguments of a tool are an object"));
        }
        if let What::Reading(reading) = &self.what {
            reading.check(call.payload)?;
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
            what: self.what.clone(),
            payload: call.payload.clone(),
            within,
            owner: None,
            place: None,
        }))
    }
}

struct PreparedCall {
    upstream: Arc<Upstream>,
    what: What,
    payload: Value,
    within: Duration,
    /// Whose call it is, where that is known.
    owner: Option<Digest>,
    place: Option<Place>,
}

impl Prepared for PreparedCall {
    fn belongs_to(&mut self, owner: Option<Digest>) -> Result<(), NotStarted> {
        self.owner = owner;
        Ok(())
    }

    fn reserve(&mut self) -> Result<(), NotStarted> {
        self.place = Some(self.upstream.reserve(self.owner)?);
        Ok(())
    }

    fn run(self: Box<Self>, context: RunContext) -> BoxFuture<'static, Result<Product, RunFault>> {
        Box::pin(async move {
            let Self { upstream, what, payload, within, owner, place } = *self;
            let place = match place {
                Some(place) => place,
                None => upstream.reserve(owner)?,
            };
            let params = question(&upstream, &what, payload, context.run)?;
            let schema = what.entry().and_then(|entry| entry.raw.get("inputSchema"));
            let mirrored = schema.and_then(Mirrored::of).unwrap_or_default();
            let mirrored = params.get("arguments").map(|arguments| mirrored.headers(arguments));
            // Whoever goes while a process is started for them has asked nothing of it yet.
            let client = tokio::select! {
                client = upstream.line_of(&place, what.entry()) => client?,
                () = context.cancel.cancelled() => return Err(gone().into()),
            };
            let wanted = Wanted {
                mirrored: mirrored.unwrap_or_default(),
                within,
                watcher: context.watcher,
                cancel: context.cancel,
            };
            let product = product(ask(&client, what.method(), params, wanted).await)?;
            let told = described(&upstream, &what, &client);
            Ok(Product { enforced: json!({"upstream": told}), ..product })
        })
    }
}

fn gone() -> NotStarted {
    NotStarted::Unavailable("the caller was gone before the server was there".to_owned())
}

/// What goes to the server. A tool is held once more against what is accepted: it may have changed since the call was
/// checked.
fn question(upstream: &Upstream, what: &What, payload: Value, run: RunId) -> Result<Value, NotStarted> {
    let meta = json!({"execgate/run": run.to_string()});
    match what {
        What::Tool(entry) => {
            if upstream.find(&entry.name).as_ref().map(|now| now.digest) != Some(entry.digest) {
                let why = format!("`{}` is not what was accepted any more", entry.name);
                return Err(NotStarted::Unavailable(why));
            }
            Ok(json!({"name": entry.name, "arguments": payload, "_meta": meta}))
        }
        What::Reading(_) => {
            let mut params = payload;
            params["_meta"] = meta;
            Ok(params)
        }
    }
}

/// What a receipt says of it.
fn described(upstream: &Upstream, what: &What, client: &Client) -> Value {
    let mut told = upstream.enforced();
    if let Some(told) = told.as_object_mut() {
        told.extend(client.held_by());
    }
    told["server"] = upstream.name().as_str().into();
    match what {
        What::Tool(entry) => {
            told["tool"] = entry.name.as_str().into();
            told["entry"] = format!("sha256:{}", entry.digest).into();
        }
        What::Reading(reading) => told["method"] = reading.method().into(),
    }
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

async fn ask(
    client: &Client,
    method: &str,
    params: Value,
    wanted: Wanted,
) -> Option<Result<Value, AskError>> {
    tokio::select! {
        // What is there is taken, also where the caller has gone just now.
        biased;
        answer = client.ask_beside(method, params, wanted.mirrored, wanted.within, wanted.watcher) => Some(answer),
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
