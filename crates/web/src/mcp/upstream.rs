//! The desk of one server of others: its tools under their own names, each call by the one corridor as the action
//! `server.tool`.
//!
//! What its operator has not accepted is neither listed nor called; what the rules bar is not listed, and denied by its rule
//! where it is called all the same.

use std::sync::Arc;

use execgate_flow::Refusal;
use execgate_flow::authorise::RulesFor;
use execgate_model::{BodyPlace, BoxFuture, Digest, Watcher};
use execgate_receipt::sha256;
use execgate_tool::upstream::{
    Asking, Asks, Changes, Entry, Listed, Listing, RPC_ERROR, Reading, Seen, Standing, Upstream,
};
use rmcp::ErrorData;
use rmcp::model::{CallToolResponse, CallToolResult, ErrorCode, JsonObject, Tool};
use serde_json::{Map, Value, from_slice, from_value};

use super::approval::Way;
use super::desk::{Asker, Call, Desk, not_here, not_listed};
use super::listening::View;
use super::own::{OwnDesk, fault};
use super::server::unknown_tool;
use super::{pay, proposal, result};
use crate::house::House;
use crate::problem::Problem;

/// The rule by which what was not accepted is refused.
const NOT_ACCEPTED: &str = "upstream/not-accepted";

/// The error of a server whose code is none (JSON-RPC 2.0, 5.1).
const INTERNAL: i32 = -32_603;

/// What is behind a path: this gateway's own tools, or those of a server of others.
pub(super) fn desk_at(house: &Arc<House>, path: &str) -> Result<Arc<dyn Desk>, Problem> {
    let Some(server) = path.strip_prefix("/mcp/") else { return Ok(Arc::new(OwnDesk(Arc::clone(house)))) };
    let upstream = house.parts.upstreams.server(server);
    let upstream = upstream.ok_or_else(|| Problem::not_found("there is no such server here"))?;
    Ok(Arc::new(UpstreamDesk::new(Arc::clone(house), Arc::clone(upstream))))
}

/// One server of others.
pub(super) struct UpstreamDesk {
    own: OwnDesk,
    upstream: Arc<Upstream>,
}

impl UpstreamDesk {
    pub(super) fn new(house: Arc<House>, upstream: Arc<Upstream>) -> Self {
        Self { own: OwnDesk(house), upstream }
    }

    /// A tool that it offers, accepted or not.
    fn seen(&self, name: &str) -> Option<Seen> {
        self.upstream.tools().iter().find(|seen| seen.entry.name == name).cloned()
    }

    /// What is called, or why it is not.
    async fn answer(&self, asker: &Asker, mut call: Call) -> Result<Answered, Problem> {
        let rules = self.own.0.parts.corridor.rules_for(&asker.caller).await?;
        let proposal = proposal::of_tool(asker, &mut call)?;
        // Under the name of the action, which no two servers share.
        let passage = self.own.bought(asker, &call, proposal, &rules).await?;
        let said: Option<Value> = from_slice(&passage.answer.body).ok();
        Ok(match said.as_ref().and_then(|said| said.get(RPC_ERROR)) {
            Some(error) => Answered::Error(error_of(error)),
            None => {
                let mut told = result::read(&passage.answer);
                self.own.receipted(&passage, &mut told);
                Answered::Result(told)
            }
        })
    }
}

/// How a server answers.
enum Answered {
    Result(CallToolResult),
    Error(ErrorData),
}

/// The error that a server answered with.
fn error_of(error: &Value) -> ErrorData {
    let code = error.get("code").and_then(Value::as_i64).and_then(|code| i32::try_from(code).ok());
    let message = error.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
    ErrorData::new(ErrorCode(code.unwrap_or(INTERNAL)), message, error.get("data").cloned())
}

/// An answer, as a client takes it that holds results against the form that their tool promises.
fn formed(told: CallToolResponse, has_form: bool) -> CallToolResponse {
    let CallToolResponse::Complete(result) = told else { return told };
    if has_form { result::beside_form(result).into() } else { result.into() }
}

impl Desk for UpstreamDesk {
    fn server(&self) -> &str {
        self.upstream.name().as_str()
    }

    fn instructions(&self) -> String {
        self.upstream.hello().and_then(|hello| hello.instructions).unwrap_or_default()
    }

    fn tools<'a>(&'a self, asker: &'a Asker) -> BoxFuture<'a, Result<Vec<Tool>, ErrorData>> {
        Box::pin(async move {
            let rules = self.own.0.parts.corridor.rules_for(&asker.caller).await;
            let rules = rules.map_err(|refusal| fault(&Problem::from(refusal)))?;
            // What the protocol has no form for cannot be told.
            Ok(self.shown(&rules).filter_map(|entry| from_value((*entry.raw).clone()).ok()).collect())
        })
    }

    fn edition<'a>(&'a self, asker: &'a Asker) -> BoxFuture<'a, Result<Digest, ErrorData>> {
        Box::pin(async move {
            let (rules, changes) = (self.own.edition(asker).await?, *self.upstream.changes().borrow());
            let Changes { tools, resources, prompts } = changes;
            Ok(sha256(format!("{rules}\n{tools}\n{resources}\n{prompts}").as_bytes()))
        })
    }

