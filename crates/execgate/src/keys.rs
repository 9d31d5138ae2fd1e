//! The receipt key and the log key: made once, 0600, in the data directory. Their public halves lie beside them for
//! everybody.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use execgate_model::{Entropy, InstanceId};
use execgate_receipt::{SigningKey, VerifyingKey};
use execgate_web::Published;

/// Where the public half lies under a data directory.
pub(crate) fn public_path(data_dir: &Path) -> PathBuf {
    data_dir.join("keys").join("receipt.pub")
}

/// What verifies the log under each name that it has had, a line each (C2SP signed-note, "Verifier keys").
pub(crate) fn log_verifiers_path(data_dir: &Path) -> PathBuf {
    data_dir.join("keys").join("log.vkey")
}

/// The receipt key of a data directory, made now if there is none. Of two processes that make one at once, both
/// go on with the one that came first.
pub(crate) fn receipt_key(data_dir: &Path, entropy: &dyn Entropy) -> anyhow::Result<SigningKey> {
    key(data_dir, "receipt", entropy)
}

/// The key of the log of a data directory, likewise. It signs checkpoints and nothing else.
pub(crate) fn log_key(data_dir: &Path, entropy: &dyn Entropy) -> anyhow::Result<SigningKey> {
    key(data_dir, "log", entropy)
}

fn key(data_dir: &Path, name: &str, entropy: &dyn Entropy) -> anyhow::Result<SigningKey> {
    let folder = data_dir.join("keys");
    if !folder.exists() {
        let made = fs::DirBuilder::new().mode(0o755).recursive(true).create(&folder);
        made.context("failed to make the folder of keys")?;
    }
    let path = folder.join(format!("{name}.key"));
    if !path.exists() {
        let key = SigningKey::from_seed(&entropy.thirty_two());
        let pem = key.to_pkcs8_pem().with_context(|| format!("failed to write the {name} key"))?;
        write_first(&path, pem.expose().as_bytes(), 0o600, entropy)?;
    }
    let mode = fs::metadata(&path).with_context(|| format!("failed to look at the {name} key"))?;
    let mode = mode.permissions().mode();
    if mode & 0o077 != 0 {
        bail!("the {name} key can be read by others; run: chmod 600 {}", path.display());
    }
    let pem = fs::read_to_string(&path).with_context(|| format!("failed to read the {name} key"))?;
    let key = SigningKey::from_pkcs8_pem(&pem);
    let key = key.with_context(|| format!("the {name} key is not a PKCS#8 Ed25519 key"))?;
    let public = folder.join(format!("{name}.pub"));
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

/// The keys under which the receipts of a data directory are published, read anew each time.
pub(crate) fn published(data_dir: &Path) -> Published {
    let path = public_path(data_dir);
    Arc::new(move || public_key(&path).into_iter().collect())
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

    use super::{log_key, public_key, public_path, receipt_key};
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
        let path = folder.path().join("keys").join("receipt.key");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(receipt_key(folder.path(), &SystemEntropy).is_err());
    }

    #[test]
    fn receipts_and_the_log_have_keys_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let receipt = receipt_key(folder.path(), &SystemEntropy).unwrap();
        let log = log_key(folder.path(), &SystemEntropy).unwrap();
        assert_ne!(receipt.key_id(), log.key_id());
        assert_eq!(log_key(folder.path(), &SystemEntropy).unwrap().key_id(), log.key_id());
    }
}
