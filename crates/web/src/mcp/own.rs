//! The desk of this gateway's own tools: `execute_code`, the tools of `/exec/*`, and two that only tell something.
//!
//! Every call that runs anything walks the one corridor.

use core::time::Duration;
use std::sync::Arc;

use execgate_flow::authorise::RulesFor;
use execgate_flow::{Passage, Refusal};
use execgate_model::{ActionName, BoxFuture, Digest, Effect, Namespace, Nonce, Proposal};
use execgate_receipt::digest_json;
use execgate_tool::Blocked;
use rmcp::ErrorData;
use rmcp::model::{CallToolResponse, CallToolResult, JsonObject, MetaObject, Tool};
use serde_json::{Value, from_value, json};

use super::approval::Way;
use super::desk::{Asker, Call, Desk};
use super::server::{result_of, unknown_tool};
use super::{McpWords, entries, pay, proposal, result};
use crate::body::Fields;
use crate::house::{House, ToolSurface};
use crate::http::receipts::check;
use crate::problem::Problem;

/// Why a call that has to wait is not taken.
const UNREMEMBERED: &str = "too many calls without a key of their own wait for people; send one with \
    `_meta[\"dev.execgate/idempotency-key\"]`";

/// For how long a call waits whose user has opened the page where it is approved. Clients of the protocol give a call a
/// minute at the least.
const PATIENCE: Duration = Duration::from_secs(20);

/// The tools that are none of the registry.
const EXECUTE: &str = "execute_code";
const LANGUAGES: &str = "list_languages";
const VERIFY: &str = "verify_receipt";

/// Where a list says what a tool costs.
const PRICE: &str = "dev.execgate/price";

/// This gateway's own tools.
pub(super) struct OwnDesk(pub(super) Arc<House>);

impl Desk for OwnDesk {
    fn instructions(&self) -> String {
        "Tool calls and code, each run exactly once in a real sandbox, under the operator's rules, with a receipt that \
         anyone can verify. A refusal names the rule and what to do. A call that waits for a person's approval is \
         answered at once with status `approval_required`: make the same call again later to hear how it ended."
            .to_owned()
    }

    fn tools<'a>(&'a self, asker: &'a Asker) -> BoxFuture<'a, Result<Vec<Tool>, ErrorData>> {
        Box::pin(async move {
            let rules = self.0.parts.corridor.rules_for(&asker.caller).await;
            // A fault of the record is told as one, whatever was asked.
            let rules = rules.map_err(|refusal| fault(&Problem::from(refusal)))?;
            Ok(self.list(&rules))
        })
    }

    fn edition<'a>(&'a self, asker: &'a Asker) -> BoxFuture<'a, Result<Digest, ErrorData>> {
        Box::pin(async move {
            let rules = self.0.parts.corridor.rules_for(&asker.caller).await;
            // What there is stays as long as this process; what is shown of it the rules say.
            rules.map(|rules| rules.digest()).map_err(|refusal| fault(&Problem::from(refusal)))
        })
    }

    fn call<'a>(
        &'a self,
        asker: &'a Asker,
        call: Call,
    ) -> BoxFuture<'a, Result<CallToolResponse, ErrorData>> {
        Box::pin(async move {
            if !self.knows(&call.name) {
                return Err(unknown_tool(&call.name));
            }
            let (tool, way) = (call.name.clone(), call.way.clone());
            match self.answer(asker, call).await {
                Ok(result) => Ok(result.into()),
                Err(problem) => self.told(asker, &tool, &way, &problem).await,
            }
        })
    }

    fn house(&self) -> Option<&House> {
        Some(&self.0)
    }
}

impl OwnDesk {
    /// What a caller of these rules may see. What they deny whatever its arguments is not shown.
    fn list(&self, rules: &RulesFor) -> Vec<Tool> {
        let house = &self.0.parts;
        let mut tools = Vec::new();
        let languages = self.languages(rules);
        if !languages.is_empty() {
            if !rules.hides(EXECUTE) {
                let tool = entries::execute_code(&languages);
                let usual = languages.iter().find(|name| *name == "python").or(languages.first());
                tools.push(self.priced(tool, rules, usual.map(String::as_str)));
            }
            if !rules.hides(LANGUAGES) {
                tools.push(entries::list_languages());
            }
        }
        if house.tools == ToolSurface::On {
            let shown = house.corridor.tools(rules).filter(|(name, _)| !rules.bars(name));
            tools.extend(shown.map(|(name, description)| {
                let tool = entries::tool(name, description.summary.into_owned(), description.schema);
                self.priced(tool, rules, Some(name))
            }));
        }
        if !rules.hides(VERIFY) {
            tools.push(entries::verify_receipt());
        }
        tools.sort_by(|a, b| a.name.cmp(&b.name));
        tools
    }

