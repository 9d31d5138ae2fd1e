//! The secrets of a gateway, in the folder `keys` of its data directory: `receipt.key` and `log.key`, which were first,
//! and `receipt-<id>.key` and `log-<id>.key`, which took their place. Which of them signs, the record says.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::{fs, io};

use anyhow::{Context as _, anyhow, bail};
use execgate_flow::administer::{KeySafe, SafeError};
use execgate_flow::log::{LogKeys, LogSigners};
use execgate_flow::witness::InForce;
use execgate_model::{Entropy, KeyPurpose};
use execgate_receipt::{SigningKey, VerifyingKey};
use execgate_store::OwnKey;

use super::file;
use super::public::{public_path, ring_path};

/// The secrets of one data directory.
pub(crate) struct KeyFolder {
    data_dir: PathBuf,
    entropy: Arc<dyn Entropy>,
    receipt: OnceLock<Arc<InForce<SigningKey>>>,
    log: OnceLock<Arc<LogKeys>>,
    /// Which keys the log was to be signed with when it was looked last.
    log_asked: Mutex<Vec<VerifyingKey>>,
}

impl KeyFolder {
    /// The folder of a data directory. Nothing is read yet.
    pub(crate) const fn new(data_dir: PathBuf, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            data_dir,
            entropy,
            receipt: OnceLock::new(),
            log: OnceLock::new(),
            log_asked: Mutex::new(Vec::new()),
        }
    }

    /// The receipt key in force, once the record has been asked which.
    pub(crate) fn receipt(&self) -> anyhow::Result<Arc<InForce<SigningKey>>> {
        self.receipt.get().cloned().context("no receipt key is in force")
    }

    /// The keys of the log in force, once the record has been asked which.
    pub(crate) fn log(&self) -> anyhow::Result<Arc<LogKeys>> {
        self.log.get().cloned().context("no key of the log is in force")
    }

    fn folder(&self) -> PathBuf {
        self.data_dir.join("keys")
    }

    fn first_path(&self, purpose: KeyPurpose) -> PathBuf {
        self.folder().join(format!("{}.key", purpose.as_str()))
    }

    fn path(&self, purpose: KeyPurpose, key: &VerifyingKey) -> PathBuf {
        self.folder().join(format!("{}-{}.key", purpose.as_str(), key.key_id()))
    }

    /// The secret of a key of the record.
    fn secret(&self, purpose: KeyPurpose, key: &VerifyingKey) -> anyhow::Result<SigningKey> {
        for path in [self.path(purpose, key), self.first_path(purpose)] {
            if path.exists() {
                let secret = file::read_secret(&path)?;
                if secret.verifying_key() == *key {
                    return Ok(secret);
                }
            }
        }
        bail!(
            "the record says that the {purpose} key {} signs, and {} has no secret for it; \
             bring it back, or make another by `execgate keys rotate {purpose}`",
            key.key_id(),
            self.folder().display(),
            purpose = purpose.as_str(),
        )
    }

    fn find_first(&self, purpose: KeyPurpose) -> anyhow::Result<VerifyingKey> {
        file::make_folder(&self.folder())?;
        let path = self.first_path(purpose);
        if !path.exists() {
            let later = self.later(purpose).context("failed to list the keys")?;
            match later.as_slice() {
                [] => file::write_secret(&path, &self.seed(), &*self.entropy)?,
                [only] => return Ok(file::read_secret(only)?.verifying_key()),
                [_, _, ..] => bail!(
                    "the record knows no {} key, and {} has several: leave the one there that is to sign",
                    purpose.as_str(),
                    self.folder().display()
                ),
            }
        }
        Ok(file::read_secret(&path)?.verifying_key())
    }

    /// The secrets that took the place of the first.
    fn later(&self, purpose: KeyPurpose) -> io::Result<Vec<PathBuf>> {
        let start = format!("{}-", purpose.as_str());
        let mut found = Vec::new();
        for entry in fs::read_dir(self.folder())? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with(&start) && Path::new(name).extension().is_some_and(|end| end == "key") {
                found.push(path);
            }
        }
        Ok(found)
    }

    fn make(&self, purpose: KeyPurpose) -> anyhow::Result<VerifyingKey> {
        file::make_folder(&self.folder())?;
        let secret = self.seed();
        let key = secret.verifying_key();
        file::write_secret(&self.path(purpose, &key), &secret, &*self.entropy)?;
        Ok(key)
    }

    fn seed(&self) -> SigningKey {
        SigningKey::from_seed(&self.entropy.thirty_two())
    }

    fn sign_with(&self, keys: &[OwnKey]) -> anyhow::Result<()> {
        let of = |purpose| keys.iter().rev().filter(move |key| key.purpose == purpose);
        if let Some(newest) = of(KeyPurpose::Receipt).next() {
            self.sign_receipts_with(&public(newest)?)?;
        }
        let log = of(KeyPurpose::Log).map(public).collect::<anyhow::Result<Vec<_>>>()?;
        self.sign_log_with(&log)
    }

    fn sign_receipts_with(&self, key: &VerifyingKey) -> anyhow::Result<()> {
        if let Some(in_force) = self.receipt.get()
            && in_force.now().verifying_key() == *key
        {
            return Ok(());
        }
        let pem = key.to_spki_pem().context("failed to write a public key")?;
        let secret = self.secret(KeyPurpose::Receipt, key)?;
        put(&self.receipt, secret);
        file::replace_public(&public_path(&self.data_dir), pem.as_bytes(), &*self.entropy)
    }

    fn sign_log_with(&self, keys: &[VerifyingKey]) -> anyhow::Result<()> {
        let [newest, older @ ..] = keys else { return Ok(()) };
        let mut asked = self.log_asked.lock().unwrap_or_else(PoisonError::into_inner);
        if *asked == keys {
            return Ok(());
        }
        let newest = Arc::new(self.secret(KeyPurpose::Log, newest)?);
        let mut beside = Vec::new();
        for key in older {
            match self.secret(KeyPurpose::Log, key) {
                Ok(secret) => beside.push(Arc::new(secret)),
                Err(error) => tracing::warn!(%error, "an older key of the log cannot sign beside the newest"),
            }
        }
        let pem = newest.verifying_key().to_spki_pem().context("failed to write a public key")?;
        put(&self.log, LogSigners::new(newest, beside));
        file::replace_public(&self.folder().join("log.pub"), pem.as_bytes(), &*self.entropy)?;
        keys.clone_into(&mut asked);
        Ok(())
    }
}

