//! Limits of the file: how often, or how much, within a fixed window.

use execgate_model::{Caller, Identity};
use serde_json::Value;

use super::PolicyError;
use super::conditions::argument_path;
use super::place::{Origin, Place};
use crate::{Request, condition};

/// Limits of one entry.
const LIMITS_MAX: usize = 16;

/// Bytes of the name of a counter.
const COUNTER_BYTES_MAX: usize = 64;

/// The most that a counter counts to: what every JSON reader holds exactly.
const COUNT_MAX: u64 = 9_007_199_254_740_991;

/// The longest window, in seconds: 31 days.
const WINDOW_SECONDS_MAX: u64 = 31 * 86_400;

const SECOND_MS: u64 = 1_000;

/// A fixed window: it starts at a multiple of its length since 1970 (UTC), whoever calls when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    length_ms: u64,
}

impl Window {
    /// When the window that holds a time starts, in milliseconds since 1970.
    #[must_use]
    pub const fn start(self, at_ms: u64) -> u64 {
        at_ms - at_ms % self.length_ms
    }

    /// When it ends.
    #[must_use]
    pub const fn end(self, at_ms: u64) -> u64 {
        self.start(at_ms).saturating_add(self.length_ms)
    }

    /// Its length in milliseconds.
    #[must_use]
    pub const fn length_ms(self) -> u64 {
        self.length_ms
    }
}

/// Who shares a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitScope {
    /// Each caller that is known has one: a grant, a wallet, a subject, this machine. All others of a tenant share one.
    Grant,
    /// Each session has one, and anybody can begin another; a caller that has none, as by `Grant`.
    Session,
    /// Each tenant has one.
    Tenant,
    /// Each tool has one, whoever calls it.
    Tool,
    /// There is one.
    Global,
}

impl LimitScope {
    const WORDS: [(&str, Self); 5] = [
        ("grant", Self::Grant),
        ("session", Self::Session),
        ("tenant", Self::Tenant),
        ("tool", Self::Tool),
        ("global", Self::Global),
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Session => "session",
            Self::Tenant => "tenant",
            Self::Tool => "tool",
            Self::Global => "global",
        }
    }

    /// Whose counter it is for this call.
    fn holder(self, request: &Request<'_>) -> String {
        let caller = request.caller;
        match (self, &caller.identity) {
            (Self::Session, Identity::Session { id, .. }) => format!("{}\nsession\n{id}", caller.tenant),
            (Self::Grant | Self::Session, _) => known(caller),
            (Self::Tenant, _) => caller.tenant.to_string(),
            (Self::Tool, _) => request.action.to_string(),
            (Self::Global, _) => String::new(),
        }
    }
}

/// A caller that somebody knows. Anybody can begin a session with each call, so one alone is as good as no name: all
/// such callers of a tenant are one.
fn known(caller: &Caller) -> String {
    match caller.scope().filter(|_| caller.is_identified()) {
        Some(scope) => scope.as_str().to_owned(),
        None => format!("{}\nanonymous", caller.tenant),
    }
}

/// By how much a call counts.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Increment {
    By(u64),
    Argument(Vec<String>),
    /// What is asked for it, in millionths.
    Price,
}

/// A limit, compiled.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    pub(crate) rule: String,
    pub(crate) counter: String,
    pub(crate) scope: LimitScope,
    pub(crate) window: Window,
    pub(crate) max: u64,
    increment: Increment,
}

impl Limit {
    /// What names the counter for this call, among those of the entry `name`. The counters of a grant's own file are
    /// its own, whatever their scope; no entry's name begins like theirs.
    pub(crate) fn key(&self, origin: Origin, name: &str, request: &Request<'_>) -> String {
        let (scope, window) = (self.scope.as_str(), self.window.length_ms);
        let holder = self.scope.holder(request);
        let key = format!("{name}\n{}\n{scope}\n{window}\n{holder}", self.counter);
        match origin {
            Origin::Gateway => key,
            Origin::Grant => format!("/grant\n{}\n{key}", known(request.caller)),
        }
    }

    /// By how much this call counts; none where its argument is no whole number from 0 on.
    pub(crate) fn amount(&self, request: &Request<'_>) -> Option<u64> {
        match &self.increment {
            Increment::By(amount) => Some(*amount),
            Increment::Price => Some(request.price.micros()).filter(|amount| *amount <= COUNT_MAX),
            Increment::Argument(path) => {
                let amount = condition::at(request.arguments, path).and_then(Value::as_u64);
                amount.filter(|amount| *amount <= COUNT_MAX)
            }
        }
    }
}

/// Reads the limits of an entry; the short form `rate_limit` is one of them.
pub(super) fn limits(list: Option<Place<'_>>, short: Option<Place<'_>>) -> Result<Vec<Limit>, PolicyError> {
    let mut limits: Vec<Limit> = Vec::new();
    let places = list.map_or_else(|| Ok(Vec::new()), |list| list.items(LIMITS_MAX))?;
    for place in &places {
        let limit = limit(place)?;
        let same = |other: &Limit| {
            other.counter == limit.counter && other.scope == limit.scope && other.window == limit.window
        };
        if limits.iter().any(same) {
            return Err(place.wrong("this counter is here twice, with the same scope and window"));
        }
        limits.push(limit);
    }
    limits.extend(short.as_ref().map(rate_limit).transpose()?);
    Ok(limits)
}

fn limit(place: &Place<'_>) -> Result<Limit, PolicyError> {
    let mut fields = place.object()?;
    let counter_place = fields.need("counter")?;
    let counter = counter_place.text(COUNTER_BYTES_MAX)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if counter.is_empty() || counter.starts_with('_') || !counter.chars().all(plain) {
        let what = "a counter's name is letters, digits and `_ - .`, and does not start with `_`";
        return Err(counter_place.wrong(what));
    }
    let window = window(&fields.need("window")?)?;
    let max = fields.need("max")?.number(0, COUNT_MAX)?;
    let scope = fields.take("scope").map_or(Ok(LimitScope::Grant), |scope| scope.word(&LimitScope::WORDS))?;
    let fixed = fields.take("increment");
    let increment = match (fixed, fields.take("increment_from")) {
        (None, None) => Increment::By(1),
        (Some(fixed), None) => Increment::By(fixed.number(1, COUNT_MAX)?),
        (None, Some(from)) if from.value()? == "price" => Increment::Price,
        (None, Some(from)) => Increment::Argument(argument_path(&from)?),
        (Some(_), Some(from)) => {
            return Err(from.wrong_key("`increment` and `increment_from` exclude each other"));
        }
    };
    fields.finish()?;
    Ok(Limit { rule: place.rule(), counter, scope, window, max, increment })
}

/// `{max, window}`: so many calls of each grant.
fn rate_limit(place: &Place<'_>) -> Result<Limit, PolicyError> {
    let mut fields = place.object()?;
    let max = fields.need("max")?.number(0, COUNT_MAX)?;
    let window = window(&fields.need("window")?)?;
    fields.finish()?;
    let rule = place.rule();
    // The name of a counter in a list never starts with `_`.
    let counter = "_rate".to_owned();
    Ok(Limit { rule, counter, scope: LimitScope::Grant, window, max, increment: Increment::By(1) })
}

fn window(place: &Place<'_>) -> Result<Window, PolicyError> {
    const NAMES: [(&str, u64); 4] = [("second", 1), ("minute", 60), ("hour", 3_600), ("day", 86_400)];
    let seconds = if place.is_text() { place.word(&NAMES)? } else { place.number(1, WINDOW_SECONDS_MAX)? };
    Ok(Window { length_ms: seconds * SECOND_MS })
}
