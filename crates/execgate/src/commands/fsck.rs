//! `execgate fsck`: whether the record holds together. The check itself is `execgate_flow::examine`; here it is shown.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use execgate_store::OpenError;
use serde_json::{Value, json};

use super::cli::{Common, DataDir};
use crate::office::{Signs, with_desk};
use crate::terminal;

/// Findings that `--json` lists; the number tells of the others.
const LISTED_MAX: usize = 10_000;

/// The exit code where the record is older or newer than what this release reads.
const ANOTHER_RELEASE: u8 = 3;

/// Checks the whole record of a gateway that runs, or of a data directory that nobody serves: that every run that
/// has ended has a receipt that verifies and says what the record says, that every leaf is the digest of what stands
/// behind it and none is missing, and that limits and money balance. Changes nothing, and brings nothing up to date.
///
/// Exit codes: 0 the record is sound, 1 it is not, 2 it could not be checked, 3 another release has to read it first.
#[derive(Debug, Args)]
pub(crate) struct Fsck {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    common: Common,
}

/// What came in.
#[derive(Default)]
struct Heard {
    findings: Vec<Value>,
    end: Option<Value>,
}

impl Fsck {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let checked = with_desk(&self.data, &self.common, Signs::NothingAndWritesNothing, async |desk| {
            let mut heard = Heard::default();
            let told = desk.lines("/fsck", |line| self.hear(line, &mut heard)).await;
            terminal::progress_end();
            told?;
            let end = heard.end.context("the check broke off")?;
            let Some(is_sound) = end["sound"].as_bool() else { bail!("the check ended in other words") };
            if self.json {
                let mut told = end;
                told["list"] = json!(heard.findings);
                terminal::json(&told)?;
            } else {
                tell(&end);
            }
            Ok(ExitCode::from(u8::from(!is_sound)))
        });
        match checked {
            Err(error) if is_of_another_release(&error) => {
                terminal::note(format_args!("error: {error:#}"));
                Ok(ExitCode::from(ANOTHER_RELEASE))
            }
            checked => checked,
        }
    }

    fn hear(&self, line: Value, heard: &mut Heard) -> anyhow::Result<()> {
        if let Some(progress) = line["progress"].as_object() {
            let number = |name: &str| progress.get(name).and_then(Value::as_u64).unwrap_or_default();
            let step = progress.get("step").and_then(Value::as_str).unwrap_or_default();
            terminal::progress(&format!("checking {step}: {} of {}", number("done"), number("of")));
        } else if line["finding"].is_object() {
            if self.json {
                if heard.findings.len() < LISTED_MAX {
                    heard.findings.push(line["finding"].clone());
                }
            } else {
                terminal::progress_end();
                terminal::line(line["finding"]["text"].as_str().unwrap_or("a finding without words"));
            }
        } else if line["end"].is_object() {
            heard.end = Some(line["end"].clone());
        } else if line["progress"] != Value::Null {
            bail!("the check told something that is not known here");
        }
        Ok(())
    }
}

/// Whether the record is of another release's making.
fn is_of_another_release(error: &anyhow::Error) -> bool {
    let causes = error.chain().filter_map(|cause| cause.downcast_ref::<OpenError>());
    causes.into_iter().any(|cause| matches!(cause, OpenError::Schema { .. }))
}

fn tell(end: &Value) {
    let number = |name: &str| end[name].as_u64().unwrap_or_default();
    terminal::line(format_args!(
        "{} runs ({} open, {} unknown), {} good receipts, {} answers kept",
        number("runs"),
        number("open"),
        number("unknown"),
        number("receipts"),
        number("answers")
    ));
    terminal::line(format_args!(
        "{} leaves ({} of claims that were taken back)",
        number("leaves"),
        number("undone")
    ));
    terminal::line(format_args!(
        "{} payments: {} captured, {} released, {} reversed, {} open, {} replaced",
        number("payments"),
        number("captured"),
        number("released"),
        number("reversed"),
        number("held"),
        number("replaced")
    ));
    match number("findings") {
        0 => terminal::line("the record is sound"),
        1 => terminal::line("the record is NOT sound: 1 finding"),
        more => terminal::line(format_args!("the record is NOT sound: {more} findings")),
    }
}
