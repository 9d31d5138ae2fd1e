//! The file as a whole.

use core::str;

use execgate_model::{Amount, RiskClass};

use super::PolicyError;
use super::conditions::SENTENCE_BYTES_MAX;
use super::entry::{Action, Entry, Mode, all_tools, beside_tools, tool};
use super::examples::{Example, examples};
use super::place::{Origin, Place};
use crate::pattern::{BESIDE_TOOLS, Index, Pattern};

/// Bytes of a file. A thousand tools with rules of their own take up less than a half of it.
const FILE_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// Entries of `tools`, and of `hide`.
const ENTRIES_MAX: usize = 16_384;

/// Conditions, limits and schemas of one file: compiled patterns are the largest thing in memory.
const CONDITIONS_MAX: usize = 16_384;

/// What becomes of a tool that the file does not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Default {
    Allow,
    Deny,
}

/// A policy file, compiled. Nothing in it can be wrong any more.
#[derive(Debug, Clone)]
pub struct Policy {
    pub(crate) origin: Origin,
    pub(crate) mode: Mode,
    pub(crate) default: Default,
    pub(crate) hidden: Index,
    pub(crate) hide: Vec<String>,
    pub(crate) all_tools: Option<Entry>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) index: Index,
    examples: Vec<Example>,
    /// The server whose tools the file names by their own names.
    pub(crate) server: Option<String>,
}

impl Policy {
    /// The same for the tools of one server: `tools` and `hide` name them as the server does, and the actions that are
    /// decided on are `server.tool`.
    #[must_use]
    pub fn for_server(self, server: &str) -> Self {
        Self { server: Some(server.to_owned()), ..self }
    }

