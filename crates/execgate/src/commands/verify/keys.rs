//! Which keys of logs are trusted: those that are named, those of a key ring, and those in a data directory.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use execgate_receipt::VerifierKey;

use super::super::cli::DataDir;
use crate::keys::{self, Trusted};

/// The keys in a data directory, where it has some.
pub(super) fn of_folder(data: &DataDir) -> anyhow::Result<Vec<VerifierKey>> {
    let path = keys::log_verifiers_path(&data.data_dir);
    if path.exists() { of_file(&path) } else { Ok(Vec::new()) }
}

/// The keys that are named; else those of a ring and of the data directory, but for what the ring calls retired.
pub(super) fn of_checkpoints(
    named: &[String],
    trusted: Option<&Trusted>,
    data: &DataDir,
) -> anyhow::Result<Vec<VerifierKey>> {
    if !named.is_empty() {
        return of_names(named);
    }
    let mut keys = of_folder(data)?;
    if let Some(ring) = trusted.and_then(Trusted::ring) {
        let retired = ring.retired_log_keys();
        keys.retain(|key| !retired.iter().any(|(retired, _)| retired.key() == key.key()));
        keys.extend(ring.log_keys());
    }
    Ok(keys)
}

/// The keys that are named, by file or as text.
pub(super) fn of_names(named: &[String]) -> anyhow::Result<Vec<VerifierKey>> {
    let mut keys = Vec::new();
    for name in named {
        // A verifier key has two plus signs at the least, and a name that no file needs to have.
        match name.parse() {
            Ok(key) => keys.push(key),
            Err(_) => keys.extend(of_file(&PathBuf::from(name))?),
        }
    }
    Ok(keys)
}

fn of_file(path: &PathBuf) -> anyhow::Result<Vec<VerifierKey>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("failed to read the keys {}", path.display()))?;
    let read = |line: &str| {
        line.parse().with_context(|| format!("{} holds something other than verifier keys", path.display()))
    };
    let keys: Vec<VerifierKey> =
        text.lines().filter(|line| !line.is_empty()).map(read).collect::<Result<_, _>>()?;
    if keys.is_empty() {
        bail!("{} holds no verifier key", path.display());
    }
    Ok(keys)
}
