//! What is verified, and how it is told.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Args;
use execgate_receipt::{Included, ReceiptFile, Verified, VerifierKey, verify};
use serde_json::{Value, json};

use super::super::cli::DataDir;
use super::keys::{of_checkpoints, of_folder, of_names};
use super::place::{self, Asked, Place};
use super::{checkpoints, cosigned};
use crate::keys::Trusted;
use crate::terminal;

/// A receipt, or two checkpoints of a log. Exit codes: 0 it is good, 1 it is not, 2 it could not be checked.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The receipt file (`GET /receipts/{id}`), or - for standard input
    #[arg(required_unless_present = "checkpoint", conflicts_with = "checkpoint")]
    receipt: Option<PathBuf>,
    /// Whom to trust: a public key (PEM), or a key ring as the gateway publishes it [default: those of --data-dir]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The result to check against the receipt: a file that holds the JSON of `result`
    #[arg(long, value_name = "FILE")]
    result: Option<PathBuf>,
    /// The payload to check against the receipt: a file that holds its JSON
    #[arg(long, value_name = "FILE")]
    args: Option<PathBuf>,
    /// The proof that the receipt is in a log (.tlog-proof) [default: the one in the receipt file]
    #[arg(long, value_name = "FILE", conflicts_with = "checkpoint")]
    log_proof: Option<PathBuf>,
    /// The verifier key of the log to trust, or a file of such keys; may be given several times. With it a receipt must
    /// be in the log [default: those of the key ring, then keys/log.vkey of --data-dir]
    #[arg(long, value_name = "KEY")]
    log_key: Vec<String>,
    /// An older checkpoint of a log, which has to be the beginning of a newer one
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// The newer one and the path to it (`GET /log/consistency/{older}`)
    #[arg(long, value_name = "FILE", requires = "checkpoint")]
    consistency: Option<PathBuf>,
    /// A copy of the log that has the newer one (`execgate log export`)
    #[arg(long, value_name = "DIR", requires = "checkpoint", conflicts_with = "consistency")]
    log_copy: Option<PathBuf>,
    /// The verifier key of a witness that must have cosigned the checkpoint, or that of the receipt's proof; may be given
    /// several times. A checkpoint needs no newer one then
    #[arg(long, value_name = "VKEY")]
    cosigned_by: Vec<VerifierKey>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataDir,
}

