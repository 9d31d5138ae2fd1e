//! Public keys as readers have them: a PEM file, or a ring of keys as a gateway publishes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use execgate_receipt::{Included, KeyRing, RingError, Verified, VerifyingKey};
use execgate_web::Published;

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

    /// The ring, where it is one.
    pub(crate) const fn ring(&self) -> Option<&KeyRing> {
        match self {
            Self::Key(_) => None,
            Self::Ring(ring) => Some(ring),
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

/// The receipt keys of a data directory, as readers of it trust them. Read anew each time: a rotation adds one.
pub(crate) fn published(data_dir: &Path) -> Published {
    let data_dir = data_dir.to_owned();
    Arc::new(move || match Trusted::of_data_dir(&data_dir) {
        Ok(trusted) => trusted.receipt_keys(),
        Err(error) => {
            tracing::warn!(%error, "no published key can be read");
            Vec::new()
        }
    })
}
