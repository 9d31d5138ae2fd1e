//! The start: what was seen outside of the record is compared with it; and the names that a log takes.
//! Sole judge of restored records: every change here needs a second reader.

use execgate_model::{Digest, KeyPurpose};
use execgate_receipt::{
    Checkpoint, CheckpointError, KeyName, NoteAlgorithm, SignedNote, VerifierKey, VerifyingKey, empty_root,
};
use execgate_store::{Change, LogEpoch, LogHead, LogStanding, StoreError};

use super::keeper::Working;
use super::sequence::{Stepped, end_gone};
use super::{Log, LogError, LogFault, Seen, SeenNote};

impl Log {
    /// Compares the record with what was seen outside of it, and gives the log its first name where it has none. To be
    /// awaited before anything runs; [`Self::fault`] then says what is wrong.
    ///
    /// # Errors
    /// [`LogError`] where the record or a place outside cannot be used at all.
    pub async fn open(&self) -> Result<(), LogError> {
        let mut working = self.working.lock().await;
        self.compare(&mut working).await
    }

    /// Gives the log its next name, and goes on under it from the record as it is. `change` is what is said of that.
    ///
    /// False where it has another number of names than `after`: somebody else was first.
    ///
    /// # Errors
    /// [`LogError`]: where only the last step failed, the name is new already.
    pub async fn rename(&self, after: u64, origin: &str, change: Change) -> Result<bool, LogError> {
        let mut working = self.working.lock().await;
        // Until the end: nothing that was read under the name before may be kept behind the new one.
        let mut kept = self.kept.lock().await;
        let now = self.parts.clock.now();
        // Outside first, so that nothing but this passes over what was seen there: a record that says of itself that it was
        // named anew is not believed. What dies in between is told as a foreign name, and is named again.
        let standing = self.parts.store.log_standing().await?;
        if standing.epoch.as_ref().map_or(0, |epoch| epoch.number) != after {
            return Ok(false);
        }
        self.keep_outside(origin, standing.hashed, self.root(standing.hashed).await?).await?;
        if !self.parts.store.log_begin(after, origin.to_owned(), now, Some(change)).await? {
            return Ok(false);
        }
        (*working, *kept) = (Working::default(), None);
        self.parts.gate.set(None);
        while self.step(&mut working).await? == Stepped::More {}
        self.keep_newest(&mut kept).await?;
        Ok(true)
    }

    pub(super) async fn compare(&self, working: &mut Working) -> Result<(), LogError> {
        *working = Working::default();
        let mut kept = self.kept.lock().await;
        *kept = None;
        let mut seen = self.parts.outside.read().await;
        self.recall(&mut seen).await?;
        let standing = self.parts.store.log_standing().await?;
        let fault = self.judge(working, &standing, &seen).await?;
        working.faulted_in = Some(standing.epoch.as_ref().map_or(0, |epoch| epoch.number));
        if let Some(fault) = &fault {
            tracing::error!(%fault, "live runs are refused: the log is not what it was");
        } else {
            if standing.epoch.is_none() {
                self.begin(&seen).await?;
            }
            self.fill_places(&mut kept, &seen).await?;
        }
        self.parts.gate.set(fault);
        Ok(())
    }

    /// What the record knows of places that are empty: one in which a checkpoint lay once must have one always.
    async fn recall(&self, seen: &mut [Seen]) -> Result<(), LogError> {
        let places = self.parts.store.log_places().await?;
        for Seen { place, note } in seen {
            if let SeenNote::Nothing { always } = note {
                *always |= places.contains(place);
            }
        }
        Ok(())
    }

    /// Keeps a checkpoint in places that the operator has named since, and notes every place in which one lies.
    async fn fill_places(&self, kept: &mut Option<LogHead>, seen: &[Seen]) -> Result<(), LogError> {
        if seen.iter().any(|seen| matches!(seen.note, SeenNote::Nothing { .. })) {
            self.keep_newest(kept).await?;
        }
        let known = self.parts.store.log_places().await?;
        for Seen { place, note } in self.parts.outside.read().await {
            if matches!(note, SeenNote::Text(_)) && !known.contains(&place) {
                self.parts.store.log_note_place(place, self.parts.clock.now()).await?;
            }
        }
        Ok(())
    }

    /// Takes the first name. Something lies outside before anything lies in the record, so that a record with a log is
    /// never without.
    async fn begin(&self, seen: &[Seen]) -> Result<(), LogError> {
        let origin = self.parts.origin.as_str();
        if seen.iter().any(|seen| !matches!(seen.note, SeenNote::Text(_))) {
            self.keep_outside(origin, 0, empty_root()).await?;
        }
        self.parts.store.log_begin(0, origin.to_owned(), self.parts.clock.now(), None).await?;
        Ok(())
    }

