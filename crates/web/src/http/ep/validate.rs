//! `POST /ep/validate`: `{agent_id, action, …}` → 200 `{valid, violations, …}`, also where the answer is no.
//!
//! The rules are asked, and nothing else: nothing is claimed, paid, counted or kept, and no identity service is asked, so
//! that two gateways that ask each other do not go round in circles. The answer is about whoever shows the key;
//! `agent_id` is what the caller calls itself, and decides nothing.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use execgate_flow::Refusal;
use execgate_model::{ActionName, BodyPlace, Caller, Effect, Hearsay, Proposal, RunOptions, Surface};
use execgate_receipt::{CanonicalError, Timestamp, digest_json};
use serde_json::{Map, Value, json};

use crate::body::Fields;
use crate::caller::identify;
use crate::house::House;
use crate::http;
use crate::problem::Problem;

/// The longest name that a caller may give itself or its plan, in bytes.
const NAME_MAX: usize = 128;

/// What services of this shape judge a trade by. Here they are arguments like others.
const TRADE: [&str; 7] =
    ["asset", "direction", "amount_usd", "entry_price", "stop_loss", "take_profit", "leverage"];

/// What is asked.
struct Plan {
    agent_id: String,
    proposal_id: Option<String>,
    chain: Option<String>,
    proposal: Proposal,
}

/// Says what the rules would say to a call by whoever shows the key.
pub(crate) async fn validate(State(house): State<Arc<House>>, headers: HeaderMap, body: Body) -> Response {
    match judge(&house, &headers, body).await {
        Ok(answer) => http::json(StatusCode::OK, &answer),
        Err(problem) => problem.into_response(),
    }
}

async fn judge(house: &House, headers: &HeaderMap, body: Body) -> Result<Value, Problem> {
    let visitor = identify(house, headers).await?;
    if visitor.holder.is_none() {
        return Err(Problem::grant_required());
    }
    let (fields, place) = house.bodies.json_object(headers, body).await?;
    let plan = read(fields, place, visitor.caller)?;
    let corridor = &house.parts.corridor;
    let rules = corridor.rules_for(&plan.proposal.caller).await?;
    let (violations, approval) = match corridor.would(&rules, &plan.proposal) {
        // None came, and what needs one is refused without.
        Ok(approval) => (approval.iter().map(|rule| format!("approval-missing: {rule}")).collect(), approval),
        Err(refusal) => (vec![format!("{}: {refusal}", refusal.rule())], None),
    };
    let dry_run = matches!(plan.proposal.effect, Effect::DryRun);
    let mut answer = json!({
        "valid": violations.is_empty(),
        "risk_score": if violations.is_empty() { "LOW" } else { "HIGH" },
        "violations": violations,
        "approval_required": approval,
        "plan_summary": format!("AGENT:{} | {}", plan.agent_id, plan.proposal.action),
        "agent_id": plan.agent_id,
        "proposal_id": plan.proposal_id,
        "action": plan.proposal.action,
        "args_digest": digest_json(&plan.proposal.payload).map_err(inexact)?,
        "dry_run": dry_run,
        "policy_set_id": rules.digest(),
        "chain": plan.chain,
        "timestamp": Timestamp::new(house.parts.clock.now()).ok(),
    });
    // Over all that is answered beside it, so that whoever has the answer can make it again.
    answer["proof_hash"] = json!(digest_json(&answer).map_err(inexact)?);
    Ok(answer)
}

fn inexact(error: CanonicalError) -> Problem {
    Refusal::Undigestible(error.to_string()).into()
}

fn read(fields: Map<String, Value>, place: BodyPlace, caller: Caller) -> Result<Plan, Problem> {
    let mut fields = Fields::new(fields);
    let agent_id = short("agent_id", fields.text("agent_id")?)?;
    let mut optional = |name: &'static str| match fields.any(name) {
        None => Ok(None),
        Some(Value::String(text)) => short(name, text).map(Some),
        Some(_) => Err(Problem::bad_field(format!("/{name}"), format!("`{name}` must be a string"))),
    };
    let (action, tool) = (optional("action")?, optional("tool")?);
    let (proposal_id, chain) = (optional("proposal_id")?, optional("chain")?);
    // Named by those who ask services with several sets of rules; here the caller's own rules hold.
    optional("policy_set_id")?;
    let name = match (action, tool) {
        (Some(action), Some(tool)) if action != tool => {
            return Err(Problem::bad_field("/tool", "`action` and `tool` name two different things"));
        }
        (Some(name), _) | (None, Some(name)) => name,
        (None, None) => return Err(Problem::bad_field("/action", "`action` is required")),
    };
    let action = ActionName::new(name).map_err(|error| Problem::bad_field("/action", error.to_string()))?;
    let effect = if fields.switch("dry_run")? { Effect::DryRun } else { Effect::Live };
    let payload = payload(&mut fields)?;
    fields.finish()?;
    let proposal = Proposal {
        surface: Surface::Execute,
        action,
        payload,
        effect,
        options: RunOptions::default(),
        nonce: None,
        caller,
        approval: None,
        credential: None,
        watcher: None,
        place,
        hearsay: Hearsay { agent: Some(agent_id.clone()), context: None },
        peer: None,
    };
    Ok(Plan { agent_id, proposal_id, chain, proposal })
}

/// The arguments: `payload`, or what a trade is described by.
fn payload(fields: &mut Fields) -> Result<Value, Problem> {
    let trade: Map<String, Value> =
        TRADE.iter().filter_map(|name| fields.any(name).map(|value| ((*name).to_owned(), value))).collect();
    match (fields.any("payload"), trade.is_empty()) {
        (None, _) => Ok(Value::Object(trade)),
        (Some(Value::Object(arguments)), true) => Ok(Value::Object(arguments)),
        (Some(Value::Object(_)), false) => {
            Err(Problem::bad_field("/payload", "either `payload`, or the fields of a trade beside it"))
        }
        (Some(_), _) => Err(Problem::bad_field("/payload", "`payload` must be an object")),
    }
}

fn short(name: &'static str, text: String) -> Result<String, Problem> {
    if text.is_empty() || text.len() > NAME_MAX || text.chars().any(char::is_control) {
        let detail = format!("`{name}` must be 1 to {NAME_MAX} bytes in one line");
        return Err(Problem::bad_field(format!("/{name}"), detail));
    }
    Ok(text)
}
