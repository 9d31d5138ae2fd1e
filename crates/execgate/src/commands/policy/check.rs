//! `execgate policy check`: whether a file can be put in force, and what it says of each tool.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use execgate_model::RiskClass;
use execgate_policy::PolicyError;
use serde_json::{Value, json};

use super::command::judge;
use crate::config::approver_names;
use crate::policy::{Loaded, unknown_approvers};
use crate::terminal;

/// Exit codes: 0 the policy is good, 1 it is not (with --strict, or something in it is worth a second look), 2 it could not be
/// read.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The policy file
    file: PathBuf,
    /// Warnings are errors
    #[arg(long)]
    strict: bool,
    /// The gateway's configuration: whom rules name as approvers is held against it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        match judge(&self.file)? {
            Ok(loaded) => self.tell_good(&loaded),
            Err(error) => tell_wrong(&error, self.json),
        }
    }

    fn tell_good(&self, loaded: &Loaded) -> anyhow::Result<ExitCode> {
        let policy = &loaded.policy;
        let mut warnings: Vec<(String, String)> =
            policy.warnings().into_iter().map(|warning| (warning.rule, warning.what.to_owned())).collect();
        if let Some(config) = &self.config {
            let unknown = unknown_approvers(policy, &approver_names(config)?);
            let told = |name| format!("no [[approver]] of the configuration is called `{name}`");
            warnings.extend(unknown.into_iter().map(|(rule, name)| (rule, told(name))));
        }
        let ended = ExitCode::from(u8::from(self.strict && !warnings.is_empty()));
        if self.json {
            let tool = |(name, risk): (&str, Option<RiskClass>)| {
                json!({"tool": name, "risk": risk.map(|risk| risk.as_str()),
                    "severity": risk.map(|risk| risk.severity().as_str()), "standing": policy.standing(name)})
            };
            let tools: Vec<_> = policy.tools().map(tool).collect();
            let told: Vec<_> =
                warnings.iter().map(|(rule, what)| json!({"rule": rule, "what": what})).collect();
            terminal::json(&json!({"valid": true, "digest": loaded.digest, "shadow": policy.is_shadow(),
                "tools": tools, "examples": policy.examples().len(), "warnings": told}))?;
            return Ok(ended);
        }
        for (name, risk) in policy.tools() {
            let risk = risk
                .map_or_else(|| "-".to_owned(), |r| format!("{} ({})", r.as_str(), r.severity().as_str()));
            terminal::line(format_args!("{name:<24} {risk:<24} {}", policy.standing(name)));
        }
        let others = loaded.json.get("default").and_then(Value::as_str).unwrap_or_default();
        terminal::line(format_args!("{:<24} {:<24} {others}", "(every other tool)", "-"));
        if policy.is_shadow() {
            terminal::line("mode shadow: nothing that these rules refuse is refused");
        }
        let examples = policy.examples().len();
        terminal::line(format_args!(
            "the policy is good; {examples} examples hold; digest {}",
            loaded.digest
        ));
        for (rule, what) in &warnings {
            terminal::line(format_args!("warning: {rule}: {what}"));
        }
        Ok(ended)
    }
}

/// Says why a file is no policy.
pub(super) fn tell_wrong(error: &anyhow::Error, as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        let mut told = json!({"valid": false, "reason": format!("{error:#}")});
        if let Some(place) = error.downcast_ref::<PolicyError>() {
            told["line"] = json!(place.line);
            told["column"] = json!(place.column);
            told["pointer"] = json!(place.pointer);
        }
        terminal::json(&told)?;
    } else {
        terminal::line(format_args!("the policy is NOT good: {error:#}"));
    }
    Ok(ExitCode::from(1))
}
