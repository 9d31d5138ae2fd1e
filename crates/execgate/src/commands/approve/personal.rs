//! The key of a person, as a command that signs with it is told of it.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use execgate_receipt::SigningKey;

use super::passphrase::PassphraseSource;
use crate::approver_key::KeyFile;

/// Which key, and how it is opened.
#[derive(Debug, Args)]
pub(crate) struct PersonalKey {
    /// The key of whoever signs (`execgate approver keygen`)
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Take a key that no passphrase protects
    #[arg(long)]
    unencrypted_key: bool,
    #[command(flatten)]
    passphrase: PassphraseSource,
}

impl PersonalKey {
    /// The key file, still closed. One that no passphrase protects is refused, unless it was asked for.
    pub(crate) fn read(&self) -> anyhow::Result<KeyFile> {
        let key = KeyFile::read(&self.key)?;
        if !key.is_encrypted() && !self.unencrypted_key {
            let file = self.key.display();
            bail!(
                "the key {file} is not encrypted: whoever reads the file can sign as its owner. `openssl pkcs8 -topk8 \
                 -scrypt -v2 aes-256-cbc -in {file} -out NEW` encrypts it, and --name says whose it is then; \
                 --unencrypted-key takes it as it is"
            );
        }
        Ok(key)
    }

    /// The key, once whoever signs has seen what is signed.
    pub(crate) fn open(&self, key: &KeyFile) -> anyhow::Result<SigningKey> {
        let passphrase = match key.is_encrypted() {
            true => self.passphrase.read("the passphrase of the key: ", None)?,
            false => Default::default(),
        };
        key.open(&passphrase)
    }
}
