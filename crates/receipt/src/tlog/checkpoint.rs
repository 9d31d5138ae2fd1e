//! The text that a log signs: who it is, how many entries it has, and their root (C2SP tlog-checkpoint).
//!
//! A checkpoint must never count before the key of the log that it names has signed it: [`Checkpoint::open`].

use core::fmt;
use core::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use execgate_model::Digest;

use crate::note::{Attestation, NoteAlgorithm, NoteError, NoteKey, SignedNote, VerifierKey};

/// How many lines may follow that nobody here reads; we write none.
pub const MAX_EXTENSION_LINES: usize = 16;

/// Why a text is no checkpoint, or a note no checkpoint of a known log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The text is not an origin, a size and a root, each on a line of its own.
    #[error("the text is not that of a checkpoint")]
    Form,
    /// The note proves nothing.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The note is signed by known keys, but not by that of the log which the text names.
    #[error("the checkpoint of `{origin}` is not signed by a known key of that log")]
    NotTheLog {
        /// The log that the text names.
        origin: String,
    },
}

/// A tree head of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the log: one line, not empty.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The root of their tree.
    pub root: Digest,
    /// Lines of others after these.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// The head of a log that says nothing else.
    #[must_use]
    pub const fn new(origin: String, size: u64, root: Digest) -> Self {
        Self { origin, size, root, extensions: Vec::new() }
    }

    /// Signs it under the log's own name.
    ///
    /// # Errors
    /// [`NoteError::Text`] where the origin cannot stand in a note.
    pub fn sign(&self, key: &NoteKey) -> Result<SignedNote, NoteError> {
        let text = self.to_string();
        let signature = key.sign(&text)?;
        SignedNote::new(text, vec![signature])
    }

    /// Reads the checkpoint out of a note that a known key of its log has signed, and who else signed it.
    ///
    /// # Errors
    /// [`CheckpointError`] names what is wrong.
    pub fn open<'k>(
        note: &SignedNote,
        known: &'k [VerifierKey],
    ) -> Result<(Self, Vec<Attestation<'k>>), CheckpointError> {
        let (text, attested) = note.verify(known)?;
        let read: Self = text.parse()?;
        let of_the_log = |attestation: &Attestation<'_>| {
            attestation.key.algorithm() == NoteAlgorithm::Ed25519
                && attestation.key.name().as_str() == read.origin
        };
        if attested.iter().any(of_the_log) {
            Ok((read, attested))
        } else {
            Err(CheckpointError::NotTheLog { origin: read.origin })
        }
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let read = || {
            let mut lines = text.strip_suffix('\n')?.split('\n');
            let origin = lines.next().filter(|line| !line.is_empty())?.to_owned();
            let size = lines.next()?;
            let number: u64 = size.parse().ok().filter(|number: &u64| number.to_string() == size)?;
            let root = hash(lines.next()?)?;
            let extensions: Vec<_> = lines.map(str::to_owned).collect();
            let sound =
                extensions.len() <= MAX_EXTENSION_LINES && extensions.iter().all(|line| !line.is_empty());
            sound.then_some(Self { origin, size: number, root, extensions })
        };
        read().ok_or(CheckpointError::Form)
    }
}

impl fmt::Display for Checkpoint {
    /// The text of the note.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, hash_text(self.root))?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// A hash as a line of these texts.
pub(super) fn hash_text(hash: Digest) -> String {
    STANDARD.encode(hash.as_bytes())
}

/// Reads back what [`hash_text`] gave.
pub(super) fn hash(line: &str) -> Option<Digest> {
    STANDARD.decode(line).ok()?.try_into().ok().map(Digest::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::{Checkpoint, CheckpointError};
    use crate::key::SigningKey;
    use crate::note::{CosignerKey, NoteError, NoteKey};
    use crate::sha256;

    fn key(name: &str, seed: u8) -> NoteKey {
        NoteKey::new(name.parse().unwrap(), SigningKey::from_seed(&[seed; 32]))
    }

    #[test]
    fn a_checkpoint_reads_back_what_it_writes() {
        let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let read: Checkpoint = text.parse().unwrap();
        assert_eq!((read.origin.as_str(), read.size), ("example.com/behind-the-sofa", 20_852_163));
        assert_eq!(read.to_string(), text);
        let more = format!("{text}extension\n");
        assert_eq!(more.parse::<Checkpoint>().unwrap().to_string(), more);
    }

    #[test]
    fn other_texts_are_none() {
        let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
        let long = format!("o\n1\n{root}\n{}", "x\n".repeat(17));
        for text in [
            String::new(),
            format!("o\n1\n{root}"),
            format!("\n1\n{root}\n"),
            format!("o\n01\n{root}\n"),
            format!("o\n+1\n{root}\n"),
            format!("o\n-1\n{root}\n"),
            format!("o\n1\n{root}\n\n"),
            "o\n1\nAAAA\n".to_owned(),
            format!("o\n18446744073709551616\n{root}\n"),
            long,
        ] {
            assert_eq!(text.parse::<Checkpoint>(), Err(CheckpointError::Form), "{text}");
        }
    }

    #[test]
    fn only_the_key_of_the_log_that_is_named_makes_a_checkpoint_count() {
        let (log, other) = (key("log.example", 1), key("other.example", 2));
        let head = Checkpoint::new("log.example".to_owned(), 3, sha256(b"root"));
        let note = head.sign(&log).unwrap();
        let known = [log.verifier().clone(), other.verifier().clone()];
        assert_eq!(Checkpoint::open(&note, &known).map(|(head, by)| (head, by.len())), Ok((head.clone(), 1)));
        assert_eq!(Checkpoint::open(&note, &known[1..]), Err(NoteError::Untrusted.into()));
        let foreign = head.sign(&other).unwrap();
        let said = CheckpointError::NotTheLog { origin: "log.example".to_owned() };
        assert_eq!(Checkpoint::open(&foreign, &known), Err(said.clone()));
        // A cosignature under the log's own name is no signature of the log.
        let witness = CosignerKey::new("log.example".parse().unwrap(), SigningKey::from_seed(&[1; 32]));
        let cosigned = crate::note::SignedNote::new(
            head.to_string(),
            vec![witness.cosign(&head.to_string(), 1_700_000_000).unwrap()],
        );
        assert_eq!(Checkpoint::open(&cosigned.unwrap(), &[witness.verifier().clone()]), Err(said));
    }
}
