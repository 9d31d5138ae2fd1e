//! Which keys of logs are trusted.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use execgate_receipt::VerifierKey;

use super::super::cli::DataDir;
use crate::keys;

/// The keys that are named, by file or as text; else those of the data directory, where it has some.
pub(super) fn log_keys(named: &[String], data: &DataDir) -> anyhow::Result<Vec<VerifierKey>> {
    if named.is_empty() {
        let path = keys::log_verifiers_path(&data.data_dir);
        return if path.exists() { of_file(&path) } else { Ok(Vec::new()) };
    }
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
