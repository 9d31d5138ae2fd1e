//! `execgate policy explain`: what a file decides on one call, and how.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use execgate_flow::authorise::OwnRules;
use execgate_model::{ActionName, Amount, Caller, Effect, GrantId, Identity, Labels, TenantId};
use execgate_policy::{Decision, Explanation, Own, PolicySet, Request, Spent, explain};
use execgate_receipt::parse_strict;
use serde_json::{Value, json};

use super::check::tell_wrong;
use super::command::judge;
use crate::policy::read;
use crate::terminal;

/// The exit code of a call that a person has to approve.
const APPROVAL: u8 = 3;

/// Exit codes: 0 allowed, 1 denied (or the file is wrong), 2 it could not be asked, 3 an approval is needed.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The policy file
    file: PathBuf,
    /// The tool that is called
    #[arg(long, value_name = "NAME")]
    tool: String,
    /// The arguments of the call, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    args: String,
    /// A label of the caller, NAME=VALUE; may be given again
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// The grant of the caller [default: a caller on this machine]
    #[arg(long, value_name = "ID")]
    grant: Option<String>,
    /// The rules of the caller's own grant, which have to let the call pass too
    #[arg(long, value_name = "FILE")]
    grant_policy: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The rules of a grant, from a file.
fn own_rules(path: &Path) -> anyhow::Result<OwnRules> {
    let text = String::from_utf8(read(path)?).context("the policy of the grant is not UTF-8")?;
    OwnRules::read(&text).with_context(|| format!("the policy {} is wrong", path.display()))
}

impl Explain {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let loaded = match judge(&self.file)? {
            Ok(loaded) => loaded,
            Err(error) => return tell_wrong(&error, self.json),
        };
        let action = ActionName::new(self.tool.as_str())?;
        let arguments = parse_strict(self.args.as_bytes()).context("--args is no JSON")?;
        if !arguments.is_object() {
            bail!("--args is no JSON object");
        }
        let caller = self.caller()?;
        let labels = self.labels()?;
        let effect = Effect::Live;
        let own = self.grant_policy.as_deref().map(own_rules).transpose()?;
        let own = match &own {
            Some(own) => Some(Own { policy: own.policy(), digest: own.beside(loaded.digest)? }),
            None => None,
        };
        let (price, arguments) = (Amount::ZERO, &arguments);
        let request =
            Request { caller: &caller, action: &action, effect, arguments, labels: &labels, price, own };
        let rules = PolicySet::new(None, loaded.digest).with_policy(loaded.policy);
        let explanation = explain(&request, &rules, &Spent::default());
        self.tell(&explanation)?;
        Ok(match explanation.decision {
            Decision::Allow(_) => ExitCode::SUCCESS,
            Decision::RequireApproval(_) => ExitCode::from(APPROVAL),
            Decision::Deny(_) => ExitCode::from(1),
        })
    }

    fn caller(&self) -> anyhow::Result<Caller> {
        let identity = match &self.grant {
            Some(grant) => {
                Identity::Grant { id: GrantId::new(grant.as_str())?, internal: false, labels: Arc::default() }
            }
            None => Identity::Local,
        };
        Ok(Caller { tenant: TenantId::new("default")?, identity })
    }

    fn labels(&self) -> anyhow::Result<Labels> {
        let pair = |label: &String| {
            let (name, value) =
                label.split_once('=').with_context(|| format!("--label {label} is not NAME=VALUE"))?;
            Ok((name.to_owned(), value.to_owned()))
        };
        self.label.iter().map(pair).collect()
    }

    fn tell(&self, explanation: &Explanation) -> anyhow::Result<()> {
        let decision = &explanation.decision;
        if self.json {
            let mut told =
                json!({"decision": decision.word(), "rule": decision.rule(), "steps": explanation.steps});
            match decision {
                Decision::Deny(denial) => told["reason"] = json!(denial.reason),
                Decision::Allow(allow) => {
                    let limit = |limit: &execgate_policy::Reservation| -> Value {
                        json!({"rule": limit.rule, "counts": limit.amount, "max": limit.max,
                            "window_ms": limit.window.length_ms()})
                    };
                    told["limits"] = allow.limits().iter().map(limit).collect();
                }
                Decision::RequireApproval(demand) => {
                    let terms = |terms: &execgate_policy::ApprovalTerms| -> Value {
                        json!({"rule": terms.rule, "approvers": terms.approvers, "min": terms.min,
                            "ttl_s": terms.ttl_s})
                    };
                    told["approvals"] = demand.terms.iter().map(terms).collect();
                }
            }
            return terminal::json(&told);
        }
        for step in &explanation.steps {
            terminal::line(format_args!("{:<44} {}", step.rule, step.finding));
        }
        terminal::line(format_args!("{} by {}", decision.word(), decision.rule()));
        if let Decision::Deny(denial) = decision {
            terminal::line(format_args!("the caller is told: {}", denial.reason));
        }
        Ok(())
    }
}
