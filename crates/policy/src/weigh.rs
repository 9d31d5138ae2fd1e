//! What a policy file says of one request. The order is fixed: hidden, listed, outright, `schema`, `require`, `deny_if`,
//! profile, limits, approval; a refusal that is enforced ends it, one in shadow goes on. Where the caller's grant has
//! rules of its own they come behind the gateway's, whole: what either refuses is refused.
//!
//! Every change here needs a second reader: it is what stands between a call and what the operator forbade.

use execgate_model::{Digest, RuleId};

use crate::condition::{Condition, Finding};
use crate::file::{Action, ApprovalRule, Entry, Limit, Mode, OtherTools};
use crate::schema::{Breach, Schema};
use crate::{
    Allow, ApprovalDemand, ApprovalTerms, Decision, Denial, Kept, Policy, Request, Reservation, Spent,
};

/// How a rule in shadow stands in the name of the rule that allowed.
const SHADOW: &str = "shadow:";

/// Sees how a decision comes about.
pub(crate) trait Watch {
    /// A rule was looked at.
    fn saw(&mut self, rule: &str, finding: impl FnOnce() -> String);
}

impl Watch for () {
    fn saw(&mut self, _rule: &str, _finding: impl FnOnce() -> String) {}
}

/// What a decision stands on beside the files.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    /// The rule by which the allow-list lets the action pass.
    pub(crate) listed: &'a str,
    /// What names all rules that were asked.
    pub(crate) digest: Digest,
}

/// What files decide on a request: each has to let it pass, in this order, and the last names the rule.
pub(crate) fn weigh<'p>(
    request: &Request<'_>,
    policies: impl IntoIterator<Item = &'p Policy>,
    ground: Ground<'p>,
    spent: &Spent,
    watch: &mut impl Watch,
) -> Decision {
    let (shadow, profile, limits, terms) = (None, None, Vec::new(), Vec::new());
    let mut scales = Scales { request, spent, watch, shadow, profile, limits, terms };
    let mut allowing = ground.listed;
    for policy in policies {
        match scales.load(policy) {
            Ok(rule) => allowing = rule,
            Err(denial) => return Decision::Deny(denial),
        }
    }
    scales.decision(allowing, ground.digest)
}

struct Scales<'a, W: Watch> {
    request: &'a Request<'a>,
    spent: &'a Spent,
    watch: &'a mut W,
    /// The first rule that would have refused.
    shadow: Option<String>,
    /// The sandbox that code has to run in.
    profile: Option<String>,
    limits: Vec<Reservation>,
    terms: Vec<ApprovalTerms>,
}

