//! From a body `{agentId?, tool: {name, args?, timeout_s?}, dryRun?, context?}` to a proposal, and from a body
//! `{calls: [...], stopOnError?, ...}` to a batch.

use core::time::Duration;

use axum::http::HeaderMap;
use execgate_flow::{AfterFailure, BATCH_MAX, Batch};
use execgate_model::{
    ActionName, BodyPlace, Caller, Digest, Effect, Hearsay, Nonce, Proposal, RunOptions, Surface,
};
use execgate_receipt::digest_json;
use serde_json::{Map, Value};

use crate::body::{Fields, arguments};
use crate::headers::{approval, nonce};
use crate::problem::{Asked, Problem};

/// The longest time that a tool may be given, in seconds (CONTRACTS 4).
const TIMEOUT_MAX_S: f64 = 30.0;

/// The longest name that a caller may give itself, in bytes.
const AGENT_MAX: usize = 128;

/// What is said once for a call, or for all calls of a batch.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) surface: Surface,
    pub(crate) caller: Caller,
    nonce: Option<Nonce>,
    approval: Option<String>,
    agent: Option<String>,
}

impl Common {
    /// What is said beside the calls.
    pub(crate) fn read(
        fields: &mut Fields,
        headers: &HeaderMap,
        surface: Surface,
        caller: Caller,
    ) -> Result<Self, Problem> {
        let artifact = fields.artifact()?;
        Ok(Self {
            surface,
            caller,
            nonce: nonce(headers)?,
            approval: if artifact.is_some() { artifact } else { approval(headers)? },
            agent: agent(fields.any("agentId"))?,
        })
    }
}

/// What a body seems to ask for, for an answer that refuses it.
pub(super) fn seems(fields: &Map<String, Value>, surface: Surface) -> Asked {
    let name = fields.get("tool").and_then(|tool| tool.get("name")).and_then(Value::as_str);
    let tool = name.and_then(|name| ActionName::new(name).ok()).map(|name| name.to_string());
    let dry_run = match fields.get("dryRun") {
        _ if surface == Surface::Simulate => Some(true),
        None | Some(Value::Null) => Some(true),
        Some(dry_run) => dry_run.as_bool(),
    };
    Asked { tool, effect: dry_run.map(effect), ..Asked::default() }
}

/// The proposal of a body that is one call.
pub(crate) fn read_call(
    fields: Map<String, Value>,
    common: impl FnOnce(&mut Fields) -> Result<Common, Problem>,
) -> Result<Proposal, Problem> {
    let mut fields = Fields::new(fields);
    let common = common(&mut fields)?;
    let proposal = item(&mut fields, &common, Effect::DryRun, None)?;
    fields.finish()?;
    Ok(Proposal { nonce: common.nonce, ..proposal })
}

/// The batch of a body that is several calls.
pub(crate) fn read_batch(
    fields: Map<String, Value>,
    common: impl FnOnce(&mut Fields) -> Result<Common, Problem>,
) -> Result<Batch, Problem> {
    let mut fields = Fields::new(fields);
    let common = common(&mut fields)?;
    let after_failure = if fields.switch("stopOnError")? { AfterFailure::Stop } else { AfterFailure::GoOn };
    let usual = effect(switch(&mut fields, "dryRun")?.unwrap_or(true));
    let context = context(fields.any("context"))?;
    let calls = match fields.any("calls") {
        Some(Value::Array(calls)) if (1..=BATCH_MAX).contains(&calls.len()) => calls,
        _ => {
            return Err(Problem::bad_field(
                "/calls",
                format!("`calls` must be a list of 1 to {BATCH_MAX} calls"),
            ));
        }
    };
    fields.finish()?;
    let mut items = Vec::with_capacity(calls.len());
    for (at, call) in calls.into_iter().enumerate() {
        let read = || -> Result<Proposal, Problem> {
            let Value::Object(fields) = call else {
                return Err(Problem::bad_field("", "a call must be an object"));
            };
            let mut fields = Fields::new(fields);
            let proposal = item(&mut fields, &common, usual, context)?;
            fields.finish()?;
            Ok(proposal)
        };
        items.push(read().map_err(|problem| problem.within(&format!("/calls/{at}")))?);
    }
    Ok(Batch { nonce: common.nonce, items, after_failure, credential: None })
}

