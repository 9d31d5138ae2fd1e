//! What the file says of a tool, of tools that begin alike, or of all of them.

use execgate_model::{Amount, AmountError, RiskClass};

use super::PolicyError;
use super::conditions::{SENTENCE_BYTES_MAX, conditions};
use super::limits::{Limit, limits};
use super::place::{Object, Place};
use super::schema::schema;
use crate::condition::Condition;
use crate::pattern::{ASKED, Pattern, is_beside_tools};
use crate::schema::Schema;

/// Names that one entry gives as examples of what it means.
const NAMES_MAX: usize = 64;

/// People that one rule may ask for: no more statements than these come with a request, and with more nothing would ever run.
const PEOPLE_MAX: u64 = 16;

/// Approvers of one rule, and the bytes of a name.
const APPROVERS_MAX: usize = 64;
const APPROVER_BYTES_MAX: usize = 128;

/// How long an approval may be waited for, in seconds: 30 days, as long as answers are kept.
const TTL_SECONDS_MAX: u64 = 30 * 86_400;

/// How long it is waited for where the file does not say.
const TTL_SECONDS: u64 = 300;

/// Bytes of the name of a profile: those of the configuration are shorter.
const PROFILE_BYTES_MAX: usize = 64;

/// Bytes of a price.
const PRICE_BYTES_MAX: usize = 32;

/// What an entry says outright.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Allow,
    Deny,
    RequireApproval,
}

/// Whether what a rule refuses is refused, or only told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Enforce,
    Shadow,
}

impl Mode {
    pub(super) const WORDS: [(&str, Self); 2] = [("enforce", Self::Enforce), ("shadow", Self::Shadow)];
}

/// When a person has to say yes, and who.
#[derive(Debug, Clone)]
pub(crate) struct ApprovalRule {
    pub(crate) rule: String,
    /// All of these must hold; none of them is: always.
    pub(crate) when: Vec<Condition>,
    pub(crate) approvers: Vec<String>,
    pub(crate) min: u64,
    pub(crate) ttl_s: u64,
}

/// One entry, compiled.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The key under `tools`; `/all_tools` for the entry of that name, which no key can be.
    pub(crate) name: String,
    pub(crate) rule: String,
    pub(crate) pattern: Pattern,
    pub(crate) mode: Mode,
    pub(crate) risk: Option<RiskClass>,
    pub(crate) action: Option<Action>,
    pub(crate) reason: Option<String>,
    /// The form that arguments have to have.
    pub(crate) schema: Option<Schema>,
    /// The sandbox that code has to run in.
    pub(crate) profile: Option<String>,
    /// What a call costs, where anything costs something.
    pub(crate) price: Option<Amount>,
    pub(crate) hide: bool,
    pub(crate) require: Vec<Condition>,
    pub(crate) deny_if: Vec<Condition>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) approval: Option<ApprovalRule>,
}

impl Entry {
    /// Whether the entry lists its tools, so that `default: deny` does not refuse them. A key that is a name
    /// does; one with a star only by an action, since its author may not know every tool that it fits. What refuses
    /// counts only where it is in force: in shadow it would let pass what nothing else does.
    /// What a server has beside tools has sections of its own, and no start of a name was written with it in mind.
    pub(crate) fn lists(&self, name: &str) -> bool {
        match self.pattern {
            Pattern::Exact(_) | Pattern::OfAnyServer(_) => {
                let refuses =
                    matches!(self.action, Some(Action::Deny | Action::RequireApproval)) || self.hide;
                self.mode == Mode::Enforce || !refuses
            }
            Pattern::Prefix(_) if is_beside_tools(name) => false,
            Pattern::Prefix(_) => match self.action {
                Some(Action::Allow) => true,
                Some(Action::Deny | Action::RequireApproval) => self.mode == Mode::Enforce,
                None => false,
            },
            Pattern::Every => false,
        }
    }

    /// Conditions, limits and schemas that this entry has.
    pub(crate) fn conditions(&self) -> usize {
        let when = self.approval.as_ref().map_or(0, |approval| approval.when.len());
        let schema = self.schema.as_ref().map_or(0, Schema::size);
        self.require.len() + self.deny_if.len() + self.limits.len() + when + schema
    }
}

