//! Public keys as readers have them: a PEM file, or a ring of keys as a gateway publishes it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use execgate_receipt::{Included, KeyRing, RingError, Verified, VerifierKey, VerifyingKey};

/// Where the public half of the receipt key lies under a data directory.
pub(crate) fn public_path(data_dir: &Path) -> PathBuf {
    data_dir.join("keys").join("receipt.pub")
}

/// What verifies the log under each name that it has had, a line each (C2SP signed-note, "Verifier keys").
pub(crate) fn log_verifiers_path(data_dir: &Path) -> PathBuf {
    data_dir.join("keys").join("log.vkey")
}

/// Where the ring of all public keys lies under a data directory.
pub(super) fn ring_path(data_dir: &Path) -> PathBuf {
    data_dir.join("keys").join("ring.json")
}

/// The public key that receipts of a data directory are verified with.
pub(crate) fn public_key(path: &Path) -> anyhow::Result<VerifyingKey> {
    let pem = fs::read_to_string(path)
        .with_context(|| format!("failed to read the public key {}", path.display()))?;
    VerifyingKey::from_spki_pem(&pem)
        .with_context(|| format!("{} is not an Ed25519 public key", path.display()))
}

/// Whom a reader of receipts trusts.
pub(crate) enum Trusted {
    /// One key, of which nothing else is known.
    Key(VerifyingKey),
    /// Every key of a gateway.
    Ring(KeyRing),
}

impl Trusted {
    /// What a file holds: a public key in PEM, or a ring.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
        if bytes.trim_ascii_start().starts_with(b"{") {
            let ring = KeyRing::from_json(&bytes);
            return Ok(Self::Ring(ring.with_context(|| format!("{} is no key ring", path.display()))?));
        }
        Ok(Self::Key(public_key(path)?))
    }

    /// What a data directory trusts: its ring, or its one key from before it had a ring.
    pub(crate) fn of_data_dir(data_dir: &Path) -> anyhow::Result<Self> {
        let found = [ring_path(data_dir), public_path(data_dir)].into_iter().find(|path| path.exists());
        match found {
            Some(path) => Self::read(&path),
            None => bail!(
                "no key to trust: give the gateway's public key or key ring by --key FILE, or its --data-dir"
            ),
        }
    }

    /// The keys that may have signed a receipt.
    pub(crate) fn receipt_keys(&self) -> Vec<VerifyingKey> {
        match self {
            Self::Key(key) => vec![key.clone()],
            Self::Ring(ring) => ring.receipt_keys(),
        }
    }

    /// The keys of the log that count, as far as they are known.
    pub(crate) fn log_keys(&self) -> Vec<VerifierKey> {
        match self {
            Self::Key(_) => Vec::new(),
            Self::Ring(ring) => ring.log_keys(),
        }
    }

    /// Says whether a receipt counts that one of these keys has signed.
    pub(crate) fn judge(&self, verified: &Verified, included: Option<Included>) -> Result<(), RingError> {
        match self {
            Self::Key(_) => Ok(()),
            Self::Ring(ring) => ring.judge(verified, included),
        }
    }
}
