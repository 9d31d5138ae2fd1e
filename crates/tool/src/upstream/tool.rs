//! A tool of a server as a [`Tool`]: what was accepted is what is called, and what comes back is the product, as data. So is
//! what is read of it beside its tools, of which nothing can be accepted beforehand.

use core::time::Duration;
use std::sync::Arc;

use execgate_model::{BoxFuture, Digest, Effect, ErrorReport, Product, RunId, Verdict, Watcher};
use hyper::header::HeaderMap;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::asking::{Asking as Kind, CallAsks, QUESTIONS_MAX, UnderWay};
use super::client::{AskError, Client, Manners};
use super::entry::Entry;
use super::http::Mirrored;
use super::reading::Reading;
use super::server::{Place, Upstream};
use crate::pure::Computed;
use crate::{BadCall, Call, Cancel, Description, NotStarted, Prepared, RunContext, RunFault, Tool};

/// The member of a result that holds the error which a server answered with, where it answered with one.
pub const RPC_ERROR: &str = "rpcError";

/// What a caller is told whose server wants more of it than arguments, before the reason.
const NOT_HANDED_ON: &str = "the server wants an answer of its client, or would answer later (elicitation, sampling, roots, a \
                             task), and has none; the call has no result";

/// How often a server may say that it wants more before it answers (MCP 2026-07-28, multi round-trip requests).
const ROUNDS_MAX: usize = 8;

/// Before the end of a call, the part of its time in which a server can still say what becomes of an unanswered question.
const LAST_PART: u32 = 10;

/// What whoever calls is told of what a server asks.
const ASKED: &str = "this is what an MCP server asks of a client within a call: nobody calls it";

/// The longest message of an error that is repeated, in characters.
const MESSAGE_CHARS_MAX: usize = 500;

/// What is asked of a server.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// A tool that was accepted.
    Tool(Entry),
    /// A resource or a prompt.
    Reading(Reading),
    /// What it asks of clients, as rules know it. Nobody calls it.
    Asked(Kind),
}

impl What {
    fn name(&self) -> &str {
        match self {
            Self::Tool(entry) => &entry.name,
            Self::Reading(reading) => reading.name(),
            Self::Asked(kind) => kind.action(),
        }
    }

    fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Tool(entry) => Some(entry),
            Self::Reading(_) | Self::Asked(_) => None,
        }
    }

    const fn method(&self) -> &'static str {
        match self {
            Self::Tool(_) => "tools/call",
            Self::Reading(reading) => reading.method(),
            Self::Asked(kind) => kind.method(),
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
            What::Asked(_) => Description { summary: ASKED.into(), schema: json!({"type": "object"}) },
        }
    }

    fn prepare(&self, call: &Call<'_>) -> Result<Box<dyn Prepared>, BadCall> {
        if !call.payload.is_object() {
            return Err(BadCall::at("", "the arguments of a tool are an object"));
        }
        match &self.what {
            What::Tool(_) => {}
            What::Reading(reading) => reading.check(call.payload)?,
            What::Asked(_) => return Err(BadCall::at("", ASKED)),
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

    /// One that has said that its tools have changed is waited for here, where nothing is paid for yet.
    fn ready<'a>(&'a self, cancel: &'a Cancel) -> BoxFuture<'a, Result<(), NotStarted>> {
        Box::pin(async move {
            if let Some(entry) = self.what.entry() {
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => return Err(gone()),
                    known = self.upstream.knows_its_tools(self.owner, entry) => known?,
                }
            }
            accepted(&self.upstream, &self.what)
        })
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
                biased;
                () = context.cancel.cancelled() => return Err(gone().into()),
                client = upstream.line_of(&place, what.entry()) => client?,
            };
            let deadline = Instant::now() + within;
            let turn = tokio::select! {
                biased;
                () = context.cancel.cancelled() => return Err(gone().into()),
                turn = timeout_at(deadline, client.turn()) => turn.map_err(|_| busy())?,
            };
            // Who had to wait may find another tool under its name.
            accepted(&upstream, &what)?;
            let asks = upstream.askable(context.watcher.as_ref(), deadline - within / LAST_PART);
            // What is asked ends with the call, however that ends.
            let _under_way = asks.clone().map(UnderWay);
            let asking = Asking {
                client: &client,
                method: what.method(),
                mirrored: mirrored.unwrap_or_default(),
                deadline,
                watcher: context.watcher,
                asks: asks.clone(),
            };
            let answer = tokio::select! {
                // What is there is taken, also where the caller has gone just now.
                biased;
                answer = asking.through(params) => Some(answer),
                () = context.cancel.cancelled() => None,
            };
            drop(turn);
            let product = product(answer)?;
            let asked = asks.and_then(|asks| asks.told());
            let mut told = described(&upstream, &what, &client);
            if let Some(asked) = asked {
                told["asked"] = asked;
            }
            Ok(Product { enforced: json!({"upstream": told}), ..product })
        })
    }
}

