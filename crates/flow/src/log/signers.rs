//! The keys that sign the log. While a key is being replaced both sign, so that readers of either see every checkpoint.

use core::slice;
use std::sync::Arc;

use execgate_model::Digest;
use execgate_receipt::{Checkpoint, NoteAlgorithm, NoteError, NoteKey, SignedNote, SigningKey, VerifierKey};

use crate::witness::InForce;

/// The keys in force, which may be replaced while the log grows.
pub type LogKeys = InForce<LogSigners>;

/// The keys of a log, newest first; there is one at least.
pub struct LogSigners {
    newest: Arc<SigningKey>,
    older: Vec<Arc<SigningKey>>,
}

impl LogSigners {
    /// One key, and those before it that are not retired, newest first.
    #[must_use]
    pub const fn new(newest: Arc<SigningKey>, older: Vec<Arc<SigningKey>>) -> Self {
        Self { newest, older }
    }

    /// The newest.
    #[must_use]
    pub fn newest(&self) -> &SigningKey {
        &self.newest
    }

    /// Every key, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<SigningKey>> {
        slice::from_ref(&self.newest).iter().chain(&self.older)
    }

    /// What readers of a log of such a name know, newest first.
    ///
    /// # Errors
    /// [`NoteError::Name`].
    pub fn verifiers(&self, origin: &str) -> Result<Vec<VerifierKey>, NoteError> {
        let origin = origin.parse()?;
        let of = |key: &Arc<SigningKey>| {
            VerifierKey::new(Clone::clone(&origin), NoteAlgorithm::Ed25519, key.verifying_key())
        };
        Ok(self.iter().map(of).collect())
    }

    /// Signs a head under a name, with every key.
    ///
    /// # Errors
    /// [`NoteError`] where the name is none.
    pub fn seal(&self, origin: &str, size: u64, root: Digest) -> Result<SignedNote, NoteError> {
        let text = Checkpoint::new(origin.to_owned(), size, root).to_string();
        let sign = |key: &Arc<SigningKey>| NoteKey::new(origin.parse()?, Arc::clone(key)).sign(&text);
        let signatures = self.iter().map(sign).collect::<Result<_, _>>()?;
        SignedNote::new(text, signatures)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use execgate_receipt::{Checkpoint, SigningKey, empty_root};

    use super::LogSigners;

    #[test]
    fn readers_of_the_old_key_and_of_the_new_one_see_the_same_checkpoint() {
        let key = |seed| Arc::new(SigningKey::from_seed(&[seed; 32]));
        let (old, new) = (LogSigners::new(key(1), vec![]), LogSigners::new(key(2), vec![]));
        let both = LogSigners::new(key(2), vec![key(1)]);
        let note = both.seal("log.example", 0, empty_root()).unwrap();
        for readers in [&old, &new, &both] {
            let known = readers.verifiers("log.example").unwrap();
            let (_, attested) = Checkpoint::open(&note, &known).unwrap();
            assert_eq!(attested.len(), known.len());
        }
        let before = old.seal("log.example", 0, empty_root()).unwrap();
        assert!(Checkpoint::open(&before, &new.verifiers("log.example").unwrap()).is_err());
    }
}
