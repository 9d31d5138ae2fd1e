//! What others are shown: checkpoints, tiles, entries and proofs, never beyond the newest signed head.

use core::time::Duration;

use execgate_model::RunId;
use execgate_receipt::{
    Checkpoint, Consistency, LogProof, Reading, ReadingError, SignedNote, Tile, TileKind, VerifierKey,
    entry_bundle,
};
use execgate_store::{LogCheckpoint, LogLeaf, LogStanding, StoreError};

use tokio::time::{Instant, timeout_at};

use super::{Log, LogError};

/// How long somebody who asks for a proof waits for it: the 50 ms in which it is promised, and a slow disk.
const PROOF_WAIT: Duration = Duration::from_millis(500);

impl Log {
    /// Where the log stands.
    ///
    /// # Errors
    /// A record that failed.
    pub async fn standing(&self) -> Result<LogStanding, StoreError> {
        self.parts.store.log_standing().await
    }

    /// The newest signed checkpoint, with the lines of the witnesses that have cosigned it already; none before the
    /// first.
    ///
    /// # Errors
    /// A record that failed.
    pub async fn checkpoint(&self) -> Result<Option<String>, StoreError> {
        let Some(newest) = self.parts.store.log_checkpoint().await? else { return Ok(None) };
        let cosigned = self.parts.store.log_cosigned(newest.head.epoch).await?;
        let of_it = cosigned.into_iter().filter(|cosigned| cosigned.head == newest.head);
        Ok(newest.note.map(|note| together(note, of_it.map(|cosigned| cosigned.note))))
    }

    /// The newest checkpoint that a witness has cosigned, with the lines of all that have; none before the first.
    ///
    /// # Errors
    /// A record that failed.
    pub async fn cosigned(&self) -> Result<Option<String>, StoreError> {
        let Some(epoch) = self.parts.store.log_standing().await?.epoch else { return Ok(None) };
        let mut cosigned = self.parts.store.log_cosigned(epoch.number).await?.into_iter();
        let Some(newest) = cosigned.next() else { return Ok(None) };
        let others = cosigned.filter(|other| other.head == newest.head).map(|other| other.note);
        Ok(Some(together(newest.note, others)))
    }

    /// What readers must know to verify the newest checkpoint; none before the log has a name.
    ///
    /// # Errors
    /// A record that failed, or a name in it that is none.
    pub async fn key(&self) -> Result<Option<VerifierKey>, LogError> {
        let epoch = self.parts.store.log_standing().await?.epoch;
        let keys = epoch.map(|epoch| self.verifiers(&epoch.origin)).transpose()?;
        Ok(keys.and_then(|keys| keys.into_iter().next()))
    }

    /// The bytes of a tile; none where the newest signed head does not have all of it.
    ///
    /// # Errors
    /// A record that failed.
    pub async fn tile(&self, tile: &Tile) -> Result<Option<Vec<u8>>, StoreError> {
        let size = self.parts.store.log_checkpoint().await?.map_or(0, |newest| newest.head.size);
        if !tile.is_within(size) {
            return Ok(None);
        }
        Ok(Some(match tile.kind() {
            TileKind::Hashes(_) => {
                let hashes = self.hashes(tile.nodes()).await?;
                hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
            }
            TileKind::Entries => {
                let leaves = self.parts.store.log_leaves(tile.start(), tile.width().into()).await?;
                let entries: Vec<_> = leaves.iter().map(|leaf| leaf.digest).collect();
                entry_bundle(&entries)
            }
        }))
    }

