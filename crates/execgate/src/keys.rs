//! The receipt key: made once, 0600, in the data directory. Its public half lies beside it for everybody.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use execgate_model::Entropy;
use execgate_receipt::{SigningKey, VerifyingKey};

/// Where the public half lies under a data directory.
pub(crate) fn public_path(data_dir: &Path) -> PathBuf {
    data_dir.join("keys").join("receipt.pub")
}

fn secret_path(data_dir: &Path) -> PathBuf {
    data_dir.join("keys").join("receipt.key")
}

/// The receipt key of a data directory, made now if there is none.
pub(crate) fn receipt_key(data_dir: &Path, entropy: &dyn Entropy) -> anyhow::Result<SigningKey> {
    let path = secret_path(data_dir);
    if path.exists() {
        let mode = fs::metadata(&path).context("failed to look at the receipt key")?.permissions().mode();
        if mode & 0o077 != 0 {
            bail!("the receipt key can be read by others; run: chmod 600 {}", path.display());
        }
        let pem = fs::read_to_string(&path).context("failed to read the receipt key")?;
        return SigningKey::from_pkcs8_pem(&pem).context("the receipt key is not a PKCS#8 Ed25519 key");
    }
    let folder = data_dir.join("keys");
    if !folder.exists() {
        fs::DirBuilder::new().mode(0o755).create(&folder).context("failed to make the folder of keys")?;
    }
    let key = SigningKey::from_seed(&entropy.thirty_two());
    let public = key.verifying_key().to_spki_pem().context("failed to write the public key")?;
    write_new(&public_path(data_dir), public.as_bytes(), 0o644)?;
    // The secret comes last: where it lies, the public half does too.
    let pem = key.to_pkcs8_pem().context("failed to write the receipt key")?;
    write_new(&path, pem.expose().as_bytes(), 0o600)?;
    fs::File::open(&folder).and_then(|dir| dir.sync_all()).context("failed to sync the folder of keys")?;
    Ok(key)
}

/// The public key that receipts of a data directory are verified with.
pub(crate) fn public_key(path: &Path) -> anyhow::Result<VerifyingKey> {
    let pem = fs::read_to_string(path)
        .with_context(|| format!("failed to read the public key {}", path.display()))?;
    VerifyingKey::from_spki_pem(&pem)
        .with_context(|| format!("{} is not an Ed25519 public key", path.display()))
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let partial = path.with_extension("new");
    let what = || format!("failed to write {}", path.display());
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&partial)
        .with_context(what)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(what)?;
    fs::rename(&partial, path).with_context(what)
}
