//! What a witness asks of a checkpoint before it cosigns it (C2SP tlog-witness, `add-checkpoint`).
//!
//! Sole judge of what a witness says: every change here needs a second reader. A checkpoint must never pass that is not
//! the same log grown: two roots of one size, or a log that lost an entry, are what a witness is there to refuse.

use execgate_model::Digest;

use super::check::{PathError, check_consistency};
use super::checkpoint::Checkpoint;
use super::hash::empty_root;
use super::pair::Consistency;
use crate::note::{NoteError, NoteSignature, SignedNote, VerifierKey};

/// Why a checkpoint is not cosigned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitnessRefusal {
    /// The request is not of its form.
    #[error("the request is not `old <size>`, a path, an empty line and a checkpoint")]
    Form,
    /// The witness was told of no such log.
    #[error("this witness was told of no log named `{origin}`")]
    UnknownLog {
        /// The name in the checkpoint.
        origin: String,
    },
    /// No key that is trusted for the log has signed the checkpoint.
    #[error("the checkpoint is not signed by a key that this witness was told of")]
    Unsigned,
    /// The request says that the log was larger before.
    #[error("the old size {old} is larger than that of the checkpoint, {size}")]
    Shrinks {
        /// The old size.
        old: u64,
        /// The size of the checkpoint.
        size: u64,
    },
    /// The old size is not the one that was cosigned last.
    #[error("the last checkpoint that was cosigned has {size} entries")]
    Stale {
        /// How many entries that has.
        size: u64,
    },
    /// Another root was cosigned for this size.
    #[error("another root of {size} entries was cosigned before: the log was forked")]
    Forked {
        /// The size.
        size: u64,
    },
    /// The path does not lead from the checkpoint before to this one.
    #[error("the checkpoint is not shown to be the log that was cosigned before, grown")]
    Inconsistent(#[source] PathError),
}

/// A checkpoint that may be cosigned: it is signed by its log, and consistent with the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// The checkpoint.
    pub head: Checkpoint,
    /// Its note: the text is what is cosigned.
    pub note: String,
    /// Its text.
    pub text: String,
}

impl Submission {
    /// Judges a request. `last` gives size and root of the last checkpoint that was cosigned for a log.
    ///
    /// # Errors
    /// [`WitnessRefusal`] names the first rule that it breaks, in the order of the protocol.
    pub fn judge(
        body: &[u8],
        logs: &[VerifierKey],
        last: impl FnOnce(&str) -> Option<(u64, Digest)>,
    ) -> Result<Self, WitnessRefusal> {
        let asked = Consistency::parse(body).map_err(|_| WitnessRefusal::Form)?;
        let named: Checkpoint = asked.newer.unverified_text().parse().map_err(|_| WitnessRefusal::Form)?;
        let of_the_log = |key: &&VerifierKey| key.name().as_str() == named.origin;
        let keys: Vec<VerifierKey> = logs.iter().filter(of_the_log).cloned().collect();
        if keys.is_empty() {
            return Err(WitnessRefusal::UnknownLog { origin: named.origin });
        }
        let (head, _) = Checkpoint::open(&asked.newer, &keys).map_err(|_| WitnessRefusal::Unsigned)?;
        if asked.older > head.size {
            return Err(WitnessRefusal::Shrinks { old: asked.older, size: head.size });
        }
        let (size, root) = last(&head.origin).unwrap_or_else(|| (0, empty_root()));
        if asked.older != size {
            return Err(WitnessRefusal::Stale { size });
        }
        check_consistency((size, root), (head.size, head.root), &asked.path).map_err(
            |error| match error {
                PathError::Forked { size } => WitnessRefusal::Forked { size },
                PathError::Beyond { .. }
                | PathError::Length
                | PathError::Root
                | PathError::OlderRoot
                | PathError::NewerRoot => WitnessRefusal::Inconsistent(error),
            },
        )?;
        let text = asked.newer.unverified_text().to_owned();
        Ok(Self { head, note: asked.newer.to_string(), text })
    }
}

/// What a witness that has refused nothing answers: lines of signatures, of which only those of known keys count.
///
/// # Errors
/// [`NoteError`] where the lines are none, or a known key did not sign this text.
pub fn cosignatures(text: &str, lines: &str, known: &[VerifierKey]) -> Result<Vec<NoteSignature>, NoteError> {
    let note = SignedNote::parse(format!("{text}\n{lines}").as_bytes())?;
    let (_, attested) = note.verify(known)?;
    let counts = |signature: &&NoteSignature| {
        attested
            .iter()
            .any(|found| found.key.id() == signature.key_id() && found.key.name() == signature.name())
    };
    Ok(note.signatures().iter().filter(counts).cloned().collect())
}

#[cfg(test)]
mod tests {
    use execgate_model::Digest;

    use super::{Submission, WitnessRefusal, cosignatures};
    use crate::key::SigningKey;
    use crate::note::{CosignerKey, NoteError, NoteKey, SignedNote, VerifierKey};
    use crate::tlog::{Checkpoint, Consistency, Frontier, empty_root, leaf_hash, node_hash};

    const ORIGIN: &str = "example.com/log";

    fn log() -> NoteKey {
        NoteKey::new(ORIGIN.parse().unwrap(), SigningKey::from_seed(&[42; 32]))
    }