/// Reads the entry of `tools` whose key is `key`.
pub(super) fn tool(key: &str, place: &Place<'_>, mode: Mode) -> Result<Entry, PolicyError> {
    let entry = entry(key, Pattern::read(key).map_err(|what| place.wrong_key(what))?, place, mode)?;
    let of_server = key.rsplit_once('.').map_or(key, |(_, name)| name);
    only_allows_or_denies(of_server, entry, place)
}

/// Reads `resources`, `prompts` or what servers ask of clients: an entry for what every server has of that kind, whose name
/// is `name`.
pub(super) fn beside_tools(name: &'static str, place: &Place<'_>, mode: Mode) -> Result<Entry, PolicyError> {
    only_allows_or_denies(name, entry(name, Pattern::OfAnyServer(name), place, mode)?, place)
}

/// Refuses what an entry says of a question of a server beyond yes and no.
fn only_allows_or_denies(name: &str, entry: Entry, place: &Place<'_>) -> Result<Entry, PolicyError> {
    let says_more = !entry.limits.is_empty() || entry.approval.is_some() || entry.price.is_some();
    if ASKED.contains(&name) && says_more {
        return Err(place.wrong(
            "what a server asks of a client is no run of its own: it is allowed or denied, and has no limits, approvals or price",
        ));
    }
    Ok(entry)
}

fn entry(key: &str, pattern: Pattern, place: &Place<'_>, mode: Mode) -> Result<Entry, PolicyError> {
    let mut fields = place.object()?;
    let profile = profile(&pattern, fields.take("profile"), fields.take("sandbox"))?;
    let price = fields.take("price").map(|place| price(&place)).transpose()?;
    let schema = fields.take("schema").map(|place| schema(&place)).transpose()?;
    if let Some(names) = fields.take("match") {
        hold_names(&pattern, key, &names, true)?;
    }
    if let Some(names) = fields.take("not_match") {
        hold_names(&pattern, key, &names, false)?;
    }
    let action = fields.take("action");
    let risk = fields
        .take("risk")
        .map(|risk| risk.word(&RiskClass::ALL.map(|class| (class.as_str(), class))))
        .transpose()?;
    let mut entry = shared(place, key.to_owned(), pattern, mode, &mut fields)?;
    entry.risk = risk;
    entry.profile = profile;
    entry.price = price;
    entry.schema = schema;
    entry.hide = fields.take("hide").map_or(Ok(false), |hide| hide.switch())?;
    entry.reason = fields.take("reason").map(|reason| reason.text(SENTENCE_BYTES_MAX)).transpose()?;
    if let Some(action) = action {
        set_action(&mut entry, &action)?;
    }
    fields.finish()?;
    Ok(entry)
}

fn set_action(entry: &mut Entry, place: &Place<'_>) -> Result<(), PolicyError> {
    let words =
        [("allow", Action::Allow), ("deny", Action::Deny), ("require_approval", Action::RequireApproval)];
    let action = place.word(&words)?;
    if action == Action::Allow && entry.pattern == Pattern::Every {
        return Err(place.wrong("`*` allows nothing by itself: `default` says what becomes of other tools"));
    }
    if action == Action::RequireApproval && entry.approval.is_none() {
        let (min, ttl_s) = (1, TTL_SECONDS);
        let (rule, when, approvers) = (place.rule(), Vec::new(), Vec::new());
        entry.approval = Some(ApprovalRule { rule, when, approvers, min, ttl_s });
    }
    entry.action = Some(action);
    Ok(())
}

/// Reads `all_tools`: rules for every call, whatever it is of.
pub(super) fn all_tools(place: &Place<'_>, mode: Mode) -> Result<Entry, PolicyError> {
    let mut fields = place.object()?;
    let entry = shared(place, "/all_tools".to_owned(), Pattern::Every, mode, &mut fields)?;
    fields.finish()?;
    Ok(entry)
}