    /// The proof that the receipt of a run is in the log; none before a signed head has it, and enough witnesses have seen
    /// that.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn proof(&self, run: RunId) -> Result<Option<LogProof>, LogError> {
        let Some(index) = self.parts.store.log_place(run).await? else { return Ok(None) };
        let Some((size, checkpoint)) = self.vouched_for(index).await? else { return Ok(None) };
        let path = self.made(&Reading::inclusion(index, size)?).await?;
        Ok(Some(LogProof { extra: None, index, path, checkpoint }))
    }

    /// The proof as [`Self::proof`] gives it, once it is there: a run that has just ended is in the log some milliseconds
    /// later.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn proof_soon(&self, run: RunId) -> Result<Option<LogProof>, LogError> {
        let mut signed = self.signed.subscribe();
        let patience = Instant::now() + PROOF_WAIT;
        loop {
            signed.mark_unchanged();
            let proof = self.proof(run).await?;
            let grows = proof.is_none() && *signed.borrow() > 0 && self.fault().is_none();
            if !grows || timeout_at(patience, signed.changed()).await.is_err() {
                return Ok(proof);
            }
        }
    }

    /// The proof that an older size is the beginning of the newest signed head; none before there is one.
    ///
    /// # Errors
    /// [`ReadingError::Beyond`] for a size that the log has not had.
    pub async fn consistency(&self, older: u64) -> Result<Option<Consistency>, LogError> {
        let Some((size, newer)) = self.newest().await? else { return Ok(None) };
        if older > size {
            return Err(ReadingError::Beyond { wanted: older, size }.into());
        }
        let path = self.made(&Reading::consistency(older, size)?).await?;
        Ok(Some(Consistency { older, path, newer }))
    }

    /// Entries from an index on, with what they stand for.
    ///
    /// # Errors
    /// A record that failed, or in which one is missing.
    pub async fn entries(&self, from: u64, limit: u32) -> Result<Vec<LogLeaf>, StoreError> {
        self.parts.store.log_leaves(from, limit).await
    }

    /// The checkpoint that a proof of an entry leads to: the newest that witnesses have cosigned, where one has the entry,
    /// so that whoever keeps the proof has their word; else the newest.
    async fn vouched_for(&self, index: u64) -> Result<Option<(u64, SignedNote)>, LogError> {
        let Some((size, newest)) = self.newest().await? else { return Ok(None) };
        let Some(epoch) = self.parts.store.log_standing().await?.epoch else { return Ok(None) };
        let keys = self.verifiers(&epoch.origin)?;
        let cosigned = self.parts.store.log_cosigned(epoch.number).await?;
        for found in cosigned.iter().filter(|found| (index + 1..=size).contains(&found.head.size)) {
            let alike: Vec<_> = cosigned.iter().filter(|other| other.head == found.head).collect();
            if alike.len() < self.parts.required {
                continue;
            }
            let note = together(found.note.clone(), alike.into_iter().map(|other| other.note.clone()));
            let note = SignedNote::parse(note.as_bytes())?;
            // One that a key has signed which is retired by now is nothing to a reader.
            if Checkpoint::open(&note, &keys).is_ok() {
                return Ok(Some((found.head.size, note)));
            }
        }
        Ok(Some((size, newest)).filter(|(size, _)| index < *size && self.parts.required == 0))
    }

    async fn newest(&self) -> Result<Option<(u64, SignedNote)>, LogError> {
        let newest: Option<LogCheckpoint> = self.parts.store.log_checkpoint().await?;
        let Some((head, note)) = newest.and_then(|newest| Some((newest.head, newest.note?))) else {
            return Ok(None);
        };
        Ok(Some((head.size, SignedNote::parse(note.as_bytes())?)))
    }
}

/// One note of several over the same text. One that cannot be read is left out.
fn together(note: String, others: impl Iterator<Item = String>) -> String {
    let Ok(read) = SignedNote::parse(note.as_bytes()) else { return note };
    let mut signatures = read.signatures().to_vec();
    for other in others.filter_map(|other| SignedNote::parse(other.as_bytes()).ok()) {
        if other.unverified_text() == read.unverified_text() {
            let new: Vec<_> =
                other.signatures().iter().filter(|line| !signatures.contains(line)).cloned().collect();
            signatures.extend(new);
        }
    }
    SignedNote::new(read.unverified_text().to_owned(), signatures).map_or(note, |note| note.to_string())
}