    fn note(size: u64, root: Digest) -> SignedNote {
        Checkpoint::new(ORIGIN.to_owned(), size, root).sign(&log()).unwrap()
    }

    fn root(entries: &[&[u8]]) -> Digest {
        let mut frontier = Frontier::EMPTY;
        for entry in entries {
            frontier.append(entry);
        }
        frontier.root()
    }

    fn ask(older: u64, path: Vec<Digest>, newer: SignedNote) -> Vec<u8> {
        Consistency { older, path, newer }.to_string().into_bytes()
    }

    fn judge(body: &[u8], last: Option<(u64, Digest)>) -> Result<(u64, Digest), WitnessRefusal> {
        let known = [log().verifier().clone()];
        Submission::judge(body, &known, |origin| {
            assert_eq!(origin, ORIGIN);
            last
        })
        .map(|admitted| (admitted.head.size, admitted.head.root))
    }

    #[test]
    fn a_log_that_grows_is_followed_from_its_first_entry() {
        let (one, two) = (root(&[b"a"]), root(&[b"a", b"b"]));
        assert_eq!(judge(&ask(0, vec![], note(0, empty_root())), None), Ok((0, empty_root())));
        assert_eq!(judge(&ask(0, vec![], note(1, one)), None), Ok((1, one)));
        assert_eq!(judge(&ask(1, vec![leaf_hash(b"b")], note(2, two)), Some((1, one))), Ok((2, two)));
        assert_eq!(judge(&ask(2, vec![], note(2, two)), Some((2, two))), Ok((2, two)), "the same again");
    }

    #[test]
    fn each_rule_is_refused_by_its_name_in_the_order_of_the_protocol() {
        let (one, other) = (root(&[b"a"]), root(&[b"x"]));
        let two = node_hash(leaf_hash(b"x"), leaf_hash(b"b"));
        assert_eq!(judge(b"", None), Err(WitnessRefusal::Form));
        assert_eq!(
            judge(&ask(2, vec![], note(1, one)), None),
            Err(WitnessRefusal::Shrinks { old: 2, size: 1 })
        );
        let stale = Err(WitnessRefusal::Stale { size: 5 });
        assert_eq!(judge(&ask(0, vec![], note(9, one)), Some((5, one))), stale);
        assert_eq!(judge(&ask(0, vec![], note(1, one)), Some((5, one))), stale, "an old checkpoint again");
        let forked = Err(WitnessRefusal::Forked { size: 1 });
        assert_eq!(judge(&ask(1, vec![], note(1, other)), Some((1, one))), forked);
        assert_eq!(judge(&ask(0, vec![], note(0, one)), None), Err(WitnessRefusal::Forked { size: 0 }));
        for (older, path, last) in [
            (1, vec![leaf_hash(b"b")], Some((1, one))),
            (1, vec![], Some((1, one))),
            (1, vec![leaf_hash(b"b"), one], Some((1, one))),
            (0, vec![one], None),
        ] {
            let judged = judge(&ask(older, path, note(2, two)), last);
            assert!(matches!(judged, Err(WitnessRefusal::Inconsistent(_))), "{judged:?}");
        }
    }

    #[test]
    fn only_logs_that_the_witness_was_told_of_are_cosigned_under_their_own_keys() {
        let body = ask(0, vec![], note(1, root(&[b"a"])));
        let of = |known: &[VerifierKey]| Submission::judge(&body, known, |_| None).map(drop);
        let unknown = WitnessRefusal::UnknownLog { origin: ORIGIN.to_owned() };
        assert_eq!(of(&[]), Err(unknown.clone()));
        let named = |name: &str, seed| {
            NoteKey::new(name.parse().unwrap(), SigningKey::from_seed(&[seed; 32])).verifier().clone()
        };
        assert_eq!(of(&[named("example.com/other", 42)]), Err(unknown));
        assert_eq!(of(&[named(ORIGIN, 41)]), Err(WitnessRefusal::Unsigned));
        assert_eq!(
            of(&[named(ORIGIN, 41), named(ORIGIN, 42)]),
            Ok(()),
            "a log may have two keys for a while"
        );
        let witness = CosignerKey::new(ORIGIN.parse().unwrap(), SigningKey::from_seed(&[42; 32]));
        assert_eq!(of(&[witness.verifier().clone()]), Err(WitnessRefusal::Unsigned));
    }

    #[test]
    fn of_an_answer_only_lines_of_known_witnesses_are_kept() {
        let witness =
            |seed| CosignerKey::new("w.example".parse().unwrap(), SigningKey::from_seed(&[seed; 32]));
        let text = "example.com/log\n0\n";
        let lines = |keys: &[CosignerKey]| {
            keys.iter().map(|key| format!("{}\n", key.cosign(text, 9).unwrap())).collect::<String>()
        };
        let known = [witness(1).verifier().clone()];
        let kept = cosignatures(text, &lines(&[witness(2), witness(1)]), &known).unwrap();
        assert_eq!(kept, [witness(1).cosign(text, 9).unwrap()]);
        assert_eq!(cosignatures(text, &lines(&[witness(2)]), &known), Err(NoteError::Untrusted));
        assert_eq!(cosignatures(text, "", &known), Err(NoteError::Unsigned));
        assert!(matches!(
            cosignatures("other\n", &lines(&[witness(1)]), &known),
            Err(NoteError::Signature { .. })
        ));
    }
}
