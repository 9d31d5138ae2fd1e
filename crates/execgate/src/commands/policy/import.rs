//! `execgate policy import`: a policy of `PolicyLayer`'s Intercept (YAML, version 1) as one of ours.
//!
//! What cannot be said in the same sense is an error that names it: half a policy would be a hole.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::policy::{parse, read};
use crate::terminal;

/// Prints the policy on standard output. Exit codes: 0 taken over, 2 not.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The YAML file
    file: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Foreign {
    version: String,
    description: Option<String>,
    default: Option<String>,
    #[serde(default)]
    hide: Vec<String>,
    #[serde(default)]
    tools: BTreeMap<String, ForeignTool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ForeignTool {
    #[serde(default)]
    rules: Vec<ForeignRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ForeignRule {
    name: String,
    action: Option<String>,
    #[serde(default)]
    conditions: Vec<ForeignCondition>,
    on_deny: Option<String>,
    rate_limit: Option<String>,
    state: Option<ForeignState>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ForeignCondition {
    path: String,
    op: String,
    value: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ForeignState {
    counter: String,
    window: String,
    increment: Option<u64>,
    increment_from: Option<String>,
}

impl Import {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let path = self.file.display();
        let bytes = read(&self.file)?;
        let text = str::from_utf8(&bytes).with_context(|| format!("{path} is not UTF-8"))?;
        let foreign: Foreign =
            serde_saphyr::from_str(text).with_context(|| format!("{path} is no policy of Intercept"))?;
        let policy = translate(foreign).with_context(|| format!("{path} cannot be taken over"))?;
        parse(policy.to_string().as_bytes()).with_context(|| format!("{path} cannot be taken over"))?;
        terminal::json(&policy)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn translate(foreign: Foreign) -> anyhow::Result<Value> {
    if foreign.version != "1" {
        bail!("its version is `{}`, and only `1` is known", foreign.version);
    }
    let mut tools = Map::new();
    for (name, tool) in foreign.tools {
        let mut entry = Entry::default();
        for rule in tool.rules {
            let named = format!("the rule `{}` of `{name}`", rule.name);
            entry.add(&name, rule).with_context(|| format!("{named} cannot be said in the same sense"))?;
        }
        tools.insert(name, entry.into_json());
    }
    let default = foreign.default.unwrap_or_else(|| "allow".to_owned());
    let mut policy = json!({"version": "1", "default": default, "hide": foreign.hide, "tools": tools});
    if let Some(description) = foreign.description {
        policy["description"] = json!(description);
    }
    Ok(policy)
}

/// An entry of ours in the making.
#[derive(Debug, Default)]
struct Entry {
    denied: Option<Option<String>>,
    require: Vec<Value>,
    limits: Vec<Value>,
}

impl Entry {
    fn add(&mut self, tool: &str, rule: ForeignRule) -> anyhow::Result<()> {
        match rule.action.as_deref() {
            Some("deny")
                if rule.conditions.is_empty() && rule.rate_limit.is_none() && rule.state.is_none() =>
            {
                self.denied.get_or_insert(rule.on_deny);
                return Ok(());
            }
            Some("deny") => bail!("a rule that denies has nothing else"),
            None | Some("evaluate") => {}
            Some(other) => bail!("its action `{other}` is not known"),
        }
        if let Some(rate) = &rule.rate_limit {
            if rule.state.is_some() || !rule.conditions.is_empty() {
                bail!("a `rate_limit` excludes conditions and state");
            }
            let (max, window) = rate.split_once('/').context("its `rate_limit` is not N/window")?;
            let max: u64 = max.trim().parse().context("its `rate_limit` is not N/window")?;
            let window = window.trim();
            self.limit(json!({"counter": format!("rate_{window}"), "window": window, "max": max}));
        }
        let mut state = rule.state;
        for condition in rule.conditions {
            if condition.path.starts_with("state.") {
                let state = state.take().context("it looks at a counter that it does not count")?;
                self.limit(counted(tool, &condition, state)?);
                continue;
            }
            let mut ours = json!({"path": condition.path, "op": condition.op});
            if let Some(value) = condition.value {
                ours["value"] = value;
            }
            if let Some(told) = &rule.on_deny {
                ours["on_deny"] = json!(told);
            }
            self.require.push(ours);
        }
        if state.is_some() {
            bail!("it counts, and no condition looks at the count");
        }
        Ok(())
    }

    /// Counters there are of the whole process, so they are `global` here.
    fn limit(&mut self, mut limit: Value) {
        limit["scope"] = json!("global");
        self.limits.push(limit);
    }

    fn into_json(self) -> Value {
        let mut entry = json!({});
        if let Some(reason) = self.denied {
            entry["action"] = json!("deny");
            if let Some(reason) = reason {
                entry["reason"] = json!(reason);
            }
        }
        if !self.require.is_empty() {
            entry["require"] = json!(self.require);
        }
        if !self.limits.is_empty() {
            entry["limits"] = json!(self.limits);
        }
        entry
    }
}

/// A counter and the condition that bounds it: one limit.
fn counted(tool: &str, condition: &ForeignCondition, state: ForeignState) -> anyhow::Result<Value> {
    let owner = if tool == "*" { "_global" } else { tool };
    if condition.path != format!("state.{owner}.{}", state.counter) {
        bail!("`{}` is not the counter that it counts", condition.path);
    }
    let bound = condition.value.as_ref().and_then(Value::as_u64).context("its bound is no whole number")?;
    let max = match condition.op.as_str() {
        "lte" => bound,
        "lt" => bound.checked_sub(1).context("its bound is below nothing")?,
        other => bail!("a count can be `lt` or `lte` a bound, not `{other}`"),
    };
    let mut limit = json!({"counter": state.counter, "window": state.window, "max": max});
    match (state.increment, state.increment_from) {
        (increment, None) => limit["increment"] = json!(increment.unwrap_or(1)),
        (None | Some(1), Some(from)) => limit["increment_from"] = json!(from),
        (Some(_), Some(_)) => bail!("`increment` and `increment_from` exclude each other"),
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::translate;
    use crate::policy::parse;

    fn import(yaml: &str) -> anyhow::Result<Value> {
        let policy = translate(serde_saphyr::from_str(yaml)?)?;
        parse(policy.to_string().as_bytes())?;
        Ok(policy)
    }

    #[test]
    fn rules_counters_and_refusals_keep_their_sense() {
        let policy = import(
            r#"
version: "1"
default: deny
hide: [drop_table]
tools:
  create_charge:
    rules:
      - name: cap
        conditions:
          - { path: args.amount, op: lte, value: 50000 }
        on_deny: at most 500.00
      - name: daily
        conditions:
          - { path: state.create_charge.spend, op: lt, value: 100001 }
        state: { counter: spend, window: day, increment_from: args.amount }
  delete_customer:
    rules:
      - { name: never, action: deny, on_deny: ask a person }
  "*":
    rules:
      - { name: pace, rate_limit: 60/minute }
"#,
        );
        let expected = json!({"version": "1", "default": "deny", "hide": ["drop_table"], "tools": {
            "*": {"limits": [{"counter": "rate_minute", "window": "minute", "max": 60, "scope": "global"}]},
            "create_charge": {
                "require": [{"path": "args.amount", "op": "lte", "value": 50_000, "on_deny": "at most 500.00"}],
                "limits": [{"counter": "spend", "window": "day", "max": 100_000, "increment_from": "args.amount",
                    "scope": "global"}]
            },
            "delete_customer": {"action": "deny", "reason": "ask a person"}
        }});
        assert_eq!(policy.unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_said_in_the_same_sense_is_refused() {
        let rule = |rule: &str| {
            let yaml = format!("version: \"1\"\ntools:\n  a:\n    rules:\n      - {rule}\n");
            import(&yaml).err().map(|error| format!("{error:#}")).unwrap_or_default()
        };
        let cases = [
            (
                "{name: x, conditions: [{path: state.b.c, op: lte, value: 1}]}",
                "a counter that it does not count",
            ),
            ("{name: x, state: {counter: c, window: day}}", "no condition looks at the count"),
            ("{name: x, action: deny, rate_limit: 1/day}", "has nothing else"),
            ("{name: x, action: log}", "`log` is not known"),
            ("{name: x, rate_limit: often}", "not N/window"),
            ("{name: x, rate_limit: 1/week}", "this must be one of: second"),
            ("{name: x, colour: red}", "colour"),
        ];
        for (text, wanted) in cases {
            assert!(rule(text).contains(wanted), "{text}: {}", rule(text));
        }
    }
}
