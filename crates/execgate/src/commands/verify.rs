//! `execgate verify`: a receipt, checked offline by the `receipt` crate alone.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use execgate_receipt::{ReceiptFile, verify};
use serde_json::{Value, json};

use super::cli::DataDir;
use crate::{keys, terminal};

/// Exit codes: 0 the receipt is good, 1 it is not, 2 it could not be checked.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The receipt file (`GET /receipts/{id}`), or - for standard input
    receipt: PathBuf,
    /// The public key to trust, PEM [default: the one of --data-dir]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The result to check against the receipt: a file that holds the JSON of `result`
    #[arg(long, value_name = "FILE")]
    result: Option<PathBuf>,
    /// The payload to check against the receipt: a file that holds its JSON
    #[arg(long, value_name = "FILE")]
    args: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataDir,
}

impl Verify {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let key = match &self.key {
            Some(path) => keys::public_key(path)?,
            None => {
                let path = keys::public_path(&self.data.data_dir);
                if !path.exists() {
                    bail!("no key to trust: give the gateway's public key by --key FILE, or its --data-dir");
                }
                keys::public_key(&path)?
            }
        };
        let checked = match ReceiptFile::from_json(&self.receipt_bytes()?) {
            Ok(mut file) => {
                file.result = value(self.result.as_ref(), "result")?.or(file.result);
                file.args = value(self.args.as_ref(), "payload")?.or(file.args);
                verify(&file, &[key]).map_err(anyhow::Error::from)
            }
            Err(error) => Err(error.into()),
        };
        match checked {
            Ok(verified) => self.tell_good(&verified),
            Err(error) => self.tell_bad(&error),
        }
    }

    fn receipt_bytes(&self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if self.receipt.as_os_str() == "-" {
            std::io::stdin().read_to_end(&mut bytes).context("failed to read standard input")?;
        } else {
            bytes = fs::read(&self.receipt)
                .with_context(|| format!("failed to read {}", self.receipt.display()))?;
        }
        Ok(bytes)
    }

    fn tell_good(&self, verified: &execgate_receipt::Verified) -> anyhow::Result<ExitCode> {
        let findings: Vec<_> =
            verified.findings().iter().map(|(check, finding)| (check.as_str(), finding.as_str())).collect();
        if self.json {
            let checks: Vec<_> =
                findings.iter().map(|(check, finding)| json!({"check": check, "finding": finding})).collect();
            terminal::json(&json!({"valid": true, "checks": checks}))?;
        } else {
            for (check, finding) in findings {
                terminal::line(format_args!("{check:<19} {finding}"));
            }
            terminal::line("the receipt is good");
        }
        Ok(ExitCode::SUCCESS)
    }

    fn tell_bad(&self, error: &anyhow::Error) -> anyhow::Result<ExitCode> {
        if self.json {
            terminal::json(&json!({"valid": false, "reason": error.to_string()}))?;
        } else {
            terminal::line(format_args!("the receipt is NOT good: {error}"));
        }
        Ok(ExitCode::from(1))
    }
}

fn value(path: Option<&PathBuf>, what: &str) -> anyhow::Result<Option<Value>> {
    let Some(path) = path else { return Ok(None) };
    let bytes = fs::read(path).with_context(|| format!("failed to read the {what} {}", path.display()))?;
    let value = execgate_receipt::parse_strict(&bytes)
        .with_context(|| format!("the {what} {} is not JSON", path.display()))?;
    Ok(Some(value))
}
