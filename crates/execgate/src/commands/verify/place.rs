//! A receipt's place in a log: who vouches for the log of a proof, and whether the proof holds.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use execgate_model::Digest;
use execgate_receipt::{Checkpoint, LogProof, VerifierKey};

/// What was found of a receipt's place.
pub(super) enum Place {
    /// It is there.
    Proved {
        /// The finding in words.
        said: String,
        /// Which entry it is, from 0, of the log that the key ring names; none where the log is another.
        index: Option<u64>,
    },
    /// It was not looked for, or nobody vouches for what was found; and why.
    Unproved(String),
}

/// Whose word about a place counts, and whether it has to be proved.
pub(super) struct Asked<'a> {
    /// A proof beside the receipt.
    pub(super) file: Option<&'a PathBuf>,
    /// Keys of logs that were named. With them a receipt must be in one of these logs.
    pub(super) named: Vec<VerifierKey>,
    /// The keys of the log that the key ring names, under all its names.
    pub(super) ring: Vec<VerifierKey>,
    /// Those of them that are retired, with how many entries the log had then.
    pub(super) retired: Vec<(VerifierKey, u64)>,
    /// Keys of logs that lie in the data directory.
    pub(super) folder: Vec<VerifierKey>,
    /// Witnesses that must have cosigned the checkpoint of the proof.
    pub(super) witnesses: &'a [VerifierKey],
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
        return Ok(if asked.named.is_empty() && asked.witnesses.is_empty() {
            Ok(Place::Unproved("not supplied".to_owned()))
        } else {
            Err(anyhow!("the receipt comes without a proof that it is in a log"))
        });
    };
    Ok(LogProof::parse(proof).map_err(|error| told(&error)).and_then(|proof| asked.judge(leaf, &proof)))
}

impl Asked<'_> {
    /// Keys that were named come before those of the ring, and these before what happens to lie in a folder.
    fn judge(&self, leaf: Digest, proof: &LogProof) -> anyhow::Result<Place> {
        if !self.named.is_empty() {
            return self.prove(leaf, proof, &self.named);
        }
        if let Some(keys) = [&self.ring, &self.folder].into_iter().find(|keys| vouch(keys, proof)) {
            return self.prove(leaf, proof, keys);
        }
        let retired = self.retired.iter().find(|(key, _)| signs(key, proof));
        if let Some((key, size)) = retired {
            return self.prove_retired(leaf, proof, key, *size);
        }
        let text = proof.checkpoint.unverified_text();
        let origin = text.parse::<Checkpoint>().map_or_else(|_| "?".to_owned(), |head| head.origin);
        let why = format!("not checked: no key of the log `{origin}` is trusted; name it by --log-key");
        if self.witnesses.is_empty() { Ok(Place::Unproved(why)) } else { Err(anyhow!(why)) }
    }

    fn prove(&self, leaf: Digest, proof: &LogProof, keys: &[VerifierKey]) -> anyhow::Result<Place> {
        let known = [keys, self.witnesses].concat();
        let (head, attested) = proof.verify(leaf.as_bytes(), &known).map_err(|error| told(&error))?;
        let lacking =
            self.witnesses.iter().find(|witness| !attested.iter().any(|found| found.key == *witness));
        if let Some(witness) = lacking {
            return Err(anyhow!("`{}` has not cosigned the checkpoint of the proof", witness.name()));
        }
        let is_ours = attested.iter().any(|found| self.ring.contains(found.key));
        let mut said = format!("holds: entry {} of {} in {}", proof.index, head.size, head.origin);
        if !self.witnesses.is_empty() {
            said.push_str(", cosigned");
        }
        Ok(Place::Proved { said, index: is_ours.then_some(proof.index) })
    }

    /// What a retired key has signed counts only by the word of somebody else, and as far as the key counts.
    fn prove_retired(
        &self,
        leaf: Digest,
        proof: &LogProof,
        key: &VerifierKey,
        size: u64,
    ) -> anyhow::Result<Place> {
        let known = [core::slice::from_ref(key), self.witnesses].concat();
        let (head, _) = proof.verify(leaf.as_bytes(), &known).map_err(|error| told(&error))?;
        let id = key.key().key_id();
        if head.size > size {
            return Err(anyhow!(
                "the checkpoint of {} entries is signed by the log key {id}, which was retired at size {size}",
                head.size
            ));
        }
        if self.witnesses.is_empty() {
            return Ok(Place::Unproved(format!(
                "not checked: the log key {id} was retired at size {size}; ask the gateway for the receipt anew, or name by \
                 --cosigned-by who has cosigned it"
            )));
        }
        let proved = self.prove(leaf, proof, core::slice::from_ref(key))?;
        Ok(match proved {
            Place::Proved { said, .. } => Place::Proved { said, index: Some(proof.index) },
            unproved @ Place::Unproved(_) => unproved,
        })
    }
}

/// Whether one of these keys is said to have signed the checkpoint of a proof.
fn vouch(keys: &[VerifierKey], proof: &LogProof) -> bool {
    keys.iter().any(|key| signs(key, proof))
}

fn signs(key: &VerifierKey, proof: &LogProof) -> bool {
    let lines = proof.checkpoint.signatures();
    lines.iter().any(|line| line.name() == key.name() && line.key_id() == key.id())
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