    /// The same, with what it costs, where anything costs something here.
    fn priced(&self, mut tool: Tool, rules: &RulesFor, action: Option<&str>) -> Tool {
        let prices = self.0.parts.corridor.prices();
        if let Some(Ok(name)) = action.map(ActionName::new).filter(|_| self.0.takes_money()) {
            let price = prices.ruled(&name, Effect::Live, None, rules.price(name.as_str()));
            let told = json!({"amount": price.to_string(), "currency": "USD"});
            tool.meta = Some(MetaObject([(PRICE.to_owned(), told)].into_iter().collect()));
        }
        tool
    }

    /// The languages that a caller of these rules may use.
    fn languages(&self, rules: &RulesFor) -> Vec<String> {
        let names = self.0.parts.catalogue.as_ref().map(|catalogue| catalogue.names()).unwrap_or_default();
        names.into_iter().filter(|name| !rules.bars(name)).collect()
    }

    /// Whether a name is that of a tool, shown to this caller or not: what is hidden is denied by its rule.
    fn knows(&self, name: &str) -> bool {
        let house = &self.0.parts;
        let is_tool = || {
            house.tools == ToolSurface::On
                && (house.corridor.has_tool(name) || Blocked::find(name, Namespace::Actions).is_some())
        };
        match name {
            EXECUTE | LANGUAGES => house.catalogue.is_some(),
            VERIFY => true,
            _ => is_tool(),
        }
    }

    async fn answer(&self, asker: &Asker, mut call: Call) -> Result<CallToolResult, Problem> {
        let house = &self.0.parts;
        let rules = house.corridor.rules_for(&asker.caller).await?;
        let proposal = match call.name.as_str() {
            LANGUAGES | VERIFY | EXECUTE if rules.hides(&call.name) => {
                return Err(Problem::hidden_tool(&call.name));
            }
            LANGUAGES => return self.told_languages(call).await,
            VERIFY => return self.verified(call).await,
            EXECUTE => {
                let catalogue = house.catalogue.as_ref().ok_or_else(Problem::code_is_off)?;
                proposal::of_code(asker, &mut call, &catalogue.names())?
            }
            _ => proposal::of_tool(asker, &mut call)?,
        };
        let passage = self.bought(asker, &call, proposal, &rules).await?;
        let mut told = result::read(&passage.answer);
        self.receipted(&passage, &mut told);
        Ok(told)
    }

    /// Walks a call with the payment that it shows, and its line where it may be watched.
    pub(super) async fn bought(
        &self,
        asker: &Asker,
        call: &Call,
        proposal: Proposal,
        rules: &RulesFor,
    ) -> Result<Passage, Problem> {
        let credential = pay::credential(&self.0, asker, &call.name, &call.meta)?;
        let mut proposal = Proposal { credential, ..proposal };
        proposal.watcher = call.watcher().filter(|_| self.may_be_watched(&proposal, rules));
        Ok(self.walk(proposal, rules, &call.way).await?)
    }

    /// Tells beside a result how its payment has ended.
    pub(super) fn receipted(&self, passage: &Passage, told: &mut CallToolResult) {
        if let Some(meta) = self.receipt(passage) {
            told.meta.get_or_insert_default().0.extend(meta);
        }
    }

    /// How a payment has ended, for the `_meta` of what it has bought.
    pub(super) fn receipt(&self, passage: &Passage) -> Option<JsonObject> {
        passage.bought.as_deref().and_then(|bought| pay::response(&self.0, bought))
    }

    /// What is paid when it has ended shows nothing before.
    fn may_be_watched(&self, proposal: &Proposal, rules: &RulesFor) -> bool {
        let prices = self.0.parts.corridor.prices();
        prices.asked(proposal, rules.price(proposal.action.as_str())).is_zero()
    }

