//! Calls that the file gives as examples, with what must be decided for each. The file is refused where one is
//! decided otherwise: a rule that no longer does what its author believed is found at the door.

use execgate_model::{ActionName, Amount, Caller, Digest, Effect, Identity, Labels, TenantId};
use serde_json::{Map, Value};

use super::PolicyError;
use super::place::Place;
use crate::weigh::{Ground, weigh};
use crate::{Policy, Request, Spent};

/// Examples of one file.
const EXAMPLES_MAX: usize = 1_024;

/// Bytes of the name of a rule, as receipts have it.
const RULE_BYTES_MAX: usize = 256;

/// Labels of one example, and the bytes of one.
const LABELS_MAX: usize = 32;
const LABEL_BYTES_MAX: usize = 128;

/// A call, and what must be decided for it.
#[derive(Debug, Clone)]
pub struct Example {
    /// Where it stands in the file.
    pub pointer: String,
    /// The tool.
    pub tool: ActionName,
    /// The arguments.
    pub arguments: Value,
    /// The caller's labels.
    pub labels: Labels,
    /// `allow`, `deny` or `require_approval`.
    pub decision: &'static str,
    /// The rule that must decide it, where the example says so.
    pub rule: Option<String>,
    line: usize,
    column: usize,
}

impl Example {
    /// What is decided instead; none where the example holds.
    #[must_use]
    pub fn broken(&self, policy: &Policy) -> Option<String> {
        let tenant = TenantId::new("default").ok()?;
        let caller = Caller { tenant, identity: Identity::Local };
        let request = Request {
            caller: &caller,
            action: &self.tool,
            effect: Effect::Live,
            arguments: &self.arguments,
            labels: &self.labels,
            price: Amount::ZERO,
            own: None,
        };
        let ground = Ground { listed: NO_RULE, digest: NO_DIGEST };
        let decision = weigh(&request, [policy], ground, &Spent::default(), &mut ());
        // The file is the same whoever's it is, and so are its examples.
        let (word, rule) = (decision.word(), decision.rule().replacen(policy.origin.prefix(), "", 1));
        let as_wanted = word == self.decision && self.rule.as_ref().is_none_or(|wanted| *wanted == rule);
        (!as_wanted).then(|| {
            let by = self.rule.as_ref().map(|rule| format!(" by {rule}")).unwrap_or_default();
            format!(
                "this call of `{}` should be `{}`{by}, and is `{word}` by {rule}",
                self.tool, self.decision
            )
        })
    }

    pub(super) fn hold(&self, policy: &Policy) -> Result<(), PolicyError> {
        let (line, column, pointer) = (self.line, self.column, self.pointer.clone());
        self.broken(policy).map_or(Ok(()), |what| Err(PolicyError { what, line, column, pointer }))
    }
}

/// No allow-list is asked for an example.
const NO_RULE: &str = "open";

/// The digest under which examples are decided: nothing is recorded of them.
const NO_DIGEST: Digest = Digest::from_bytes([0; 32]);

pub(super) fn examples(list: Option<Place<'_>>) -> Result<Vec<Example>, PolicyError> {
    let Some(list) = list else { return Ok(Vec::new()) };
    list.items(EXAMPLES_MAX)?.iter().map(example).collect()
}

fn example(place: &Place<'_>) -> Result<Example, PolicyError> {
    let mut fields = place.object()?;
    let name = fields.need("tool")?;
    let tool = ActionName::new(name.text(RULE_BYTES_MAX)?).map_err(|error| name.wrong(error.to_string()))?;
    let arguments = match fields.take("args") {
        None => Value::Object(Map::new()),
        Some(args) if args.is_object() => args.value()?,
        Some(args) => return Err(args.wrong("the arguments of a call are an object")),
    };
    let mut labels = Labels::new();
    if let Some(place) = fields.take("labels") {
        let given = place.fields()?;
        if given.len() > LABELS_MAX {
            return Err(place.wrong(format!("at most {LABELS_MAX} labels can be here")));
        }
        for (name, value) in given {
            labels.insert(name, value.text(LABEL_BYTES_MAX)?);
        }
    }
    let words = ["allow", "deny", "require_approval"].map(|word| (word, word));
    let decision = fields.need("decision")?.word(&words)?;
    let rule = fields.take("rule").map(|rule| rule.text(RULE_BYTES_MAX)).transpose()?;
    fields.finish()?;
    let here = place.wrong(String::new());
    let (pointer, line, column) = (here.pointer, here.line, here.column);
    Ok(Example { pointer, tool, arguments, labels, decision, rule, line, column })
}
