//! `execgate policy diff`: what changes for which tool.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value, json};

use super::command::judge;
use crate::policy::Loaded;
use crate::terminal;

/// Exit codes: 0 nothing changes, 1 something does, 2 the files could not be compared.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The policy that is in force
    old: PathBuf,
    /// The policy that is to be
    new: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One thing that changes.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    /// Of what: a tool, a pattern, or a field of the file.
    of: String,
    /// What becomes of its calls before and after; none where it is no tool.
    standing: Option<(String, String)>,
    /// The fields that differ, each with a sign: added, removed or altered.
    fields: Vec<String>,
}

impl Diff {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let load = |path: &PathBuf| judge(path)?.with_context(|| format!("{} is no policy", path.display()));
        let changes = changes(&load(&self.old)?, &load(&self.new)?);
        if self.json {
            let told: Vec<_> = changes
                .iter()
                .map(|change| {
                    let standing = change.standing.as_ref();
                    json!({"of": change.of, "before": standing.map(|s| &s.0), "after": standing.map(|s| &s.1),
                        "fields": change.fields})
                })
                .collect();
            terminal::json(&told)?;
        } else {
            for change in &changes {
                let standing = match &change.standing {
                    Some((before, after)) if before != after => format!("{before} -> {after}"),
                    Some((before, _)) => before.clone(),
                    None => "-".to_owned(),
                };
                terminal::line(format_args!("{:<24} {standing:<40} {}", change.of, change.fields.join(" ")));
            }
        }
        Ok(ExitCode::from(u8::from(!changes.is_empty())))
    }
}

fn changes(old: &Loaded, new: &Loaded) -> Vec<Change> {
    let mut changes = Vec::new();
    let (before, after) = (top(&old.json), top(&new.json));
    for field in differing(&before, &after) {
        let of = field.trim_start_matches(['+', '-', '~']).to_owned();
        if of != "tools" && of != "examples" {
            changes.push(Change { of, standing: None, fields: vec![field] });
        }
    }
    let (before, after) = (tools(&old.json), tools(&new.json));
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for name in names {
        let fields = match (before.get(name), after.get(name)) {
            (Some(before), Some(after)) => differing(&top(before), &top(after)),
            (None, Some(_)) => vec!["+entry".to_owned()],
            (Some(_), None) => vec!["-entry".to_owned()],
            (None, None) => Vec::new(),
        };
        // What becomes of a tool can change by a rule that is not its own.
        let standing = (old.policy.standing(name), new.policy.standing(name));
        if !fields.is_empty() || standing.0 != standing.1 {
            changes.push(Change { of: name.clone(), standing: Some(standing), fields });
        }
    }
    changes
}

fn top(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn tools(file: &Value) -> Map<String, Value> {
    file.get("tools").map(top).unwrap_or_default()
}

fn differing(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<String> {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let sign = |name: &String| match (before.get(name), after.get(name)) {
        (None, _) => Some('+'),
        (_, None) => Some('-'),
        (before, after) => (before != after).then_some('~'),
    };
    names.into_iter().filter_map(|name| sign(name).map(|sign| format!("{sign}{name}"))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Change, changes};
    use crate::policy::{Loaded, parse};

    fn load(tools: &Value, default: &str) -> Loaded {
        let file = json!({"version": "1", "default": default, "tools": tools});
        parse(file.to_string().as_bytes()).unwrap()
    }

    fn change(of: &str, standing: Option<(&str, &str)>, fields: &[&str]) -> Change {
        let standing = standing.map(|(before, after)| (before.to_owned(), after.to_owned()));
        Change { of: of.to_owned(), standing, fields: fields.iter().map(|f| (*f).to_owned()).collect() }
    }

    #[test]
    fn each_tool_is_told_with_what_becomes_of_it() {
        let old = load(&json!({"a": {}, "b": {}, "c": {"reason": "x"}}), "deny");
        let new = load(&json!({"a": {}, "b": {"action": "deny"}, "c": {}, "d": {}}), "deny");
        let expected = [
            change("b", Some(("allow", "deny")), &["+action"]),
            change("c", Some(("allow", "allow")), &["-reason"]),
            change("d", Some(("deny", "allow")), &["+entry"]),
        ];
        assert_eq!(changes(&old, &new), expected);
        assert_eq!(changes(&old, &old), []);
    }

    #[test]
    fn a_rule_elsewhere_that_changes_a_tool_is_told_of_it_too() {
        let (old, new) = (load(&json!({"a*": {}}), "allow"), load(&json!({"a*": {}}), "deny"));
        let expected = [change("default", None, &["~default"]), change("a*", Some(("allow", "deny")), &[])];
        assert_eq!(changes(&old, &new), expected);
    }
}