impl Verify {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        if let Some(older) = &self.checkpoint {
            let trusted = if self.key.is_some() { Some(self.trusted()?) } else { self.trusted().ok() };
            let keys = of_checkpoints(&self.log_key, trusted.as_ref(), &self.data)?;
            if !self.cosigned_by.is_empty() {
                let alone = self.consistency.is_none() && self.log_copy.is_none();
                match cosigned::check(older, &keys, &self.cosigned_by)? {
                    Ok(said) if alone => return self.tell_good(&said, "the checkpoint is cosigned"),
                    Ok(_) => {}
                    Err(error) => return self.tell_bad("the checkpoint", &error),
                }
            }
            let newer = checkpoints::newer(self.consistency.as_ref(), self.log_copy.as_ref())?;
            return match checkpoints::check(older, &newer, &keys)? {
                Ok(said) => self.tell_good(&[("consistency", said)], "the checkpoints are of one log"),
                Err(error) => self.tell_bad("the checkpoints", &error),
            };
        }
        match self.receipt()? {
            Ok(findings) => self.tell_good(&findings, "the receipt is good"),
            Err(error) => self.tell_bad("the receipt", &error),
        }
    }

    /// Checks the receipt. The outer error is of the way, the inner what does not hold.
    fn receipt(&self) -> anyhow::Result<anyhow::Result<Vec<(&'static str, String)>>> {
        let trusted = self.trusted()?;
        let mut file = match ReceiptFile::from_json(&self.receipt_bytes()?) {
            Ok(file) => file,
            Err(error) => return Ok(Err(error.into())),
        };
        file.result = value(self.result.as_ref(), "result")?.or(file.result);
        file.args = value(self.args.as_ref(), "payload")?.or(file.args);
        let verified = match verify(&file, &trusted.receipt_keys()) {
            Ok(verified) => verified,
            Err(error) => return Ok(Err(error.into())),
        };
        let asked = self.asked(&trusted)?;
        let place = match place::check(verified.leaf(), file.log_proof.as_deref(), &asked)? {
            Ok(place) => place,
            Err(error) => return Ok(Err(error)),
        };
        // Sizes of a ring are those of its own log; a place in another one is nothing to them.
        let (index, why) = match &place {
            Place::Proved { index: Some(index), .. } => (Some(*index), String::new()),
            Place::Proved { index: None, .. } => (None, "; its proof is of another log".to_owned()),
            Place::Unproved(why) => (None, format!("; its proof: {why}")),
        };
        let included = index.map(|index| Included { leaf: verified.leaf(), index });
        // A key that was retired vouches for what stood in the log before, and for nothing else.
        Ok(match trusted.judge(&verified, included) {
            Ok(()) => Ok(findings(&verified, place)),
            Err(error) => Err(anyhow!("{error}{why}")),
        })
    }

    /// Whom to trust about receipts.
    fn trusted(&self) -> anyhow::Result<Trusted> {
        match &self.key {
            Some(path) => Trusted::read(path),
            None => Trusted::of_data_dir(&self.data.data_dir),
        }
    }

    /// Whom to trust about a place in a log.
    fn asked(&self, trusted: &Trusted) -> anyhow::Result<Asked<'_>> {
        let (ring, retired) = match trusted.ring() {
            Some(ring) => (ring.log_keys(), ring.retired_log_keys()),
            None => (Vec::new(), Vec::new()),
        };
        let mut folder = of_folder(&self.data)?;
        folder.retain(|key| !retired.iter().any(|(retired, _)| retired.key() == key.key()));
        Ok(Asked {
            file: self.log_proof.as_ref(),
            named: of_names(&self.log_key)?,
            ring,
            retired,
            folder,
            witnesses: &self.cosigned_by,
        })
    }

    fn receipt_bytes(&self) -> anyhow::Result<Vec<u8>> {
        let path = self.receipt.as_ref().context("no receipt is named")?;
        let mut bytes = Vec::new();
        if path.as_os_str() == "-" {
            std::io::stdin().read_to_end(&mut bytes).context("failed to read standard input")?;
        } else {
            bytes = fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
        }
        Ok(bytes)
    }

    fn tell_good(&self, findings: &[(&str, String)], said: &str) -> anyhow::Result<ExitCode> {
        if self.json {
            let checks: Vec<_> =
                findings.iter().map(|(check, finding)| json!({"check": check, "finding": finding})).collect();
            terminal::json(&json!({"valid": true, "checks": checks}))?;
        } else {
            for (check, finding) in findings {
                terminal::line(format_args!("{check:<19} {finding}"));
            }
            terminal::line(said);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn tell_bad(&self, what: &str, error: &anyhow::Error) -> anyhow::Result<ExitCode> {
        if self.json {
            terminal::json(&json!({"valid": false, "reason": error.to_string()}))?;
        } else {
            terminal::line(format_args!(
                "{what} {} NOT good: {error}",
                if what.ends_with('s') { "are" } else { "is" }
            ));
        }
        Ok(ExitCode::from(1))
    }
}

/// Every check in words, the place in the log last.
fn findings(verified: &Verified, place: Place) -> Vec<(&'static str, String)> {
    let made =
        verified.findings().iter().map(|(check, finding)| (check.as_str(), finding.as_str().to_owned()));
    let place = match place {
        Place::Proved { said, .. } => said,
        Place::Unproved(why) => why,
    };
    made.chain([("place in the log", place)]).collect()
}

fn value(path: Option<&PathBuf>, what: &str) -> anyhow::Result<Option<Value>> {
    let Some(path) = path else { return Ok(None) };
    let bytes = fs::read(path).with_context(|| format!("failed to read the {what} {}", path.display()))?;
    let value = execgate_receipt::parse_strict(&bytes)
        .with_context(|| format!("the {what} {} is not JSON", path.display()))?;
    Ok(Some(value))
}
