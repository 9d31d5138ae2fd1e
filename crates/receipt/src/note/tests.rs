//! Notes, verifier keys and cosignatures, on vectors that other libraries made and on whatever comes.

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::Index;

use super::signer::LATEST_COSIGNATURE_S;
use super::{
    CosignerKey, KeyName, MAX_NOTE_BYTES, MAX_NOTE_SIGNATURES, NoteAlgorithm, NoteError, NoteKey, SignedNote,
    VerifierKey, VerifierKeyError,
};
use crate::key::{KeyError, SigningKey};

/// Made with Python's `cryptography`, from 32 bytes of 42 for the log and of 43 for the witness.
const COSIGNED: &str = include_str!("../../../../fuzz/seeds/note/cosigned");
const LOG: &str = include_str!("../../../../fuzz/seeds/verifier_key/log");
const WITNESS: &str = include_str!("../../../../fuzz/seeds/verifier_key/witness");

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

fn log_key() -> NoteKey {
    NoteKey::new(name("example.com/log"), SigningKey::from_seed(&[42; 32]))
}

fn witness_key() -> CosignerKey {
    CosignerKey::new(name("witness.example/w"), SigningKey::from_seed(&[43; 32]))
}

fn stranger() -> NoteKey {
    NoteKey::new(name("example.com/log"), SigningKey::from_seed(&[44; 32]))
}

#[test]
fn notes_and_keys_are_those_that_another_library_makes() {
    let note = SignedNote::parse(COSIGNED.as_bytes()).unwrap();
    let (log, witness): (VerifierKey, VerifierKey) = (LOG.parse().unwrap(), WITNESS.parse().unwrap());
    assert_eq!((&log, &witness), (log_key().verifier(), witness_key().verifier()));
    assert_eq!((log.to_string().as_str(), witness.to_string().as_str()), (LOG, WITNESS));
    let known = [witness, log];
    let (text, attested) = note.verify(&known).unwrap();
    let said: Vec<_> = attested.iter().map(|found| (found.key.algorithm(), found.unix_s)).collect();
    assert_eq!(said, [(NoteAlgorithm::Ed25519, None), (NoteAlgorithm::CosignatureV1, Some(1_800_000_000))]);
    let lines = vec![log_key().sign(text).unwrap(), witness_key().cosign(text, 1_800_000_000).unwrap()];
    assert_eq!(SignedNote::new(text.to_owned(), lines).unwrap().to_string(), COSIGNED);
}

#[test]
fn the_key_of_a_public_log_has_the_id_that_it_says() {
    let text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    assert_eq!(text.parse::<VerifierKey>().unwrap().to_string(), text);
}

#[test]
fn signatures_of_strangers_are_passed_over_also_under_a_known_name() {
    let text = "a\n";
    let lines = vec![stranger().sign(text).unwrap(), log_key().sign(text).unwrap()];
    let note = SignedNote::new(text.to_owned(), lines).unwrap();
    let known = [log_key().verifier().clone()];
    assert_eq!(note.verify(&known).unwrap().1.len(), 1);
    let other = [witness_key().verifier().clone()];
    assert_eq!(note.verify(&other), Err(NoteError::Untrusted));
    assert_eq!(note.verify(&[]), Err(NoteError::Untrusted));
}

#[test]
fn a_known_key_that_did_not_sign_spoils_the_note() {
    let (good, foreign) = (log_key().sign("a\n").unwrap(), log_key().sign("b\n").unwrap());
    let note = SignedNote::new("a\n".to_owned(), vec![good, foreign]).unwrap();
    let refusal = NoteError::Signature { name: "example.com/log".to_owned() };
    assert_eq!(note.verify(&[log_key().verifier().clone()]), Err(refusal));
}

#[test]
fn a_key_counts_once_however_often_it_signs() {
    let text = "a\n";
    let lines = (1..4).map(|unix_s| witness_key().cosign(text, unix_s).unwrap()).collect();
    let note = SignedNote::new(text.to_owned(), lines).unwrap();
    let known = [witness_key().verifier().clone(), witness_key().verifier().clone()];
    let (_, attested) = note.verify(&known).unwrap();
    assert_eq!(attested.iter().map(|found| found.unix_s).collect::<Vec<_>>(), [Some(1)]);
}

