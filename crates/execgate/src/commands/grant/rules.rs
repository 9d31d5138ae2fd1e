//! The rules of a grant's own: read from a file or from short limits, checked, and kept as they were given.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use execgate_flow::authorise::OwnRules;
use execgate_model::GrantId;
use execgate_store::GRANT_POLICY_BYTES_MAX;
use serde_json::{Value, json};

use super::command::Place;
use crate::office::{Signs, with_desk};
use crate::terminal;

/// What `create` is told of a grant's own rules.
#[derive(Debug, Args)]
pub(crate) struct OwnArgs {
    /// Rules of its own, a policy file: a call has to pass the gateway's rules and these
    #[arg(long, value_name = "FILE", conflicts_with = "limits")]
    policy: Option<PathBuf>,
    /// A limit of its own, several times, such as rate:minute:10 or calls:day:1000:tool
    #[arg(long = "limit", value_name = "COUNTER:WINDOW:MAX[:SCOPE]")]
    limits: Vec<String>,
}

impl OwnArgs {
    /// The text of the rules, checked; none where there are none.
    pub(super) fn text(&self) -> anyhow::Result<Option<String>> {
        if let Some(file) = &self.policy {
            return read(file).map(Some);
        }
        if self.limits.is_empty() {
            return Ok(None);
        }
        let limits = self.limits.iter().map(|text| limit(text)).collect::<anyhow::Result<Vec<_>>>()?;
        let policy = json!({"version": "1", "default": "allow", "all_tools": {"limits": limits}});
        let text = policy.to_string();
        OwnRules::read(&text).context("--limit is wrong")?;
        Ok(Some(text))
    }
}

#[derive(Debug, Args)]
pub(crate) struct SetPolicy {
    /// The grant's id
    id: GrantId,
    /// The policy file that takes the place of what it had
    #[arg(required_unless_present = "none")]
    file: Option<PathBuf>,
    /// Take its rules away: only the gateway's hold then
    #[arg(long, conflicts_with = "file")]
    none: bool,
    #[command(flatten)]
    place: Place,
}

impl SetPolicy {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let text = self.file.as_deref().map(read).transpose()?;
        with_desk(&self.place.data, &self.place.common, Signs::Nothing, async |desk| {
            let path = format!("/grants/{}/policy", self.id);
            let grant = desk.post(&path, &json!({"policy": text, "none": self.none})).await?.json()?;
            if self.place.json {
                terminal::json(&grant)?;
            } else {
                let has =
                    if text.is_some() { "has these rules of its own" } else { "has no rules of its own" };
                terminal::note(format_args!(
                    "grant {} {has}: every gateway of this record sees it within 0.1 s",
                    self.id
                ));
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// The text of a file that holds rules for a grant.
fn read(path: &Path) -> anyhow::Result<String> {
    let doing = || format!("failed to read the policy {}", path.display());
    let mut text = String::new();
    let file = File::open(path).with_context(doing)?;
    if !file.metadata().with_context(doing)?.is_file() {
        bail!("the policy {} is no file", path.display());
    }
    // One byte more than may be, so that a longer file is refused and not cut.
    let bound = u64::try_from(GRANT_POLICY_BYTES_MAX)?.saturating_add(1);
    file.take(bound).read_to_string(&mut text).with_context(doing)?;
    OwnRules::read(&text).with_context(|| format!("the policy {} is wrong", path.display()))?;
    Ok(text)
}

/// `counter:window:max`, and a scope or not. What the words mean is checked as in a file.
fn limit(text: &str) -> anyhow::Result<Value> {
    let parts: Vec<&str> = text.split(':').collect();
    let wrong = || format!("`{text}` is no limit; write COUNTER:WINDOW:MAX or COUNTER:WINDOW:MAX:SCOPE");
    let (counter, window, max, scope) = match parts.as_slice() {
        [counter, window, max] => (counter, window, max, None),
        [counter, window, max, scope] => (counter, window, max, Some(scope)),
        _ => bail!(wrong()),
    };
    let max: u64 = max.parse().with_context(wrong)?;
    let window = window.parse::<u64>().map_or_else(|_| json!(window), |seconds| json!(seconds));
    let mut limit = json!({"counter": counter, "window": window, "max": max});
    if let Some(scope) = scope {
        limit["scope"] = json!(scope);
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use execgate_flow::authorise::OwnRules;

    use super::OwnArgs;

    fn text(limits: &[&str]) -> anyhow::Result<Option<String>> {
        let limits = limits.iter().map(|limit| (*limit).to_owned()).collect();
        OwnArgs { policy: None, limits }.text()
    }

    #[test]
    fn short_limits_make_a_policy() {
        assert_eq!(text(&[]).unwrap(), None);
        let made = text(&["rate:minute:10", "calls:86400:1000:tool"]).unwrap().unwrap();
        assert_eq!(
            made,
            "{\"all_tools\":{\"limits\":[{\"counter\":\"rate\",\"max\":10,\"window\":\"minute\"},\
             {\"counter\":\"calls\",\"max\":1000,\"scope\":\"tool\",\"window\":86400}]},\
             \"default\":\"allow\",\"version\":\"1\"}"
        );
        assert!(OwnRules::read(&made).is_ok());
    }

    #[test]
    fn a_limit_that_is_none_is_refused() {
        for wrong in [
            "rate",
            "rate:minute",
            "rate:minute:ten",
            "rate:week:1",
            "rate:minute:1:planet",
            "_r:1:1",
            "a:1:1:grant:x",
        ] {
            assert!(text(&[wrong]).is_err(), "{wrong}");
        }
        assert!(text(&["a:minute:1", "a:60:2"]).is_err(), "one counter twice");
    }
}