    fn settled(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.upstream.knows_beside())
    }

    fn view<'a>(&'a self, asker: &'a Asker) -> BoxFuture<'a, Result<View, ErrorData>> {
        Box::pin(async move {
            let rules = self.own.0.parts.corridor.rules_for(&asker.caller).await;
            let rules = rules.map_err(|refusal| fault(&Problem::from(refusal)))?;
            let tools = self.shown(&rules).map(|entry| entry.digest);
            Ok(View {
                tools: all_of(tools),
                resources: self.seen_of(asker, &rules, Reading::Resource)?,
                prompts: self.seen_of(asker, &rules, Reading::Prompt)?,
            })
        })
    }

    fn call<'a>(
        &'a self,
        asker: &'a Asker,
        call: Call,
    ) -> BoxFuture<'a, Result<CallToolResponse, ErrorData>> {
        Box::pin(async move {
            let (name, way) = (call.name.clone(), call.way.clone());
            let Some(seen) = self.seen(&name) else { return Err(unknown_tool(&name)) };
            let Some(action) = self.upstream.name().action(&name) else { return Err(unknown_tool(&name)) };
            let has_form = seen.entry.has_form();
            if seen.standing != Standing::Accepted {
                let standing = seen.standing.as_str();
                let reason = format!(
                    "`{name}` is {standing}, and is called once the operator has accepted it \
                     (`execgate upstream accept`)"
                );
                let refusal = Refusal::Denied { rule: NOT_ACCEPTED.to_owned(), reason };
                let told = self.own.told(asker, &name, &way, &Problem::from(refusal)).await?;
                return Ok(formed(told, has_form));
            }
            let tool = action.to_string();
            let told = match self.answer(asker, Call { name: tool.clone(), ..call }).await {
                Ok(Answered::Result(result)) => result.into(),
                Ok(Answered::Error(error)) => return Err(error),
                Err(problem) => self.own.told(asker, &tool, &way, &problem).await?,
            };
            Ok(formed(told, has_form))
        })
    }

    fn house(&self) -> Option<&House> {
        self.own.house()
    }

    fn asks(&self) -> Asks {
        self.upstream.asks().clone()
    }

    fn allows<'a>(
        &'a self,
        asker: &'a Asker,
        kind: Asking,
        params: &'a Value,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let action = self.upstream.name().action(kind.action()).map(|action| action.to_string());
            let arguments = params.as_object().cloned().unwrap_or_default();
            let mut call = of_nobody(action.unwrap_or_default(), arguments);
            let corridor = &self.own.0.parts.corridor;
            let rules = corridor.rules_for(&asker.caller).await.map_err(|refusal| refusal.to_string())?;
            let proposal = proposal::of_tool(asker, &mut call).map_err(|_| NO_ACTION.to_owned())?;
            match corridor.would(&rules, &proposal) {
                Ok(None) => Ok(()),
                Ok(Some(rule)) => Err(format!("{WANTS_PEOPLE}: {rule}")),
                Err(Refusal::Denied { rule, reason }) => Err(format!("{reason} ({rule})")),
                Err(refusal) => Err(refusal.to_string()),
            }
        })
    }

    fn has(&self, reading: Reading) -> bool {
        self.upstream.can(reading)
    }

    fn list<'a>(
        &'a self,
        asker: &'a Asker,
        listing: Listing,
    ) -> BoxFuture<'a, Result<Vec<Value>, ErrorData>> {
        Box::pin(async move {
            let reading = listing.of();
            if !self.upstream.can(reading) {
                return Err(not_listed(listing));
            }
            let rules = self.own.0.parts.corridor.rules_for(&asker.caller).await;
            let rules = rules.map_err(|refusal| fault(&Problem::from(refusal)))?;
            let action = self.action(reading)?;
            if rules.bars(&action) {
                return Ok(Vec::new());
            }
            let listed = self.upstream.list(listing).await;
            let mut listed = listed.map_err(|why| ErrorData::internal_error(why, None))?;
            listed.retain(|item| self.may_be_had(asker, &rules, &action, item.get(reading.key())));
            Ok(listed)
        })
    }

    fn read<'a>(
        &'a self,
        asker: &'a Asker,
        reading: Reading,
        call: Call,
    ) -> BoxFuture<'a, Result<Value, ErrorData>> {
        Box::pin(async move {
            if !self.upstream.can(reading) {
                return Err(not_here(reading));
            }
            let (action, way) = (self.action(reading)?, call.way.clone());
            let had = self.had(asker, Call { name: action.clone(), ..call }).await;
            had.unwrap_or_else(|problem| {
                let price = pay::required_to_read(&self.own.0, asker, &action, &way, &problem);
                Err(price.unwrap_or_else(|| turned_away(asker, &problem)))
            })
        })
    }
}

/// Why a question is not asked for which the rules want an approval.
const WANTS_PEOPLE: &str = "nobody can approve what a server asks within a call, and a rule wants it";

