//! `execgate policy sign`: says of a policy file that it may bind a proxy.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use execgate_model::Clock as _;
use execgate_receipt::Timestamp;

use crate::commands::approve::PersonalKey;
use crate::policy::{parse, read, sign, signature_of};
use crate::ports::SystemClock;
use crate::terminal;

/// The signature goes into FILE.sig, in the place of an earlier one.
#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The policy file
    #[arg(default_value = "policy.json")]
    file: PathBuf,
    #[command(flatten)]
    key: PersonalKey,
}

impl Sign {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let bytes = read(&self.file)?;
        let loaded = parse(&bytes).with_context(|| format!("the policy {} is wrong", self.file.display()))?;
        let key = self.key.open(&self.key.read()?)?;
        let now = Timestamp::new(SystemClock::new().now()).context("the clock is wrong")?;
        let text = sign(&bytes, now, &key)?;
        let (path, new) = (signature_of(&self.file), self.file.with_extension("sig.new"));
        // Whole or not at all: a proxy looks at it at any time.
        fs::write(&new, text).with_context(|| format!("failed to write {}", new.display()))?;
        fs::rename(&new, &path).with_context(|| format!("failed to write {}", path.display()))?;
        terminal::line(format_args!(
            "signed {} (sha256:{}) in {}",
            self.file.display(),
            loaded.digest,
            path.display()
        ));
        Ok(ExitCode::SUCCESS)
    }
}