/// One call, without a nonce.
fn item(
    fields: &mut Fields,
    common: &Common,
    usual: Effect,
    outer: Option<Digest>,
) -> Result<Proposal, Problem> {
    let asked = switch(fields, "dryRun")?.map_or(usual, effect);
    let inner = context(fields.any("context"))?;
    // An artifact fits one request: a call of a batch may have its own.
    let own = fields.artifact()?;
    let Some(Value::Object(tool)) = fields.any("tool") else {
        return Err(Problem::bad_field("/tool", "`tool` must be an object with the `name` of a tool"));
    };
    let (action, payload, timeout_ms) = tool_of(tool).map_err(|problem| problem.within("/tool"))?;
    Ok(Proposal {
        surface: common.surface,
        action,
        payload,
        effect: if common.surface == Surface::Simulate { Effect::DryRun } else { asked },
        options: RunOptions { timeout_ms, ..RunOptions::default() },
        nonce: None,
        caller: common.caller.clone(),
        approval: own.or_else(|| common.approval.clone()),
        credential: None,
        watcher: None,
        place: BodyPlace::default(),
        hearsay: Hearsay { agent: common.agent.clone(), context: inner.or(outer) },
        peer: None,
    })
}

fn tool_of(tool: Map<String, Value>) -> Result<(ActionName, Value, Option<u64>), Problem> {
    let mut fields = Fields::new(tool);
    let name = ActionName::new(fields.text("name")?)
        .map_err(|error| Problem::bad_field("/name", error.to_string()))?;
    let payload = arguments("args", fields.any("args"))?;
    let timeout_ms = fields.any("timeout_s").map(|seconds| timeout_ms(&seconds)).transpose()?;
    fields.finish()?;
    Ok((name, payload, timeout_ms))
}

fn timeout_ms(seconds: &Value) -> Result<u64, Problem> {
    let read = seconds.as_f64().filter(|seconds| *seconds > 0.0 && *seconds <= TIMEOUT_MAX_S);
    let read = read.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let ms = read.and_then(|time| u64::try_from(time.as_millis()).ok()).filter(|ms| *ms > 0);
    ms.ok_or_else(|| {
        let detail =
            format!("`timeout_s` must be a number of seconds, at least 0.001 and at most {TIMEOUT_MAX_S}");
        Problem::bad_field("/timeout_s", detail)
    })
}

const fn effect(dry_run: bool) -> Effect {
    if dry_run { Effect::DryRun } else { Effect::Live }
}

/// A switch that may be left out.
fn switch(fields: &mut Fields, name: &str) -> Result<Option<bool>, Problem> {
    match fields.any(name) {
        None => Ok(None),
        Some(Value::Bool(on)) => Ok(Some(on)),
        Some(_) => Err(Problem::bad_field(format!("/{name}"), format!("`{name}` must be true or false"))),
    }
}

/// Only its digest is kept: a context may hold whatever the agent was told.
fn context(context: Option<Value>) -> Result<Option<Digest>, Problem> {
    let Some(context) = context else { return Ok(None) };
    let digest = digest_json(&context).map_err(|error| Problem::bad_field("/context", error.to_string()))?;
    Ok(Some(digest))
}