#[test]
fn a_cosignature_is_no_signature_of_a_log_nor_the_other_way() {
    let text = "a\n";
    let seed = [1; 32];
    let log = NoteKey::new(name("n"), SigningKey::from_seed(&seed));
    let cosigner = CosignerKey::new(name("n"), SigningKey::from_seed(&seed));
    assert_ne!(log.verifier().id(), cosigner.verifier().id());
    let mut line = cosigner.cosign(text, 1).unwrap();
    line.key_id = log.verifier().id();
    let note = SignedNote::new(text.to_owned(), vec![line]).unwrap();
    assert!(matches!(note.verify(&[log.verifier().clone()]), Err(NoteError::Signature { .. })));
}

#[test]
fn a_cosignature_has_a_time_of_its_form() {
    let key = witness_key();
    assert_eq!(key.cosign("a\n", LATEST_COSIGNATURE_S + 1), Err(NoteError::Time));
    let mut line = key.cosign("a\n", LATEST_COSIGNATURE_S).unwrap();
    let known = [key.verifier().clone()];
    let note = SignedNote::new("a\n".to_owned(), vec![line.clone()]).unwrap();
    assert_eq!(note.verify(&known).unwrap().1[0].unix_s, Some(LATEST_COSIGNATURE_S));
    line.bytes[7] ^= 1;
    let other = SignedNote::new("a\n".to_owned(), vec![line]).unwrap();
    assert!(matches!(other.verify(&known), Err(NoteError::Signature { .. })));
}

#[test]
fn what_is_no_note_is_refused_by_the_rule_that_it_breaks() {
    let line = "\u{2014} x YWJjZGU=\n";
    let of = |note: &str| SignedNote::parse(note.as_bytes()).map(|note| note.unverified_text().to_owned());
    assert_eq!(of(&format!("a\n\n{line}")).as_deref(), Ok("a\n"));
    assert_eq!(of(&format!("a\n\nb\n\n{line}")).as_deref(), Ok("a\n\nb\n"));
    assert_eq!(of(&format!("\n\n{line}")).as_deref(), Ok("\n"));
    for unsigned in ["", "a\n", "a\n\n", "\n", &format!("\n{line}"), &format!("a\n\n{}", line.trim_end())] {
        assert_eq!(of(unsigned), Err(NoteError::Unsigned), "{unsigned:?}");
    }
    for bad in
        ["x YWJjZGU=", "- x YWJjZGU=", "\u{2014} x YWJjZGU", "\u{2014} x YWJjZA==", "\u{2014} x  YWJjZGU="]
    {
        assert_eq!(of(&format!("a\n\n{bad}\n")), Err(NoteError::SignatureLine), "{bad}");
    }
    for bad in ["\u{2014}  YWJjZGU=", "\u{2014} a+b YWJjZGU=", "\u{2014} a\u{a0}b YWJjZGU="] {
        assert_eq!(of(&format!("a\n\n{bad}\n")), Err(NoteError::Name), "{bad}");
    }
    assert_eq!(of(&format!("a\tb\n\n{line}")), Err(NoteError::NotText));
    assert_eq!(of(&format!("a\r\n\n{line}")), Err(NoteError::NotText));
    assert_eq!(SignedNote::parse(b"\xff\n\n"), Err(NoteError::NotText));
}

