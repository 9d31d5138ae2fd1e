//! A checkpoint with the signatures of witnesses: whether each of those that are named has seen it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use execgate_model::UnixMs;
use execgate_receipt::{Checkpoint, SignedNote, Timestamp, VerifierKey};

use super::place::told;

/// What each witness said, in words.
type Said = Vec<(&'static str, String)>;

/// Checks that the log has signed a checkpoint, and every witness cosigned it. The outer error is of the way, the inner
/// what does not hold.
pub(super) fn check(
    path: &Path,
    logs: &[VerifierKey],
    witnesses: &[VerifierKey],
) -> anyhow::Result<anyhow::Result<Said>> {
    if logs.is_empty() {
        bail!("no key to trust: give the log's verifier key by --log-key, or the --data-dir of its gateway");
    }
    let bytes = fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
    let note = match SignedNote::parse(&bytes) {
        Ok(note) => note,
        Err(error) => return Ok(Err(told(&error))),
    };
    let known = [logs, witnesses].concat();
    let (head, attested) = match Checkpoint::open(&note, &known) {
        Ok(opened) => opened,
        Err(error) => return Ok(Err(told(&error))),
    };
    let mut said = vec![("log", format!("{} has signed {} entries", head.origin, head.size))];
    for witness in witnesses {
        let found = attested.iter().find(|found| found.key == witness).and_then(|found| found.unix_s);
        let Some(unix_s) = found else {
            return Ok(Err(anyhow!("`{}` has not cosigned it", witness.name())));
        };
        let at = Timestamp::new(UnixMs(unix_s.saturating_mul(1_000)))
            .map_or_else(|_| unix_s.to_string(), |at| at.to_string());
        said.push(("cosignature", format!("{} saw it at {at}", witness.name())));
    }
    Ok(Ok(said))
}
