//! The receipt key: made once, 0600, in the data directory. Its public half lies beside it for everybody.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use execgate_model::{Entropy, InstanceId};
use execgate_receipt::{SigningKey, VerifyingKey};

/// Where the public half lies under a data directory.
pub(crate) fn public_path(data_dir: &Path) -> PathBuf {
    data_dir.join("keys").join("receipt.pub")
}

fn secret_path(data_dir: &Path) -> PathBuf {
    data_dir.join("keys").join("receipt.key")
}

/// The receipt key of a data directory, made now if there is none. Of two processes that make one at once, both
/// go on with the one that came first.
pub(crate) fn receipt_key(data_dir: &Path, entropy: &dyn Entropy) -> anyhow::Result<SigningKey> {
    let folder = data_dir.join("keys");
    if !folder.exists() {
        let made = fs::DirBuilder::new().mode(0o755).recursive(true).create(&folder);
        made.context("failed to make the folder of keys")?;
    }
    let path = secret_path(data_dir);
    if !path.exists() {
        let key = SigningKey::from_seed(&entropy.thirty_two());
        let pem = key.to_pkcs8_pem().context("failed to write the receipt key")?;
        write_first(&path, pem.expose().as_bytes(), 0o600, entropy)?;
    }
    let mode = fs::metadata(&path).context("failed to look at the receipt key")?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!("the receipt key can be read by others; run: chmod 600 {}", path.display());
    }
    let pem = fs::read_to_string(&path).context("failed to read the receipt key")?;
    let key = SigningKey::from_pkcs8_pem(&pem).context("the receipt key is not a PKCS#8 Ed25519 key")?;
    let public = public_path(data_dir);
    if !public.exists() {
        let pem = key.verifying_key().to_spki_pem().context("failed to write the public key")?;
        write_first(&public, pem.as_bytes(), 0o644, entropy)?;
    }
    Ok(key)
}

/// The public key that receipts of a data directory are verified with.
pub(crate) fn public_key(path: &Path) -> anyhow::Result<VerifyingKey> {
    let pem = fs::read_to_string(path)
        .with_context(|| format!("failed to read the public key {}", path.display()))?;
    VerifyingKey::from_spki_pem(&pem)
        .with_context(|| format!("{} is not an Ed25519 public key", path.display()))
}

/// The keys under which the receipts of a data directory are published; none where it has no key yet.
pub(crate) fn published(data_dir: &Path) -> anyhow::Result<Arc<[VerifyingKey]>> {
    let path = public_path(data_dir);
    if path.exists() { Ok([public_key(&path)?].into()) } else { Ok([].into()) }
}

/// Writes a file whole under a name that nobody has, or leaves the one that is there.
fn write_first(path: &Path, bytes: &[u8], mode: u32, entropy: &dyn Entropy) -> anyhow::Result<()> {
    let partial = path.with_extension(InstanceId::from_entropy(entropy.sixteen()).to_string());
    let what = || format!("failed to write {}", path.display());
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&partial).with_context(what)?;
    let written =
        file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::hard_link(&partial, path));
    let removed = fs::remove_file(&partial);
    match written {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error).with_context(what),
        Ok(()) | Err(_) => removed.with_context(what)?,
    }
    let folder = path.parent().context("a key lies in a folder")?;
    fs::File::open(folder).and_then(|folder| folder.sync_all()).context("failed to sync the folder of keys")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{public_key, public_path, receipt_key, secret_path};
    use crate::ports::SystemEntropy;

    #[test]
    fn processes_that_start_at_once_share_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let keys: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> =
                (0..8).map(|_| scope.spawn(|| receipt_key(folder.path(), &SystemEntropy).unwrap())).collect();
            starts.into_iter().map(|start| start.join().unwrap().verifying_key().key_id()).collect()
        });
        let public = public_key(&public_path(folder.path())).unwrap();
        assert!(keys.iter().all(|key| *key == public.key_id()));
        assert_eq!(std::fs::read_dir(folder.path().join("keys")).unwrap().count(), 2);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        receipt_key(folder.path(), &SystemEntropy).unwrap();
        let path = secret_path(folder.path());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(receipt_key(folder.path(), &SystemEntropy).is_err());
    }
}