    /// What the file calls an action.
    pub(crate) fn own_name<'a>(&self, action: &'a str) -> &'a str {
        let rest = self.server.as_deref().and_then(|server| action.strip_prefix(server)?.strip_prefix('.'));
        rest.unwrap_or(action)
    }

    /// Reads and compiles a file, and holds it against its own examples.
    ///
    /// # Errors
    /// [`PolicyError`] says what is wrong, and where: line, column and JSON pointer.
    pub fn read(bytes: &[u8]) -> Result<Self, PolicyError> {
        Self::read_of(bytes, Origin::Gateway)
    }

    /// The same for the rules of a grant: they are named `grant:/tools/…`, and their counters are the grant's own.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_for_grant(bytes: &[u8]) -> Result<Self, PolicyError> {
        Self::read_of(bytes, Origin::Grant)
    }

    fn read_of(bytes: &[u8], origin: Origin) -> Result<Self, PolicyError> {
        let wrong = |what: String, line| PolicyError { what, line, column: 1, pointer: String::new() };
        if bytes.len() > FILE_BYTES_MAX {
            return Err(wrong(format!("the file is longer than {FILE_BYTES_MAX} bytes"), 1));
        }
        let text = str::from_utf8(bytes).map_err(|error| {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            wrong("the file is not UTF-8".to_owned(), good.iter().filter(|b| **b == b'\n').count() + 1)
        })?;
        let policy = Self::of_place(&Place::whole(text, origin)?, origin)?;
        policy.examples.iter().try_for_each(|example| example.hold(&policy))?;
        Ok(policy)
    }

    fn of_place(place: &Place<'_>, origin: Origin) -> Result<Self, PolicyError> {
        let mut fields = place.object()?;
        fields.need("version")?.word(&[("1", ())])?;
        fields.take("description").map(|text| text.text(8 * SENTENCE_BYTES_MAX)).transpose()?;
        let words = [("allow", Default::Allow), ("deny", Default::Deny)];
        let default = fields.need("default")?.word(&words)?;
        let mode = fields.take("mode").map_or(Ok(Mode::Enforce), |mode| mode.word(&Mode::WORDS))?;
        let (hidden, hide) = hide(fields.take("hide"))?;
        let all_tools = fields.take("all_tools").map(|place| all_tools(&place, mode)).transpose()?;
        let (mut entries, mut index) = tools(fields.take("tools"), mode)?;
        for (section, name) in BESIDE_TOOLS {
            if let Some(place) = fields.take(section) {
                let entry = beside_tools(name, &place, mode)?;
                index.add(&entry.pattern, entries.len());
                entries.push(entry);
            }
        }
        let examples = examples(fields.take("examples"))?;
        fields.finish()?;
        let conditions: usize = entries.iter().chain(&all_tools).map(Entry::conditions).sum();
        if conditions > CONDITIONS_MAX {
            return Err(
                place.wrong(format!("there are more than {CONDITIONS_MAX} conditions, limits and schemas"))
            );
        }
        let server = None;
        Ok(Self { origin, mode, default, hidden, hide, all_tools, entries, index, examples, server })
    }

    /// The examples of the file, all of which hold.
    #[must_use]
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// The names and patterns of `tools`, in the order of the file, with their risk where it is given.
    pub fn tools(&self) -> impl Iterator<Item = (&str, Option<RiskClass>)> {
        self.entries.iter().map(|entry| (entry.name.as_str(), entry.risk))
    }

    /// What a call of a tool costs by these rules, where they say; the narrowest entry that does is taken.
    #[must_use]
    pub fn price(&self, tool: &str) -> Option<Amount> {
        let tool = self.own_name(tool);
        let entries = self.index.find(tool).filter_map(|number| self.entries.get(number));
        entries.filter(|entry| entry.mode == Mode::Enforce).find_map(|entry| entry.price)
    }

    /// The actions that have to run in a sandbox of a certain profile, each with it and the name of the rule.
    pub fn profiles(&self) -> impl Iterator<Item = (&str, &str, String)> {
        self.entries.iter().filter_map(|entry| {
            let profile = entry.profile.as_deref()?;
            Some((entry.name.as_str(), profile, format!("{}/profile", entry.rule)))
        })
    }

    /// The approvers that the rules name, each with the name of the rule.
    pub fn approvers(&self) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.entries.iter().chain(&self.all_tools);
        let rules = entries.filter_map(|entry| entry.approval.as_ref());
        rules.flat_map(|asks| asks.approvers.iter().map(|name| (asks.rule.as_str(), name.as_str())))
    }

    /// Whether some entry asks for an approval, or sets a price.
    #[must_use]
    pub fn asks_or_prices(&self) -> bool {
        let mut entries = self.entries.iter().chain(&self.all_tools);
        entries.any(|entry| {
            entry.approval.is_some() || entry.price.is_some() || entry.action == Some(Action::RequireApproval)
        })
    }

    /// Whether a tool that the file does not list may be called.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.default == Default::Allow || self.mode == Mode::Shadow
    }

    /// Whether nothing that this policy refuses is refused.
    #[must_use]
    pub fn is_shadow(&self) -> bool {
        self.mode == Mode::Shadow
    }

    /// Whether a tool is not to be shown.
    #[must_use]
    pub fn hides(&self, tool: &str) -> bool {
        let tool = self.own_name(tool);
        let hidden = |entry: &Entry| entry.hide && entry.mode == Mode::Enforce;
        self.mode == Mode::Enforce && self.hidden.find(tool).next().is_some()
            || self.index.find(tool).any(|number| hidden(&self.entries[number]))
    }

    /// Whether every call of a tool is refused, whatever its arguments.
    #[must_use]
    pub fn bars(&self, tool: &str) -> bool {
        matches!(self.standing(tool).as_str(), "hidden" | "deny")
    }

    /// What becomes of calls of a tool, in a few words: what `diff` compares first.
    #[must_use]
    pub fn standing(&self, tool: &str) -> String {
        if self.hides(tool) {
            return "hidden".to_owned();
        }
        let tool = self.own_name(tool);
        let entries: Vec<_> =
            self.index.find(tool).map(|number| &self.entries[number]).chain(&self.all_tools).collect();
        let kept = |entry: &&&Entry| entry.mode == Mode::Enforce;
        let listed = self.default == Default::Allow || entries.iter().any(|entry| entry.lists(tool));
        let denied = |entry: &&Entry| entry.action == Some(Action::Deny);
        if entries.iter().filter(kept).any(denied) || !listed && self.mode == Mode::Enforce {
            return "deny".to_owned();
        }
        let mut words = vec!["allow"];
        if entries.iter().filter(kept).any(|e| !e.require.is_empty() || !e.deny_if.is_empty()) {
            words.push("on conditions");
        }
        if entries.iter().filter(kept).any(|entry| !entry.limits.is_empty()) {
            words.push("within limits");
        }
        if entries.iter().filter(kept).any(|entry| entry.approval.is_some()) {
            words.push("with approval");
        }
        words.join(", ")
    }
}

fn hide(list: Option<Place<'_>>) -> Result<(Index, Vec<String>), PolicyError> {
    let (mut index, mut rules) = (Index::default(), Vec::new());
    let Some(list) = list else { return Ok((index, rules)) };
    for (number, place) in list.items(ENTRIES_MAX)?.into_iter().enumerate() {
        let pattern = Pattern::read(&place.text(SENTENCE_BYTES_MAX)?).map_err(|what| place.wrong(what))?;
        index.add(&pattern, number);
        rules.push(place.rule());
    }
    Ok((index, rules))
}

fn tools(map: Option<Place<'_>>, mode: Mode) -> Result<(Vec<Entry>, Index), PolicyError> {
    let (mut entries, mut index) = (Vec::new(), Index::default());
    let Some(map) = map else { return Ok((entries, index)) };
    let fields = map.fields()?;
    if fields.len() > ENTRIES_MAX {
        return Err(map.wrong(format!("at most {ENTRIES_MAX} tools can be here")));
    }
    for (number, (key, place)) in fields.iter().enumerate() {
        let entry = tool(key, place, mode)?;
        index.add(&entry.pattern, number);
        entries.push(entry);
    }
    Ok((entries, index))
}