impl KeySafe for KeyFolder {
    fn first(&self, purpose: KeyPurpose) -> Result<VerifyingKey, SafeError> {
        self.find_first(purpose).map_err(safe_error)
    }

    fn mint(&self, purpose: KeyPurpose) -> Result<VerifyingKey, SafeError> {
        self.make(purpose).map_err(safe_error)
    }

    fn take_up(&self, keys: &[OwnKey]) -> Result<(), SafeError> {
        self.sign_with(keys).map_err(safe_error)
    }

    fn publish(&self, ring: &str) -> Result<(), SafeError> {
        file::make_folder(&self.folder())
            .and_then(|()| file::replace_public(&ring_path(&self.data_dir), ring.as_bytes(), &*self.entropy))
            .map_err(safe_error)
    }

    fn destroy(&self, purpose: KeyPurpose, key: &VerifyingKey) -> Result<(), SafeError> {
        let first = self.first_path(purpose);
        let is_first = file::read_secret(&first).is_ok_and(|secret| secret.verifying_key() == *key);
        let first = if is_first { file::remove(&first) } else { Ok(()) };
        first.and_then(|()| file::remove(&self.path(purpose, key))).map_err(safe_error)
    }
}

fn put<T>(place: &OnceLock<Arc<InForce<T>>>, key: T) {
    match place.get() {
        Some(in_force) => in_force.replace(key),
        // Whoever opens a record looks at its keys once before anybody else can.
        None => drop(place.set(Arc::new(InForce::new(key)))),
    }
}