    /// Keeps a head outside, under a name that the record may not have yet.
    async fn keep_outside(&self, origin: &str, size: u64, root: Digest) -> Result<(), LogError> {
        let note = self.seal(origin, size, root)?;
        let kept = self.parts.outside.keep(note.to_string()).await;
        kept.map_err(|(place, source)| LogError::Outside { place, source })
    }

    async fn judge(
        &self,
        working: &mut Working,
        standing: &LogStanding,
        seen: &[Seen],
    ) -> Result<Option<LogFault>, LogError> {
        if let Some(fault) = end_gone(standing) {
            return Ok(Some(fault));
        }
        let epochs = self.parts.store.log_epochs().await?;
        for Seen { place, note } in seen {
            let fault = match note {
                SeenNote::Unreadable => Some(LogFault::Unreadable { place: place.clone() }),
                SeenNote::Nothing { always: true } if !epochs.is_empty() => {
                    Some(LogFault::Missing { place: place.clone() })
                }
                SeenNote::Nothing { .. } => None,
                SeenNote::Text(text) => self.judge_note(working, standing, &epochs, place, text).await?,
            };
            if fault.is_some() {
                return Ok(fault);
            }
        }
        Ok(None)
    }

    /// Holds a checkpoint that was seen against the record.
    async fn judge_note(
        &self,
        working: &mut Working,
        standing: &LogStanding,
        epochs: &[LogEpoch],
        place: &str,
        text: &str,
    ) -> Result<Option<LogFault>, LogError> {
        let place = place.to_owned();
        let Some(head) = self.read_note(text).await? else { return Ok(Some(LogFault::Unsigned { place })) };
        let named = epochs.iter().find(|epoch| epoch.origin == head.origin);
        let is_first_word = epochs.is_empty() && head.size == 0 && head.origin == self.parts.origin.as_str();
        // An older name is held against the record like the newest: to go on from less, the name outside is changed first.
        match named {
            None if is_first_word => return Ok(None),
            None => return Ok(Some(LogFault::Foreign { place, origin: head.origin })),
            Some(_) => {}
        }
        if head.size > standing.leaves {
            return Ok(Some(LogFault::Behind { place, seen: head.size, leaves: standing.leaves }));
        }
        match self.root_of(working, head.size).await {
            Ok(root) if root == head.root => Ok(None),
            Ok(_) => Ok(Some(LogFault::Forked { place, size: head.size })),
            Err(LogError::Store(StoreError::Unreadable { column })) => Ok(Some(LogFault::Damaged { column })),
            Err(error) => Err(error),
        }
    }

    /// A checkpoint that a key of this log has signed, under whatever name. One that was replaced or retired counts too: what
    /// it has signed can only speak against the record.
    async fn read_note(&self, text: &str) -> Result<Option<Checkpoint>, LogError> {
        let Ok(note) = SignedNote::parse(text.as_bytes()) else { return Ok(None) };
        let Ok(named) = note.unverified_text().parse::<Checkpoint>() else { return Ok(None) };
        let Ok(mut keys) = self.verifiers(&named.origin) else { return Ok(None) };
        let Ok(origin) = named.origin.parse::<KeyName>() else { return Ok(None) };
        for own in self.parts.store.own_keys().await? {
            if let (KeyPurpose::Log, Ok(key)) = (own.purpose, VerifyingKey::from_bytes(&own.public)) {
                keys.push(VerifierKey::new(origin.clone(), NoteAlgorithm::Ed25519, key));
            }
        }
        let opened: Result<_, CheckpointError> = Checkpoint::open(&note, &keys);
        Ok(opened.ok().map(|(head, _)| head))
    }

    /// The root of the first entries, which are hashed first where a process died before it had.
    async fn root_of(&self, working: &mut Working, size: u64) -> Result<Digest, LogError> {
        let mut before = None;
        loop {
            let standing = self.parts.store.log_standing().await?;
            let Some(epoch) = standing.epoch.as_ref().filter(|_| standing.hashed < size) else { break };
            // Another process may have been faster once; what does not grow is told by the reading below.
            if before.replace(standing.hashed) == Some(standing.hashed) {
                break;
            }
            // Committed and not signed: nothing is said of it yet.
            self.extend(working, &standing, epoch).await?;
        }
        self.root(size).await
    }
}
