//! An approver's own key: PKCS#8 PEM (RFC 5958), encrypted by a passphrase as `openssl pkey` reads it (PBES2 with scrypt and
//! AES-256-CBC; RFC 8018, RFC 7914). It stays on the approver's machine: no gateway ever reads one.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use execgate_model::{ApproverName, Entropy};
use execgate_receipt::SigningKey;
use pkcs8::pkcs5::pbes2::Parameters;
use pkcs8::pkcs5::scrypt;
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument};
use zeroize::Zeroizing;

/// The shortest passphrase that is taken, in bytes: whoever has the file tries some ten thousand a second.
pub(crate) const PASSPHRASE_BYTES_MIN: usize = 12;

/// The cost of a try, as powers of two of 1 KiB: the most that OpenSSL 3 takes without being told (16 MiB).
const SCRYPT_LOG_N: u8 = 14;
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 1;

/// The longest key file, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 10;

const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
const PLAIN: &str = "PRIVATE KEY";

/// How the file says whose key it is: a line before the key, which other readers pass over.
const NAME: &str = "approver: ";

/// A key file, still closed.
pub(crate) struct KeyFile {
    /// Whose it is, where it says so.
    pub(crate) name: Option<ApproverName>,
    label: String,
    document: SecretDocument,
}

impl KeyFile {
    /// Reads a file that nobody but its owner can read.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let file = File::open(path).with_context(|| format!("failed to open the key {shown}"))?;
        let mode = file.metadata().with_context(|| format!("failed to look at the key {shown}"))?.mode();
        if mode & 0o077 != 0 {
            bail!("the key {shown} can be read by others; chmod 600 mends it");
        }
        let mut text = Zeroizing::new(String::new());
        let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
        read.with_context(|| format!("failed to read the key {shown} as text"))?;
        Self::parse(&text).with_context(|| format!("{shown} is no key of an approver"))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let start = text.find("-----BEGIN ").context("there is no PEM in it")?;
        let (before, pem) = text.split_at(start);
        let name = before.lines().find_map(|line| line.strip_prefix(NAME));
        let name = name.map(|name| name.trim().parse()).transpose().context("it has a wrong name")?;
        // A PEM error may quote the key.
        let (label, document) =
            SecretDocument::from_pem(pem.trim_end()).map_err(|_| anyhow::anyhow!("its PEM is broken"))?;
        match label {
            ENCRYPTED | PLAIN => Ok(Self { name, label: label.to_owned(), document }),
            _ => bail!("it holds no private key in PKCS#8 form"),
        }
    }

    /// Whether a passphrase opens it.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.label == ENCRYPTED
    }

    /// The key.
    pub(crate) fn open(&self, passphrase: &str) -> anyhow::Result<SigningKey> {
        let plain = if self.is_encrypted() {
            let closed = EncryptedPrivateKeyInfoRef::try_from(self.document.as_bytes());
            let closed = closed
                .map_err(|_| anyhow::anyhow!("the key is encrypted in a way that is not known here"))?;
            let opened = closed.decrypt(passphrase);
            opened.map_err(|_| anyhow::anyhow!("the passphrase does not open this key"))?
        } else {
            self.document.clone()
        };
        let pem = plain.to_pem(PLAIN, LineEnding::LF).map_err(|_| anyhow::anyhow!("the key is broken"))?;
        SigningKey::from_pkcs8_pem(&pem).context("the passphrase opens something that is no Ed25519 key")
    }
}

/// A new key, and the file that holds it.
pub(crate) struct NewKey {
    pub(crate) key: SigningKey,
    text: Zeroizing<String>,
}

impl NewKey {
    /// Makes one.
    pub(crate) fn make(name: &ApproverName, passphrase: &str, entropy: &dyn Entropy) -> anyhow::Result<Self> {
        let seed = Zeroizing::new(entropy.thirty_two());
        let key = SigningKey::from_seed(&seed);
        let pem = key.to_pkcs8_pem().context("failed to write the key")?;
        let broken = |_| anyhow::anyhow!("failed to encrypt the key");
        let (_, plain) =
            SecretDocument::from_pem(pem.expose()).map_err(|_| anyhow::anyhow!("failed to write the key"))?;
        let plain = PrivateKeyInfoRef::try_from(plain.as_bytes()).map_err(broken)?;
        let cost =
            scrypt::Params::new(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P).context("failed to set up scrypt")?;
        let parameters = Parameters::generate_scrypt_aes256cbc(cost, &entropy.sixteen(), entropy.sixteen());
        let parameters = parameters.map_err(|error| broken(pkcs8::Error::from(error)))?;
        let closed = plain.encrypt_with_params(parameters, passphrase).map_err(broken)?;
        let pem = closed
            .to_pem(ENCRYPTED, LineEnding::LF)
            .map_err(|_| anyhow::anyhow!("failed to write the key"))?;
        let text = Zeroizing::new(format!("{NAME}{name}\n{}", pem.as_str()));
        Ok(Self { key, text })
    }

    /// Writes it to a file that is not there yet, for its owner alone.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let what = || format!("failed to write {}", path.display());
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(path).with_context(what)?;
        let written = file.write_all(self.text.as_bytes()).and_then(|()| file.sync_all());
        if written.is_err() {
            // Half a key is none.
            drop(fs::remove_file(path));
        }
        written.with_context(what)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::{KeyFile, NewKey};
    use crate::ports::SystemEntropy;

    const PASSPHRASE: &str = "correct horse battery";

    #[test]
    fn a_key_opens_by_its_passphrase_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anna.key");
        let made = NewKey::make(&"anna".parse().unwrap(), PASSPHRASE, &SystemEntropy).unwrap();
        made.write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = KeyFile::read(&path).unwrap();
        assert_eq!((read.name.as_ref().map(|name| name.as_str()), read.is_encrypted()), (Some("anna"), true));
        assert_eq!(read.open(PASSPHRASE).unwrap().key_id(), made.key.key_id());
        for wrong in ["", "correct horse batterx"] {
            assert!(read.open(wrong).unwrap_err().to_string().contains("does not open"), "{wrong}");
        }
        // What is there is never written over.
        assert!(made.write(&path).is_err());
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(KeyFile::read(&path).err().unwrap().to_string().contains("chmod 600"));
    }

    #[test]
    fn the_file_says_nothing_of_the_key_without_the_passphrase() {
        let made = NewKey::make(&"anna".parse().unwrap(), PASSPHRASE, &SystemEntropy).unwrap();
        let text = made.text.to_string();
        assert!(text.starts_with("approver: anna\n-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), "{text}");
        let plain = made.key.to_pkcs8_pem().unwrap();
        let body = plain.expose().lines().nth(1).unwrap();
        assert!(!text.contains(&body[body.len() - 40..]));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let public = NewKey::make(&"a".parse().unwrap(), PASSPHRASE, &SystemEntropy).unwrap();
        let public = public.key.verifying_key().to_spki_pem().unwrap();
        for text in
            ["", "approver: a\n", "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n", &public]
        {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            assert!(KeyFile::read(&path).is_err(), "{text}");
        }
    }
}
