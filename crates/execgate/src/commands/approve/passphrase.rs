//! Where a passphrase comes from: a descriptor, the environment, or the terminal. It is never an argument, which others see.

use std::fs::File;
use std::io::Read as _;

use anyhow::{Context as _, bail};
use clap::Args;
use zeroize::Zeroizing;

use crate::config::Environment;
use crate::terminal;

/// The longest passphrase, in bytes.
const BYTES_MAX: u64 = 1_024;

/// The variable that may hold it.
const VARIABLE: &str = "EXECGATE_PASSPHRASE";

/// Where the passphrase is read from.
#[derive(Debug, Args)]
pub(super) struct PassphraseSource {
    /// Read the passphrase from this open descriptor, up to the end of its first line [default: `EXECGATE_PASSPHRASE`,
    /// else the terminal]
    #[arg(long, value_name = "N")]
    passphrase_fd: Option<u32>,
}

impl PassphraseSource {
    /// The passphrase. `again`: it is a new one, and whoever types it types it twice.
    pub(super) fn read(&self, prompt: &str, again: Option<&str>) -> anyhow::Result<Zeroizing<String>> {
        if let Some(descriptor) = self.passphrase_fd {
            return of_descriptor(descriptor);
        }
        if let Some(text) = Environment::secret(VARIABLE) {
            return Ok(text);
        }
        let typed = terminal::ask_hidden(prompt).context(
            "there is no terminal to ask for the passphrase; give it by --passphrase-fd or EXECGATE_PASSPHRASE",
        )?;
        if let Some(again) = again
            && *terminal::ask_hidden(again)? != *typed
        {
            bail!("these are two passphrases");
        }
        Ok(typed)
    }
}

fn of_descriptor(descriptor: u32) -> anyhow::Result<Zeroizing<String>> {
    let what = || format!("failed to read the passphrase from descriptor {descriptor}");
    let file = File::open(format!("/dev/fd/{descriptor}")).with_context(what)?;
    let mut text = Zeroizing::new(String::new());
    file.take(BYTES_MAX).read_to_string(&mut text).with_context(what)?;
    let line = text.split(['\n', '\r']).next().unwrap_or_default();
    Ok(Zeroizing::new(line.to_owned()))
}
