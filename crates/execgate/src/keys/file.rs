//! Files of keys: written whole or not at all, synced with their folder, and refused where others can read a secret.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use execgate_model::{Entropy, InstanceId};
use execgate_receipt::SigningKey;

/// For the owner alone.
const SECRET: u32 = 0o600;

/// For everybody.
const PUBLIC: u32 = 0o644;

/// Makes the folder of keys, which everybody may look into.
pub(crate) fn make_folder(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        return Ok(());
    }
    let made = DirBuilder::new().mode(0o755).recursive(true).create(folder);
    made.context("failed to make the folder of keys")
}

/// A new secret under a name that nobody has; of two that are written at once the first stays.
pub(crate) fn write_secret(path: &Path, key: &SigningKey, entropy: &dyn Entropy) -> anyhow::Result<()> {
    let pem = key.to_pkcs8_pem().context("failed to write a key")?;
    write_new(path, pem.expose().as_bytes(), entropy)
}

/// A file for the owner alone under a name that nobody has; of two that are written at once the first stays.
pub(crate) fn write_new(path: &Path, bytes: &[u8], entropy: &dyn Entropy) -> anyhow::Result<()> {
    let partial = write_partial(path, bytes, SECRET, entropy)?;
    let linked = fs::hard_link(&partial, path);
    let removed = fs::remove_file(&partial);
    let what = || format!("failed to write {}", path.display());
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error).with_context(what),
        Ok(()) | Err(_) => removed.with_context(what)?,
    }
    sync_folder(path)
}

/// Reads a secret that nobody else can read.
pub(crate) fn read_secret(path: &Path) -> anyhow::Result<SigningKey> {
    let look = || format!("failed to look at the key {}", path.display());
    let mode = fs::metadata(path).with_context(look)?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!("the key can be read by others; run: chmod 600 {}", path.display());
    }
    let pem =
        fs::read_to_string(path).with_context(|| format!("failed to read the key {}", path.display()))?;
    SigningKey::from_pkcs8_pem(&pem).with_context(|| format!("{} is no PKCS#8 Ed25519 key", path.display()))
}

/// Puts a public file in the place of the one that is there.
pub(crate) fn replace_public(path: &Path, bytes: &[u8], entropy: &dyn Entropy) -> anyhow::Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    replace(path, bytes, PUBLIC, entropy)
}

/// Puts a file for the owner alone in the place of the one that is there.
pub(crate) fn replace_secret(path: &Path, bytes: &[u8], entropy: &dyn Entropy) -> anyhow::Result<()> {
    replace(path, bytes, SECRET, entropy)
}

fn replace(path: &Path, bytes: &[u8], mode: u32, entropy: &dyn Entropy) -> anyhow::Result<()> {
    let partial = write_partial(path, bytes, mode, entropy)?;
    fs::rename(&partial, path).with_context(|| format!("failed to write {}", path.display()))?;
    sync_folder(path)
}

/// Removes a file, which may be gone already.
pub(crate) fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("failed to remove {}", path.display())),
        Ok(()) => sync_folder(path),
    }
}

fn write_partial(path: &Path, bytes: &[u8], mode: u32, entropy: &dyn Entropy) -> anyhow::Result<PathBuf> {
    let partial = path.with_extension(InstanceId::from_entropy(entropy.sixteen()).to_string());
    let what = || format!("failed to write {}", path.display());
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&partial).with_context(what)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // What is half written is nobody's key.
        drop(fs::remove_file(&partial));
    }
    written.with_context(what)?;
    Ok(partial)
}

fn sync_folder(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().context("a key lies in a folder")?;
    File::open(folder).and_then(|folder| folder.sync_all()).context("failed to sync the folder of keys")
}