/// Why a question is not asked that has no name in rules.
const NO_ACTION: &str = "rules have no name for this question";

/// What names a list of what has these digests.
fn all_of(digests: impl IntoIterator<Item = Digest>) -> Digest {
    let all: Vec<u8> = digests.into_iter().flat_map(|digest| *digest.as_bytes()).collect();
    sha256(&all)
}

/// A call that is only judged.
fn of_nobody(name: String, arguments: Map<String, Value>) -> Call {
    Call {
        name,
        arguments,
        meta: Map::new(),
        line: None,
        place: BodyPlace::default(),
        way: Way::plain(),
        asks: Watcher::default(),
    }
}

/// Tells something in the `_meta` of an answer, in the place of what its server has told under those names.
fn tell_beside(said: &mut Value, told: JsonObject) {
    let Value::Object(fields) = said else { return };
    match fields.get_mut("_meta") {
        Some(Value::Object(meta)) => meta.extend(told),
        _ => drop(fields.insert("_meta".to_owned(), Value::Object(told))),
    }
}

/// The code of what the rules, or a full house, turn away: outside of what the protocol keeps for itself.
const TURNED_AWAY: i32 = 403;

/// A refusal where no result could tell it: with all that a result of a tool would say.
fn turned_away(asker: &Asker, problem: &Problem) -> ErrorData {
    let told = problem.clone().with_payload_at("").in_mcp_under(asker.origin.as_deref());
    let text = told["content"][0]["text"].as_str().unwrap_or("refused").to_owned();
    ErrorData::new(ErrorCode(TURNED_AWAY), text, Some(told["structuredContent"].clone()))
}

impl UpstreamDesk {
    /// The tools that were accepted, and that these rules do not bar.
    fn shown<'a>(&'a self, rules: &'a RulesFor) -> impl Iterator<Item = Entry> + 'a {
        let name = self.upstream.name();
        self.upstream
            .accepted()
            .into_iter()
            .filter(|entry| name.action(&entry.name).is_some_and(|action| !rules.bars(action.as_str())))
    }

    /// What names the list of resources, or of prompts, that these rules leave a caller.
    fn seen_of(&self, asker: &Asker, rules: &RulesFor, reading: Reading) -> Result<Digest, ErrorData> {
        let action = self.action(reading)?;
        if !self.upstream.can(reading) || rules.bars(&action) {
            return Ok(all_of([]));
        }
        let Some(listed) = self.upstream.listed(reading) else {
            // It does not tell what there is: another one may be there, or may be left of it.
            let changes = self.upstream.changes().borrow().of(reading);
            return Ok(sha256(format!("{}\n{changes}", rules.digest()).as_bytes()));
        };
        let key = |listed: &Listed| Some(listed.key.clone()).filter(|key| !key.is_null());
        let seen = listed.iter().filter(|one| self.may_be_had(asker, rules, &action, key(one).as_ref()));
        Ok(all_of(seen.map(|one| one.digest)))
    }

    /// The action that a resource or a prompt is had by.
    fn action(&self, reading: Reading) -> Result<String, ErrorData> {
        let action = self.upstream.name().action(reading.name());
        Ok(action.ok_or_else(|| not_here(reading))?.to_string())
    }

    /// Whether the rules leave anything of one that is listed, by its name or address.
    fn may_be_had(&self, asker: &Asker, rules: &RulesFor, action: &str, key: Option<&Value>) -> bool {
        // What is no address of one, but the form of many, is judged when it is read.
        let Some((name, key)) = Reading::ALL
            .into_iter()
            .find(|reading| action.ends_with(reading.name()))
            .zip(key)
            .map(|(reading, key)| (reading.key(), key.clone()))
        else {
            return true;
        };
        let mut call = of_nobody(action.to_owned(), Map::from_iter([(name.to_owned(), key)]));
        let proposal = proposal::of_tool(asker, &mut call);
        proposal.is_ok_and(|proposal| self.own.0.parts.corridor.would(rules, &proposal).is_ok())
    }

    /// What is had by the corridor: the server's own answer, or its own error.
    async fn had(&self, asker: &Asker, mut call: Call) -> Result<Result<Value, ErrorData>, Problem> {
        let rules = self.own.0.parts.corridor.rules_for(&asker.caller).await?;
        let proposal = proposal::of_tool(asker, &mut call)?;
        let passage = self.own.bought(asker, &call, proposal, &rules).await?;
        let mut said: Value = from_slice(&passage.answer.body).unwrap_or_default();
        if let Some(error) = said.get(RPC_ERROR) {
            return Ok(Err(error_of(error)));
        }
        if ["contents", "messages"].into_iter().any(|name| said.get(name).is_some()) {
            if let Some(receipt) = self.own.receipt(&passage) {
                tell_beside(&mut said, receipt);
            }
            return Ok(Ok(said));
        }
        let text = said.pointer("/content/0/text").and_then(Value::as_str).unwrap_or("there is no answer");
        Ok(Err(ErrorData::internal_error(text.to_owned(), said.get("structuredContent").cloned())))
    }
}
