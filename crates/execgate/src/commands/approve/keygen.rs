//! `execgate approver keygen`: a key of the approver's own, and what the operator needs of it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use execgate_model::ApproverName;

use super::passphrase::PassphraseSource;
use crate::approver_key::{NewKey, PASSPHRASE_BYTES_MIN};
use crate::ports::SystemEntropy;
use crate::terminal;

/// The key is written for its owner alone, and its public half is printed as the operator's configuration has it.
#[derive(Debug, Args)]
pub(crate) struct Keygen {
    /// Where the key is written; what is there is never written over
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The approver's name, as statements and the operator's configuration have it
    #[arg(long, value_name = "NAME")]
    name: ApproverName,
    #[command(flatten)]
    passphrase: PassphraseSource,
}

impl Keygen {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let passphrase = self.passphrase.read("a passphrase for the key: ", Some("the same again: "))?;
        if passphrase.len() < PASSPHRASE_BYTES_MIN {
            bail!(
                "a passphrase has at least {PASSPHRASE_BYTES_MIN} characters: whoever finds the file can try many"
            );
        }
        let made = NewKey::make(&self.name, &passphrase, &SystemEntropy)?;
        made.write(&self.out)?;
        let public = STANDARD.encode(made.key.verifying_key().as_bytes());
        terminal::note(format_args!(
            "the key is in {}; for the operator's configuration:\n",
            self.out.display()
        ));
        terminal::line(format_args!("[[approver]]\nname = \"{}\"\nkeys = [\"{}\"]", self.name, public));
        Ok(ExitCode::SUCCESS)
    }
}