    /// Walks a call. One without a key that waits for people has one of ours, by which the same call finds it again.
    pub(super) async fn walk(
        &self,
        mut proposal: Proposal,
        rules: &RulesFor,
        way: &Way,
    ) -> Result<Passage, Refusal> {
        let (corridor, parked) = (&self.0.parts.corridor, &self.0.parked_calls);
        // The name that the call was told when it was to wait is its own like any other, whatever the rules ask now.
        let is_again = proposal.nonce.is_none() && way.state.is_some();
        proposal.nonce = proposal.nonce.or_else(|| way.state.clone());
        let unnamed =
            proposal.nonce.is_none() && proposal.credential.is_none() && proposal.approval.is_none();
        let asks = || matches!(corridor.would(rules, &proposal), Ok(Some(_)));
        let known = !unnamed || !parked.is_empty() || asks();
        let call = if unnamed && known { digest(&proposal) } else { None };
        let mut is_new = false;
        if let Some(call) = call {
            proposal.nonce = match parked.known(call) {
                Some(nonce) => Some(nonce),
                None if asks() => {
                    let now = self.0.parts.clock.now();
                    let named = self.fresh().and_then(|fresh| parked.nonce(call, fresh, now));
                    // Else nobody would find it again, and the same call would wait twice.
                    let unremembered = Refusal::Busy { rule: "parked-calls", reason: UNREMEMBERED };
                    let (nonce, inserted) = named.ok_or(unremembered)?;
                    is_new = inserted;
                    Some(nonce)
                }
                None => None,
            };
        }
        let ours = call.zip(proposal.nonce.clone());
        let mut walked = corridor.walk(proposal, Arc::new(McpWords)).await;
        if let (Err(Refusal::Parked(waiting)), Some((call, nonce))) = (&walked, &ours) {
            parked.waits_until(*call, nonce.clone(), waiting.run, waiting.expires);
        }
        let ours = ours.map(|(call, _)| call);
        if way.is_seen {
            walked = match walked {
                Err(Refusal::Parked(waiting)) => corridor.wait_out(waiting, PATIENCE).await,
                walked => walked,
            };
        }
        match (&walked, ours) {
            (Err(Refusal::Parked(_)), Some(_)) => {}
            (Ok(_), Some(call)) => parked.forget(call),
            (Ok(passage), None) if is_again => parked.forget_run(passage.run),
            // It does not wait, and has not started: it wants people.
            (Err(_), Some(call)) if is_new => parked.forget_unless_it_waits(call),
            (Ok(_) | Err(_), _) => {}
        }
        walked
    }

    fn fresh(&self) -> Option<Nonce> {
        let bytes = Digest::from_bytes(self.0.parts.entropy.thirty_two());
        Nonce::new(format!("mcp-{bytes}")).ok()
    }

    async fn told_languages(&self, call: Call) -> Result<CallToolResult, Problem> {
        Fields::new(call.arguments).finish()?;
        let catalogue = self.0.parts.catalogue.as_ref().ok_or_else(Problem::code_is_off)?;
        let profiles = catalogue.describe().await;
        let languages = profiles["default"]["languages"].clone();
        Ok(result_of(json!({"languages": languages, "profiles": profiles})))
    }

    async fn verified(&self, call: Call) -> Result<CallToolResult, Problem> {
        let mut fields = Fields::new(call.arguments);
        let (run, receipt) = (fields.text("exec_id")?, fields.text("receipt")?);
        let result = fields.any("result");
        fields.finish()?;
        Ok(result_of(match check(&self.0, &run, &receipt, result.as_ref()).await? {
            None => json!({"valid": true}),
            Some(reason) => json!({"valid": false, "reason": reason}),
        }))
    }

    /// What a call is told that was not run: that it waits or costs something, in the form that its client has, or why it
    /// is refused.
    pub(super) async fn told(
        &self,
        asker: &Asker,
        tool: &str,
        way: &Way,
        problem: &Problem,
    ) -> Result<CallToolResponse, ErrorData> {
        if let Some(told) = way.told(&self.0, asker, problem).await {
            return Ok(told);
        }
        match pay::required(&self.0, asker, tool, way, problem) {
            Some(required) => required.map(Into::into),
            None => {
                let told = problem.clone().with_payload_at("").in_mcp_under(asker.origin.as_deref());
                Ok(from_value(told).map(result::complete).unwrap_or_default().into())
            }
        }
    }
}

/// Who asks for what, in one digest; none where nobody can be told from another.
fn digest(proposal: &Proposal) -> Option<Digest> {
    let scope = proposal.caller.scope()?;
    let call = json!({
        "scope": scope.as_str(), "action": proposal.action, "payload": proposal.payload, "effect": proposal.effect
    });
    digest_json(&call).ok()
}

/// A problem where there is no result that could tell it.
pub(super) fn fault(problem: &Problem) -> ErrorData {
    let told: Value = problem.in_mcp();
    let text = told["content"][0]["text"].as_str().unwrap_or("a fault").to_owned();
    ErrorData::internal_error(text, Some(told["structuredContent"].clone()))
}