#[test]
fn notes_are_bounded() {
    let line = "\u{2014} x YWJjZGU=\n";
    let parse = |note: String| SignedNote::parse(note.as_bytes()).map(drop);
    assert_eq!(parse(format!("a\n\n{}", line.repeat(MAX_NOTE_SIGNATURES))), Ok(()));
    let refusal = Err(NoteError::TooManySignatures { max: MAX_NOTE_SIGNATURES });
    assert_eq!(parse(format!("a\n\n{}", line.repeat(MAX_NOTE_SIGNATURES + 1))), refusal);
    let refusal = Err(NoteError::TooLarge { max: MAX_NOTE_BYTES });
    assert_eq!(parse("a".repeat(MAX_NOTE_BYTES + 1)), refusal);
    let long = "a".repeat(MAX_NOTE_BYTES - 1) + "\n";
    let signature = log_key().sign(&long).unwrap();
    assert_eq!(SignedNote::new(long, vec![signature]).map(drop), refusal);
}

#[test]
fn a_text_that_no_note_can_have_is_not_signed() {
    for text in ["", "a", "a\r\n", "a\0\n"] {
        assert_eq!(log_key().sign(text), Err(NoteError::Text), "{text:?}");
        assert_eq!(witness_key().cosign(text, 1), Err(NoteError::Text), "{text:?}");
        assert_eq!(SignedNote::new(text.to_owned(), Vec::new()), Err(NoteError::Text), "{text:?}");
    }
    assert_eq!(SignedNote::new("a\n".to_owned(), Vec::new()), Err(NoteError::Unsigned));
}

#[test]
fn a_verifier_key_says_what_is_wrong_with_it() {
    let of = |text: &str| text.parse::<VerifierKey>().unwrap_err();
    for form in ["", "a", "a+b", "a b+58490f8b+AQ==", "+58490f8b+AQ==", "a+58490f8b+AQ==", "a+58490f8b+!"] {
        assert!(matches!(of(form), VerifierKeyError::Form), "{form}");
    }
    assert!(matches!(of(&LOG.replace("58490f8b", "58490f8c")), VerifierKeyError::Id));
    assert!(matches!(of(&LOG.replace("58490f8b", "58490F8B")), VerifierKeyError::Id));
    assert!(matches!(of(&LOG.replace("example", "exbmple")), VerifierKeyError::Id));
    let later = include_str!("../../../../fuzz/seeds/verifier_key/later");
    assert!(matches!(of(later), VerifierKeyError::Algorithm { byte: 6 }));
    // The neutral element, and what is no point.
    let weak = "a+00000000+AQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert!(matches!(of(weak), VerifierKeyError::Key(KeyError::Weak)));
    let none = "a+00000000+AQIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert!(matches!(of(none), VerifierKeyError::Key(KeyError::PublicBytes)));
    assert!("a".repeat(256).parse::<KeyName>().is_err());
}

proptest! {
    #[test]
    fn what_is_signed_reads_back_and_verifies(lines in "([^\\x00-\\x1f]{0,8}\n){1,6}", unix_s in 0..=LATEST_COSIGNATURE_S) {
        let signatures = vec![log_key().sign(&lines).unwrap(), witness_key().cosign(&lines, unix_s).unwrap()];
        let note = SignedNote::new(lines.clone(), signatures).unwrap();
        let read = SignedNote::parse(note.to_string().as_bytes()).unwrap();
        prop_assert_eq!(&read, &note);
        let known = [log_key().verifier().clone(), witness_key().verifier().clone()];
        let (text, attested) = read.verify(&known).unwrap();
        prop_assert_eq!(text, lines.as_str());
        prop_assert_eq!(attested.len(), 2);
        prop_assert_eq!(attested[1].unix_s, Some(unix_s));
    }

    #[test]
    fn a_flipped_bit_of_a_signature_or_text_never_verifies(at in any::<Index>(), bit in 0..8_u8) {
        let mut bytes = COSIGNED.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let known = [log_key().verifier().clone(), witness_key().verifier().clone()];
        if let Ok(note) = SignedNote::parse(&bytes) {
            // A line that names no known key any more is a stranger's; the other one must still be about the text.
            let counted = note.verify(&known).map(|(text, attested)| (text.to_owned(), attested.len()));
            let original = COSIGNED.split("\n\n").next().unwrap().to_owned() + "\n";
            prop_assert!(counted.is_err() || counted == Ok((original, 1)));
        }
    }
}