fn busy() -> NotStarted {
    NotStarted::Unavailable(
        "an earlier call of this server, which takes one at a time, has not ended".to_owned(),
    )
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
            accepted(upstream, what)?;
            Ok(json!({"name": entry.name, "arguments": payload, "_meta": meta}))
        }
        What::Reading(reading) => {
            let mut params = reading.params(payload);
            params["_meta"] = meta;
            Ok(params)
        }
        What::Asked(_) => Err(NotStarted::Unavailable(ASKED.to_owned())),
    }
}

/// Whether a tool is still what was accepted; what is none needs nothing of that.
fn accepted(upstream: &Upstream, what: &What) -> Result<(), NotStarted> {
    match what.entry() {
        Some(entry) if upstream.find(&entry.name).as_ref().map(|now| now.digest) != Some(entry.digest) => {
            Err(NotStarted::Unavailable(format!("`{}` is not what was accepted any more", entry.name)))
        }
        Some(_) | None => Ok(()),
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
        What::Reading(_) | What::Asked(_) => told["method"] = what.method().into(),
    }
    told
}

/// One call while it is asked.
struct Asking<'c> {
    client: &'c Client,
    method: &'static str,
    /// What the head of a request says, too.
    mirrored: HeaderMap,
    deadline: Instant,
    watcher: Option<Watcher>,
    /// Who can be asked within it.
    asks: Option<Arc<CallAsks>>,
}

impl Asking<'_> {
    /// Asks, and asks again with what the client has answered, for as long as the server wants more.
    async fn through(&self, params: Value) -> Result<Value, AskError> {
        let mut next = params.clone();
        for round in 0..ROUNDS_MAX {
            let result = match self.once(next).await {
                // It has heard of the call before.
                Err(AskError::NotSent(why)) if round > 0 => return Err(AskError::Lost(why)),
                result => result?,
            };
            if is_complete(&result) {
                return Ok(result);
            }
            next = match self.answered(&result).await {
                Ok(answers) => {
                    let mut again = params.clone();
                    again["inputResponses"] = answers;
                    if let Some(state) = result.get("requestState").filter(|state| state.is_string()) {
                        again["requestState"] = state.clone();
                    }
                    again
                }
                Err(why) => return Ok(unfinished(&why)),
            };
        }
        Ok(unfinished(&format!("it asks more than {ROUNDS_MAX} times")))
    }

    async fn once(&self, params: Value) -> Result<Value, AskError> {
        let manners = Manners {
            mirrored: self.mirrored.clone(),
            watcher: self.watcher.clone(),
            call: Some(self.asks.clone()),
        };
        let within = self.deadline.saturating_duration_since(Instant::now());
        self.client.ask_so(self.method, params, within, manners).await
    }

    /// What the client has answered to what a result asks; or why that is not all.
    async fn answered(&self, result: &Value) -> Result<Value, String> {
        let wanted = result.get("inputRequests").and_then(Value::as_object);
        let (Some(asks), Some("input_required")) =
            (&self.asks, result.get("resultType").and_then(Value::as_str))
        else {
            return Err("nobody can be asked".to_owned());
        };
        let mut questions = JoinSet::new();
        for (name, asked) in wanted.into_iter().flatten().take(QUESTIONS_MAX + 1) {
            let method = asked.get("method").and_then(Value::as_str).unwrap_or_default().to_owned();
            let (name, params) = (name.clone(), asked.get("params").cloned().unwrap_or_default());
            let asks = Arc::clone(asks);
            questions.spawn(async move { (name, asks.ask_and_keep_why(&method, params).await) });
        }
        let mut answers = Map::new();
        while let Some(answered) = questions.join_next().await {
            let (name, answer) = answered.map_err(|_| "a question has failed".to_owned())?;
            answers.insert(name, answer?);
        }
        Ok(Value::Object(answers))
    }
}

/// A result in the place of one that has not come: marked by its type, which no server's has.
fn unfinished(why: &str) -> Value {
    json!({"resultType": UNFINISHED, "why": why})
}

/// What is said of a call whose questions have no answer.
const UNFINISHED: &str = "unfinished";

/// What became of it. What was sent and never answered is lost: it may have happened.
fn product(answer: Option<Result<Value, AskError>>) -> Result<Product, RunFault> {
    match answer {
        Some(Ok(result)) if !is_complete(&result) => {
            // It waits for what nobody gives it (MCP 2026-07-28, result types).
            let why = result.get("why").and_then(Value::as_str).unwrap_or("nobody can be asked");
            let told = format!("{NOT_HANDED_ON}: {why}");
            let error = report("NotHandedOn", &told);
            let content = json!([{"type": "text", "text": told}]);
            let result = json!({"content": content, "isError": true});
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