fn public(key: &OwnKey) -> anyhow::Result<VerifyingKey> {
    VerifyingKey::from_bytes(&key.public).map_err(|error| anyhow!(error).context("the record has a bad key"))
}

fn safe_error(error: anyhow::Error) -> SafeError {
    SafeError { what: format!("{error:#}"), source: None }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;
    use std::{fs, thread};

    use execgate_flow::administer::KeySafe as _;
    use execgate_model::{KeyPurpose, UnixMs};
    use execgate_receipt::VerifyingKey;
    use execgate_store::OwnKey;
    use tempfile::{TempDir, tempdir};

    use super::KeyFolder;
    use crate::keys::{public_key, public_path};
    use crate::ports::SystemEntropy;

    fn keys(folder: &TempDir) -> KeyFolder {
        KeyFolder::new(folder.path().to_owned(), Arc::new(SystemEntropy))
    }

    fn own(purpose: KeyPurpose, key: &VerifyingKey) -> OwnKey {
        OwnKey { purpose, public: *key.as_bytes(), added: UnixMs(1), retired: None }
    }

    #[test]
    fn processes_that_start_at_once_share_one_key() {
        let folder = tempdir().unwrap();
        let first: Vec<_> = thread::scope(|scope| {
            let starts: Vec<_> =
                (0..8).map(|_| scope.spawn(|| keys(&folder).first(KeyPurpose::Receipt).unwrap())).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(first.iter().all(|key| *key == first[0]));
        assert_eq!(fs::read_dir(folder.path().join("keys")).unwrap().count(), 1);
    }

    #[test]
    fn the_newest_receipt_key_signs_and_lies_there_for_readers() {
        let folder = tempdir().unwrap();
        let keys = keys(&folder);
        let first = keys.first(KeyPurpose::Receipt).unwrap();
        keys.take_up(&[own(KeyPurpose::Receipt, &first)]).unwrap();
        let in_force = keys.receipt().unwrap();
        assert_eq!(in_force.now().verifying_key(), first);
        let second = keys.mint(KeyPurpose::Receipt).unwrap();
        keys.take_up(&[own(KeyPurpose::Receipt, &first), own(KeyPurpose::Receipt, &second)]).unwrap();
        assert_eq!(in_force.now().verifying_key(), second);
        assert_eq!(public_key(&public_path(folder.path())).unwrap(), second);
        keys.destroy(KeyPurpose::Receipt, &first).unwrap();
        assert!(!folder.path().join("keys/receipt.key").exists());
        assert_eq!(keys.first(KeyPurpose::Receipt).unwrap(), second, "a record that lost its ring finds it");
    }

    #[test]
    fn every_log_key_that_is_not_retired_signs_beside_the_newest() {
        let folder = tempdir().unwrap();
        let keys = keys(&folder);
        let (first, second) = (keys.first(KeyPurpose::Log).unwrap(), keys.mint(KeyPurpose::Log).unwrap());
        keys.take_up(&[own(KeyPurpose::Log, &first), own(KeyPurpose::Log, &second)]).unwrap();
        let signers = keys.log().unwrap().now();
        assert_eq!(signers.iter().map(|key| key.verifying_key()).collect::<Vec<_>>(), [second, first]);
    }

    #[test]
    fn a_key_of_the_record_whose_secret_is_lost_is_named_and_never_made_anew() {
        let folder = tempdir().unwrap();
        let keys = keys(&folder);
        let first = keys.first(KeyPurpose::Receipt).unwrap();
        fs::remove_file(folder.path().join("keys/receipt.key")).unwrap();
        let lost = keys.take_up(&[own(KeyPurpose::Receipt, &first)]).unwrap_err().to_string();
        assert!(lost.contains(&first.key_id().to_string()) && lost.contains("keys rotate receipt"), "{lost}");
        assert!(!folder.path().join("keys/receipt.key").exists());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempdir().unwrap();
        keys(&folder).first(KeyPurpose::Receipt).unwrap();
        let path = folder.path().join("keys/receipt.key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(keys(&folder).first(KeyPurpose::Receipt).is_err());
    }
}
