//! `execgate approve`: shows one request whole, asks, signs, and hands in what was signed.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use execgate_model::{ApproverName, Clock as _};
use execgate_receipt::approval::Decision;
use serde_json::{Value, to_value};

use super::gateway::Place;
use super::personal::PersonalKey;
use super::shown::{Shown, Word};
use crate::ports::SystemClock;
use crate::{plain, terminal};

/// The digest that is signed is computed here, from what is shown; a gateway that says another is refused.
#[derive(Debug, Args)]
pub(crate) struct Approve {
    /// The approval
    id: String,
    /// The approver's name [default: as the key file says]
    #[arg(long, value_name = "NAME")]
    name: Option<ApproverName>,
    /// Say no
    #[arg(long)]
    deny: bool,
    /// Why; the caller and the log are told
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not ask, for scripts that have judged what `execgate approvals show` says
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    key: PersonalKey,
    #[command(flatten)]
    place: Place,
}

impl Approve {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let key = self.key.read()?;
        let approver = self.name.clone().or_else(|| key.name.clone());
        let approver = approver.context("the key file does not say whose it is; give --name")?;
        let answer = self.place.approval(&self.id)?;
        if answer["request"].is_null() {
            let status = plain::line(answer["status"].as_str().unwrap_or("over"));
            bail!("this does not wait for an approval any more: it is {status}");
        }
        let shown = Shown::read(&answer, &self.id)?;
        if !terminal::told(shown.text()) {
            bail!("not all of it could be shown, so that nothing was signed");
        }
        let (decision, question) = if self.deny {
            (Decision::Deny, "\nDENY this? Type yes: ")
        } else {
            (Decision::Approve, "\nAPPROVE this? Type yes: ")
        };
        if !self.yes {
            let said =
                terminal::ask(question).context("there is no terminal to ask; --yes is for scripts")?;
            if said.trim() != "yes" {
                bail!("nothing was signed");
            }
        }
        let signing = self.key.open(&key)?;
        let word = Word { decision, approver, reason: self.reason.clone(), now: SystemClock::new().now() };
        let envelope = shown.statement(word)?.sign(&signing).context("the statement cannot be signed")?;
        let artifact = to_value(&envelope).context("the envelope cannot be written")?;
        let taken: Value = self.place.hand_in(shown.id, &artifact)?;
        terminal::note(format_args!(
            "the gateway has taken the word of {}: {}, {}",
            plain::line(taken["approver"].as_str().unwrap_or("-")),
            plain::line(taken["decision"].as_str().unwrap_or("-")),
            plain::line(taken["status"].as_str().unwrap_or("-"))
        ));
        Ok(ExitCode::SUCCESS)
    }
}
