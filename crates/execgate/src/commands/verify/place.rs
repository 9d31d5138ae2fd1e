//! A receipt's place in a log.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use execgate_model::Digest;
use execgate_receipt::{LogProof, VerifierKey};

/// What was found of a receipt's place.
pub(super) enum Place {
    /// It is there.
    Proved {
        /// The finding in words.
        said: String,
        /// Which entry it is, from 0.
        index: u64,
    },
    /// It was not looked for, and why.
    Unproved(&'static str),
}

/// Whose word about a place counts, and whether it has to be proved.
pub(super) struct Asked<'a> {
    /// A proof beside the receipt.
    pub(super) file: Option<&'a PathBuf>,
    /// Keys of logs.
    pub(super) keys: Vec<VerifierKey>,
    /// Whether a receipt without a proof is not good.
    pub(super) must: bool,
}

/// Checks that a leaf is in a log. The outer error is of the way, the inner what does not hold.
pub(super) fn check(
    leaf: Digest,
    within: Option<&str>,
    asked: &Asked<'_>,
) -> anyhow::Result<anyhow::Result<Place>> {
    let beside = match asked.file {
        Some(path) => {
            Some(fs::read(path).with_context(|| format!("failed to read the proof {}", path.display()))?)
        }
        None => None,
    };
    let Some(proof) = beside.as_deref().or(within.map(str::as_bytes)) else {
        return Ok(if asked.must {
            Err(anyhow!("the receipt comes without a proof that it is in a log"))
        } else {
            Ok(Place::Unproved("not supplied"))
        });
    };
    if asked.keys.is_empty() {
        return Ok(Ok(Place::Unproved("not checked: no key of a log is trusted; name it by --log-key")));
    }
    let verified = LogProof::parse(proof).and_then(|proof| {
        let (head, _) = proof.verify(leaf.as_bytes(), &asked.keys)?;
        let said = format!("holds: entry {} of {} in {}", proof.index, head.size, head.origin);
        Ok(Place::Proved { said, index: proof.index })
    });
    Ok(verified.map_err(|error| told(&error)))
}

/// An error with what is behind it, in one line.
pub(super) fn told(error: &dyn core::error::Error) -> anyhow::Error {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(behind) = cause {
        text = format!("{text}: {behind}");
        cause = behind.source();
    }
    anyhow!(text)
}