fn shared(
    place: &Place<'_>,
    name: String,
    pattern: Pattern,
    mode: Mode,
    fields: &mut Object<'_>,
) -> Result<Entry, PolicyError> {
    Ok(Entry {
        name,
        rule: place.rule(),
        pattern,
        mode: fields.take("mode").map_or(Ok(mode), |own| own.word(&Mode::WORDS))?,
        risk: None,
        action: None,
        reason: None,
        schema: None,
        profile: None,
        price: None,
        hide: false,
        require: conditions(fields.take("require"))?,
        deny_if: conditions(fields.take("deny_if"))?,
        limits: limits(fields.take("limits"), fields.take("rate_limit"))?,
        approval: fields.take("require_approval").map(|place| approval(&place)).transpose()?,
    })
}

/// `"profile": NAME`, or `"sandbox": {"profile": NAME}`.
fn profile(
    pattern: &Pattern,
    short: Option<Place<'_>>,
    long: Option<Place<'_>>,
) -> Result<Option<String>, PolicyError> {
    let place = match (short, long) {
        (None, None) => return Ok(None),
        (Some(place), None) => place,
        (None, Some(sandbox)) => {
            let mut fields = sandbox.object()?;
            let place = fields.need("profile")?;
            fields.finish()?;
            place
        }
        (Some(_), Some(sandbox)) => {
            return Err(sandbox.wrong_key("`profile` and `sandbox` say the same: one of them"));
        }
    };
    // With a star it would be about actions that run in no sandbox, too.
    if !matches!(pattern, Pattern::Exact(_)) {
        return Err(place.wrong("a profile stands with the name of one action, not with a `*`"));
    }
    let name = place.text(PROFILE_BYTES_MAX)?;
    if name.is_empty() {
        return Err(place.wrong("a profile has a name"));
    }
    Ok(Some(name))
}

/// `"0.02"`, or `{"amount": "20000", "asset": "USDC"}` in millionths.
fn price(place: &Place<'_>) -> Result<Amount, PolicyError> {
    if place.is_text() {
        let text = place.text(PRICE_BYTES_MAX)?;
        return text.parse().map_err(|error: AmountError| place.wrong(error.to_string()));
    }
    let mut fields = place.object()?;
    let amount = fields.need("amount")?;
    fields.take("asset").map(|asset| asset.word(&[("USDC", ()), ("USD", ())])).transpose()?;
    fields.finish()?;
    let text = amount.text(PRICE_BYTES_MAX)?;
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let micros = plain.then(|| text.parse().ok()).flatten();
    micros
        .map(Amount::from_micros)
        .ok_or_else(|| amount.wrong("this must be millionths, as a text of digits"))
}

fn approval(place: &Place<'_>) -> Result<ApprovalRule, PolicyError> {
    let mut fields = place.object()?;
    let names = fields.take("approvers");
    let mut approvers = Vec::new();
    for name in names.as_ref().map_or_else(|| Ok(Vec::new()), |names| names.items(APPROVERS_MAX))? {
        let text = name.text(APPROVER_BYTES_MAX)?;
        if text.is_empty() || approvers.contains(&text) {
            return Err(name.wrong("this approver is empty, or here twice"));
        }
        approvers.push(text);
    }
    let min = fields.take("min");
    let count = min.as_ref().map_or(Ok(1), |min| min.number(1, PEOPLE_MAX))?;
    let ttl_s = fields.take("ttl_s").map_or(Ok(TTL_SECONDS), |ttl| ttl.number(1, TTL_SECONDS_MAX))?;
    let when = conditions(fields.take("when"))?;
    fields.finish()?;
    Ok(ApprovalRule { rule: place.rule(), when, approvers, min: count, ttl_s })
}

fn hold_names(pattern: &Pattern, key: &str, names: &Place<'_>, fits: bool) -> Result<(), PolicyError> {
    for example in names.items(NAMES_MAX)? {
        let name = example.text(APPROVER_BYTES_MAX)?;
        if pattern.fits(&name) != fits {
            let does = if fits { "does not fit" } else { "fits" };
            return Err(example
                .wrong(format!("`{key}` {does} this name, and should{}", if fits { "" } else { " not" })));
        }
    }
    Ok(())
}