fn agent(agent: Option<Value>) -> Result<Option<String>, Problem> {
    match agent {
        None => Ok(None),
        Some(Value::String(name)) if name.len() <= AGENT_MAX && !name.chars().any(char::is_control) => {
            Ok(Some(name))
        }
        Some(_) => {
            let detail =
                format!("`agentId` must be a string of at most {AGENT_MAX} bytes without control characters");
            Err(Problem::bad_field("/agentId", detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue};
    use execgate_flow::Batch;
    use execgate_model::{Caller, Effect, Identity, Proposal, Surface, TenantId};
    use execgate_receipt::digest_json;
    use serde_json::{Map, Value, json};

    use super::{Common, read_batch, read_call};
    use crate::body::Fields;
    use crate::problem::Problem;

    fn common(surface: Surface) -> impl FnOnce(&mut Fields) -> Result<Common, Problem> {
        let caller = Caller { tenant: TenantId::new("default").unwrap(), identity: Identity::Local };
        let headers =
            HeaderMap::from_iter([("idempotency-key".parse().unwrap(), HeaderValue::from_static("k1"))]);
        move |fields| Common::read(fields, &headers, surface, caller)
    }

    fn object(body: Value) -> Map<String, Value> {
        let Value::Object(fields) = body else { unreachable!("tests send objects") };
        fields
    }

    fn call(surface: Surface, body: Value) -> Result<Proposal, Problem> {
        read_call(object(body), common(surface))
    }

    fn batch(body: Value) -> Result<Batch, Problem> {
        read_batch(object(body), common(Surface::SecureExec))
    }

    #[test]
    fn a_call_is_a_dry_run_unless_it_says_otherwise_and_a_simulation_always_is() {
        let tool = json!({"name": "echo"});
        let effect = |surface, body| call(surface, body).unwrap().effect;
        assert_eq!(effect(Surface::SecureExec, json!({"tool": tool})), Effect::DryRun);
        assert_eq!(effect(Surface::SecureExec, json!({"tool": tool, "dryRun": false})), Effect::Live);
        assert_eq!(effect(Surface::Simulate, json!({"tool": tool, "dryRun": false})), Effect::DryRun);
    }

    #[test]
    fn what_is_said_goes_where_it_belongs() {
        let proposal = call(
            Surface::SecureExec,
            json!({
                "agentId": "a-1", "context": {"why": 1},
                "tool": {"name": "echo", "args": "{\"a\": 1}", "timeout_s": 2.5}
            }),
        )
        .unwrap();
        assert_eq!((proposal.action.as_str(), &proposal.payload), ("echo", &json!({"a": 1})));
        assert_eq!((proposal.options.timeout_ms, proposal.nonce.unwrap().as_str()), (Some(2500), "k1"));
        assert_eq!(proposal.hearsay.agent.as_deref(), Some("a-1"));
        assert_eq!(proposal.hearsay.context, digest_json(&json!({"why": 1})).ok());
        assert_eq!(proposal.caller.identity, Identity::Local);
    }

    #[test]
    fn what_is_wrong_is_told_by_its_place() {
        let place = |body: Value| {
            let problem = call(Surface::SecureExec, body).unwrap_err();
            serde_json::to_value(&problem).unwrap()["pointer"].as_str().unwrap().to_owned()
        };
        assert_eq!(place(json!({})), "/tool");
        assert_eq!(place(json!({"tool": "echo"})), "/tool");
        assert_eq!(place(json!({"tool": {}})), "/tool/name");
        assert_eq!(place(json!({"tool": {"name": "a b"}})), "/tool/name");
        assert_eq!(place(json!({"tool": {"name": "echo", "args": [1]}})), "/tool/args");
        assert_eq!(place(json!({"tool": {"name": "echo", "argz": {}}})), "/tool/argz");
        assert_eq!(place(json!({"tool": {"name": "echo"}, "dryRun": "no"})), "/dryRun");
        assert_eq!(place(json!({"tool": {"name": "echo"}, "agentId": "a\nb"})), "/agentId");
        for time in [json!(0), json!(-1), json!(31), json!("5"), json!(1e-9)] {
            assert_eq!(place(json!({"tool": {"name": "echo", "timeout_s": time}})), "/tool/timeout_s");
        }
    }

    #[test]
    fn a_batch_has_1_to_20_calls_and_says_which_is_wrong() {
        let calls = |count: usize| json!({"calls": vec![json!({"tool": {"name": "echo"}}); count]});
        assert_eq!(batch(calls(20)).unwrap().items.len(), 20);
        for count in [0, 21] {
            assert!(batch(calls(count)).is_err(), "{count}");
        }
        let problem =
            batch(json!({"calls": [{"tool": {"name": "echo"}}, {"tool": {"name": ""}}]})).unwrap_err();
        assert_eq!(serde_json::to_value(&problem).unwrap()["pointer"], "/calls/1/tool/name");
        let mixed = json!({"dryRun": false, "calls": [
            {"tool": {"name": "echo"}}, {"tool": {"name": "echo"}, "dryRun": true}
        ]});
        let effects: Vec<_> = batch(mixed).unwrap().items.iter().map(|item| item.effect).collect();
        assert_eq!(effects, [Effect::Live, Effect::DryRun]);
    }
}
