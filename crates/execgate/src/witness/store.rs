//! What a witness remembers: of each log the last checkpoint that it cosigned. One small file, replaced whole and synced
//! before anything is said.
//!
//! A witness that has forgotten would cosign a fork. So a folder with a key and without its memory is refused, and what
//! cannot be read is never taken for nothing.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use execgate_model::{Digest, Entropy};
use execgate_receipt::{CosignerKey, KeyName, SigningKey, Submission, parse_strict};
use serde::{Deserialize, Serialize};

use crate::keys::file;

/// The version of the file.
const VERSION: u32 = 1;

/// The file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Memory {
    version: u32,
    /// The name that the key was made for. Cosignatures do not say it, so that it must not change.
    name: String,
    /// By origin.
    logs: BTreeMap<String, Cosigned>,
}

/// The last checkpoint that was cosigned of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cosigned {
    size: u64,
    root: Digest,
    /// The note as it came.
    checkpoint: String,
    /// The first checkpoint that contradicts it, of the same size and under a key of the log: with the other one the
    /// proof that the log was forked.
    fork: Option<String>,
}

/// The folder of one witness, which no other process uses.
pub(crate) struct WitnessStore {
    path: PathBuf,
    memory: Memory,
    entropy: Arc<dyn Entropy>,
    _lock: File,
}

impl WitnessStore {
    /// Opens the folder of a witness, or makes it; `name` is asked for then, and must be the same later.
    pub(crate) fn open(
        folder: &Path,
        name: Option<&KeyName>,
        entropy: Arc<dyn Entropy>,
    ) -> anyhow::Result<(Self, CosignerKey)> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.with_context(|| format!("failed to make the folder {}", folder.display()))?;
        let lock = lock(folder)?;
        let (path, key_path) = (folder.join("state.json"), folder.join("witness.key"));
        let is_new = !path.exists();
        let memory = if is_new {
            if key_path.exists() {
                bail!(
                    "{} has a key and no state.json: what this witness cosigned is lost, and it could cosign a fork; \
                     bring the file back, or make another witness in another folder",
                    folder.display()
                );
            }
            let name = name.context("a new witness needs a name: --name witness.example/w1")?;
            Memory { version: VERSION, name: name.to_string(), logs: BTreeMap::new() }
        } else {
            read(&path)?
        };
        if let Some(name) = name.filter(|name| name.as_str() != memory.name) {
            bail!("the key of this witness is that of `{}`, and not of `{name}`", memory.name);
        }
        let name: KeyName = memory.name.parse().context("state.json has a bad name")?;
        let store = Self { path, memory, entropy, _lock: lock };
        // The memory is there before the key: a key without it is one that has lost it.
        if is_new {
            store.write(&store.memory)?;
        }
        if !key_path.exists() {
            if !store.memory.logs.is_empty() {
                bail!("the key {} is gone; bring it back, or make another witness", key_path.display());
            }
            let key = SigningKey::from_seed(&store.entropy.thirty_two());
            file::write_secret(&key_path, &key, &*store.entropy)?;
        }
        Ok((store, CosignerKey::new(name, file::read_secret(&key_path)?)))
    }

    /// Size and root of the last checkpoint that was cosigned of a log.
    pub(crate) fn last(&self, origin: &str) -> Option<(u64, Digest)> {
        self.memory.logs.get(origin).map(|log| (log.size, log.root))
    }

    /// The logs that were seen forked.
    pub(crate) fn forked(&self) -> impl Iterator<Item = &str> {
        self.memory.logs.iter().filter(|(_, log)| log.fork.is_some()).map(|(origin, _)| origin.as_str())
    }

    /// Remembers a checkpoint in the place of the one before. It is durable when this returns.
    pub(crate) fn remember(&mut self, admitted: &Submission) -> anyhow::Result<()> {
        let (size, root) = (admitted.head.size, admitted.head.root);
        if self.last(&admitted.head.origin) == Some((size, root)) {
            return Ok(());
        }
        let fork = self.memory.logs.get(&admitted.head.origin).and_then(|log| log.fork.clone());
        let cosigned = Cosigned { size, root, checkpoint: admitted.note.clone(), fork };
        let mut memory = self.memory.clone();
        memory.logs.insert(admitted.head.origin.clone(), cosigned);
        self.write(&memory)?;
        self.memory = memory;
        Ok(())
    }

    /// Keeps the first checkpoint that contradicts what was cosigned of a log.
    pub(crate) fn keep_fork(&mut self, origin: &str, note: &str) -> anyhow::Result<()> {
        let mut memory = self.memory.clone();
        let Some(log) = memory.logs.get_mut(origin).filter(|log| log.fork.is_none()) else { return Ok(()) };
        log.fork = Some(note.to_owned());
        self.write(&memory)?;
        self.memory = memory;
        Ok(())
    }

    fn write(&self, memory: &Memory) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(memory).context("failed to write what was cosigned")?;
        file::replace_secret(&self.path, &text, &*self.entropy)
    }
}

fn read(path: &Path) -> anyhow::Result<Memory> {
    let what = || format!("{} is not what a witness has written", path.display());
    let bytes = fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
    let value = parse_strict(&bytes).with_context(what)?;
    let memory: Memory = serde_json::from_value(value).with_context(what)?;
    if memory.version != VERSION {
        bail!("{} was written by another version of this program", path.display());
    }
    Ok(memory)
}

/// Two processes over one memory would cosign twice.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("lock");
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let lock = opened.with_context(|| format!("failed to open {}", path.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => bail!("another witness works in {}", folder.display()),
        Err(TryLockError::Error(error)) => Err(error).context("failed to lock the folder of the witness"),
    }
}