impl<W: Watch> Scales<'_, W> {
    /// Looks at every rule that is about this request; the rule that allows it, or the first that refuses.
    fn load<'p>(&mut self, policy: &'p Policy) -> Result<&'p str, Denial> {
        let tool = policy.own_name(self.request.action.as_str());
        if let Some(rule) = policy.hidden.find(tool).next().and_then(|number| policy.hide.get(number)) {
            self.refuse(policy.mode, rule, || format!("Tool `{tool}` is hidden by policy"))?;
        }
        let own = policy.index.find(tool).filter_map(|number| policy.entries.get(number));
        let mut allowing = None;
        for entry in own.clone() {
            if entry.hide {
                self.refuse(entry.mode, &entry.rule, || format!("Tool `{tool}` is hidden by policy"))?;
            }
            if entry.lists(tool) && allowing.is_none() {
                allowing = Some(entry.rule.as_str());
            }
        }
        match (policy.default, allowing) {
            (OtherTools::Deny, None) => {
                let reason = || format!("`{tool}` is not among the tools that the policy allows");
                self.refuse(policy.mode, policy.origin.default_rule(), reason)?;
            }
            (OtherTools::Deny | OtherTools::Allow, Some(rule)) => {
                self.watch.saw(rule, || "lists the tool".to_owned());
            }
            (OtherTools::Allow, None) => {
                self.watch
                    .saw(policy.origin.default_rule(), || "allows tools that are not listed".to_owned());
            }
        }
        for entry in own.chain(&policy.all_tools) {
            self.entry(policy, entry)?;
        }
        Ok(allowing.unwrap_or(policy.origin.default_rule()))
    }

    fn entry(&mut self, policy: &Policy, entry: &Entry) -> Result<(), Denial> {
        let tool = self.request.action;
        if entry.action == Some(Action::Deny) {
            let reason = || entry.reason.clone().unwrap_or_else(|| format!("policy denies `{tool}`"));
            self.refuse(entry.mode, &format!("{}/action", entry.rule), reason)?;
        }
        if let Some(schema) = &entry.schema {
            self.schema(entry, schema)?;
        }
        for condition in &entry.require {
            let finding = self.judge("require", condition);
            if !finding.passes() {
                self.refuse(entry.mode, &condition.rule, || reason(entry, condition, "requires"))?;
            }
        }
        for condition in &entry.deny_if {
            let finding = self.judge("deny_if", condition);
            if finding.fires() {
                self.refuse(entry.mode, &condition.rule, || reason(entry, condition, "refuses by"))?;
            }
        }
        if let Some(wanted) = &entry.profile {
            self.profile(entry, wanted)?;
        }
        for limit in &entry.limits {
            self.limit(policy, entry, limit)?;
        }
        if let Some(rule) = &entry.approval {
            self.approval(entry, rule)?;
        }
        Ok(())
    }

    fn judge(&mut self, word: &str, condition: &Condition) -> Finding {
        let finding = condition.judge(self.request);
        let say = || format!("{word}: {} {} {}", condition.path, condition.op, finding.as_str());
        self.watch.saw(&condition.rule, say);
        finding
    }

    fn schema(&mut self, entry: &Entry, schema: &Schema) -> Result<(), Denial> {
        let rule = format!("{}/schema", entry.rule);
        match schema.judge(self.request.arguments) {
            Ok(()) => {
                self.watch.saw(&rule, || "the arguments fit it".to_owned());
                Ok(())
            }
            Err(Breach { pointer, wanted }) => {
                let reason =
                    || format!("the arguments break the schema of the policy at `{pointer}`: {wanted}");
                self.refuse(entry.mode, &rule, reason)
            }
        }
    }

    /// A call that names no profile gets this one; one that names another does not pass.
    fn profile(&mut self, entry: &Entry, wanted: &str) -> Result<(), Denial> {
        let rule = format!("{}/profile", entry.rule);
        let tool = self.request.action;
        let named = self.request.arguments.get("profile").filter(|named| !named.is_null());
        let by_rule = self.profile.as_deref().filter(|other| *other != wanted);
        if named.is_some_and(|named| named != wanted) || by_rule.is_some() {
            let reason = || format!("`{tool}` runs in the profile `{wanted}` here, and in no other");
            return self.refuse(entry.mode, &rule, reason);
        }
        if entry.mode == Mode::Enforce {
            self.watch.saw(&rule, || format!("has it run in the profile `{wanted}`"));
            self.profile = Some(wanted.to_owned());
        }
        Ok(())
    }

    /// What can never pass is refused here; how much is left is for the claim to say.
    fn limit(&mut self, policy: &Policy, entry: &Entry, limit: &Limit) -> Result<(), Denial> {
        let tool = self.request.action;
        let Some(amount) = limit.amount(self.request) else {
            let reason = || {
                format!(
                    "the limit `{}` of `{tool}` counts what is no whole number that it can count here",
                    limit.counter
                )
            };
            return self.refuse(entry.mode, &limit.rule, reason);
        };
        // Those of two servers are two, also where they have one name.
        let server = policy.server.as_ref().map(|server| format!("{server}.{}", entry.name));
        let key = limit.key(policy.origin, server.as_deref().unwrap_or(&entry.name), self.request);
        let used = self.spent.of(&key);
        if used.checked_add(amount).is_none_or(|sum| sum > limit.max) {
            let reason = || format!("the limit `{}` of `{tool}` is {} in a window", limit.counter, limit.max);
            self.refuse(entry.mode, &limit.rule, reason)?;
        }
        self.watch.saw(&limit.rule, || {
            format!("counts {amount} of {} in {} s", limit.max, limit.window.length_ms() / 1_000)
        });
        let kept = match entry.mode {
            Mode::Enforce => Kept::Enforced,
            Mode::Shadow => Kept::Shadow,
        };
        let (rule, max, window) = (limit.rule.clone(), limit.max, limit.window);
        self.limits.push(Reservation { rule, key, amount, max, window, kept });
        Ok(())
    }

    fn approval(&mut self, entry: &Entry, rule: &ApprovalRule) -> Result<(), Denial> {
        for condition in &rule.when {
            if !self.judge("when", condition).fires() {
                return Ok(());
            }
        }
        if entry.mode == Mode::Shadow {
            let wanted = || "a person would have to approve".to_owned();
            return self.refuse(Mode::Shadow, &rule.rule, wanted);
        }
        self.watch.saw(&rule.rule, || "wants an approval".to_owned());
        // The characters and the length of a pointer are those of a rule's name: the file was read so.
        let Ok(name) = RuleId::new(rule.rule.clone()) else {
            let reason = || "the rule that wants an approval has no name".to_owned();
            return self.refuse(Mode::Enforce, &rule.rule, reason);
        };
        let (approvers, min, ttl_s) = (rule.approvers.clone(), rule.min, rule.ttl_s);
        self.terms.push(ApprovalTerms { rule: name, approvers, min, ttl_s });
        Ok(())
    }

    fn refuse(&mut self, mode: Mode, rule: &str, reason: impl FnOnce() -> String) -> Result<(), Denial> {
        match mode {
            Mode::Enforce => {
                self.watch.saw(rule, || "refuses".to_owned());
                Err(Denial { rule: rule.to_owned(), reason: reason() })
            }
            Mode::Shadow => {
                self.watch.saw(rule, || "would refuse, and is in shadow".to_owned());
                self.shadow.get_or_insert_with(|| format!("{SHADOW}{rule}"));
                Ok(())
            }
        }
    }

    fn decision(self, rule: &str, policy: Digest) -> Decision {
        let rule = self.shadow.unwrap_or_else(|| rule.to_owned());
        let allow = Allow { rule, policy, profile: self.profile, limits: self.limits };
        match self.terms.first().map(|terms| terms.rule.clone()) {
            None => Decision::Allow(allow),
            Some(rule) => Decision::RequireApproval(ApprovalDemand { rule, terms: self.terms, allow }),
        }
    }
}

fn reason(entry: &Entry, condition: &Condition, does: &str) -> String {
    let told = condition.on_deny.as_ref().or(entry.reason.as_ref());
    let own = || format!("policy {does} a condition on {} ({})", condition.path, condition.op);
    told.cloned().unwrap_or_else(own)
}
