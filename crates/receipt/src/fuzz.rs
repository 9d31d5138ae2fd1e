//! What holds of everything that this crate reads, whatever the bytes. Fuzz targets and property tests call it.

use core::str;

use serde_json::Value;

use crate::canonical::canonical;
use crate::envelope::Envelope;
use crate::file::ReceiptFile;
use crate::key::{KeyId, SigningKey, VerifyingKey};
use crate::note::{NoteAlgorithm, SignedNote, VerifierKey};
use crate::strict::{MAX_NESTING, parse_strict};
use crate::time::Timestamp;
use crate::tlog::{Checkpoint, Consistency, LogProof, Submission, Tile};
use crate::verify::verify;

/// The seed of the only key that these checks trust. It has signed the receipt and the envelope among the fuzz
/// targets' seeds, and nothing else.
const TRUSTED_SEED: [u8; 32] = [42; 32];

/// What the key signed in the envelope.
const SIGNED_TYPE: &str = "text/plain";
/// The payload of the envelope.
const SIGNED_PAYLOAD: &[u8] = b"hello world";

/// The leaf of the receipt's statement under its salt, so that neither can be another one.
const SIGNED_LEAF: &str = "388ab2a843f1d1fd4f52bc98bd6adeb4124d5856ec6cffa9768a5a559367205e";
/// The content receipt.
const SIGNED_RECEIPT: &str = "834ad83bee3dd0f1e523aec805994e33260470aa5256f5f7262ed772ba18e49d";

/// The text of the notes that are signed by that key, as a log's, and by the one beside it, as a witness's.
const SIGNED_TEXT: &str = "example.com/log\n3\nSBNJTRN+FjG7owHVrKtue7eqdM4RhdRWVl71HXN2d7I=\n";

/// The seed of the witness.
const WITNESS_SEED: [u8; 32] = [43; 32];

/// A key under which `serde_json` reads raw JSON text instead of an object, unlike every other reader.
const PRIVATE_KEY: &[u8] = b"$serde_json::private";

/// Strict JSON reads as it does elsewhere, within its bounds, and has one canonical form.
pub fn strict_json(bytes: &[u8]) {
    let Ok(value) = parse_strict(bytes) else { return };
    if !bytes.windows(PRIVATE_KEY.len()).any(|window| window == PRIVATE_KEY) {
        assert_eq!(serde_json::from_slice::<Value>(bytes).ok().as_ref(), Some(&value));
    }
    assert!(depth(&value) <= MAX_NESTING);
    let form = canonical(&value);
    let again = form.as_ref().ok().and_then(|form| parse_strict(form).ok());
    assert_eq!(again.map(|again| canonical(&again)), Some(form));
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// A receipt file reads back what it writes, and nobody but the key's owner makes one that verifies.
pub fn receipt_file(bytes: &[u8]) {
    let Ok(file) = ReceiptFile::from_json(bytes) else { return };
    let again = file.to_json().ok().and_then(|text| ReceiptFile::from_json(text.as_bytes()).ok());
    assert!(again.is_some_and(|again| again == file));
    if let Ok(verified) = verify(&file, &[SigningKey::from_seed(&TRUSTED_SEED).verifying_key()]) {
        let found = (verified.leaf.to_hex(), verified.receipt.to_hex());
        assert_eq!((found.0.as_str(), found.1.as_str()), (SIGNED_LEAF, SIGNED_RECEIPT));
    }
}

/// An envelope reads back what it writes, and opens for nobody but its signer.
pub fn dsse_envelope(bytes: &[u8]) {
    let Ok(envelope) = serde_json::from_slice::<Envelope>(bytes) else { return };
    let written = serde_json::to_vec(&envelope).unwrap_or_default();
    assert_eq!(serde_json::from_slice(&written).ok().as_ref(), Some(&envelope));
    let trusted = [SigningKey::from_seed(&TRUSTED_SEED).verifying_key()];
    if let Ok((payload, _)) = envelope.open(SIGNED_TYPE, &trusted) {
        assert_eq!(payload, SIGNED_PAYLOAD);
    }
}

/// A key that is read is the same key when it was written and read again; a key id has one spelling.
pub fn keys(bytes: &[u8]) {
    if let Ok(id) = serde_json::from_slice::<KeyId>(bytes) {
        assert!(bytes.windows(16).any(|window| window == id.to_string().as_bytes()));
    }
    let Ok(pem) = str::from_utf8(bytes) else { return };
    if let Ok(key) = SigningKey::from_pkcs8_pem(pem) {
        let written = key.to_pkcs8_pem().ok();
        let again = written.and_then(|pem| SigningKey::from_pkcs8_pem(pem.expose()).ok());
        assert!(again.is_some_and(|again| again.verifying_key() == key.verifying_key()));
    }
    if let Ok(key) = VerifyingKey::from_spki_pem(pem) {
        let again = key.to_spki_pem().ok().and_then(|pem| VerifyingKey::from_spki_pem(&pem).ok());
        assert_eq!(again, Some(key));
    }
}

/// A note has one spelling, and nobody but the keys' owners makes one that verifies.
pub fn note(bytes: &[u8]) {
    let Ok(note) = SignedNote::parse(bytes) else { return };
    assert_eq!(note.to_string().as_bytes(), bytes);
    let known = [("example.com/log", NoteAlgorithm::Ed25519, TRUSTED_SEED)]
        .into_iter()
        .chain([("witness.example/w", NoteAlgorithm::CosignatureV1, WITNESS_SEED)])
        .filter_map(|(name, algorithm, seed)| {
            let key = SigningKey::from_seed(&seed).verifying_key();
            Some(VerifierKey::new(name.parse().ok()?, algorithm, key))
        })
        .collect::<Vec<_>>();
    if let Ok((text, attested)) = note.verify(&known) {
        assert_eq!(text, SIGNED_TEXT);
        assert!((1..=known.len()).contains(&attested.len()));
    }
}

/// A witness cosigns what the log's own key has signed, and nothing else.
pub fn add_checkpoint(bytes: &[u8]) {
    let Ok(name) = "example.com/log".parse() else { return };
    let key = SigningKey::from_seed(&TRUSTED_SEED).verifying_key();
    let known = [VerifierKey::new(name, NoteAlgorithm::Ed25519, key)];
    if let Ok(admitted) = Submission::judge(bytes, &known, |_| None) {
        assert_eq!(admitted.text, SIGNED_TEXT);
    }
}

/// A verifier key has one spelling.
pub fn verifier_key(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text);
    }
}

/// Whatever is read of a log has one spelling, and no path in it leads anywhere without a signature.
pub fn log(bytes: &[u8]) {
    if let Ok(proof) = LogProof::parse(bytes) {
        assert_eq!(proof.to_string().as_bytes(), bytes);
        assert!(proof.verify(SIGNED_PAYLOAD, &[]).is_err());
    }
    if let Ok(proof) = Consistency::parse(bytes) {
        assert_eq!(proof.to_string().as_bytes(), bytes);
        assert!(proof.verify(&proof.newer, &[]).is_err());
    }
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(head) = text.parse::<Checkpoint>() {
        assert_eq!(head.to_string(), text);
    }
    if let Ok(tile) = text.parse::<Tile>() {
        assert_eq!(tile.to_string(), text);
        assert!(!tile.is_within(0) && tile.nodes().count() == usize::from(tile.width()));
    }
}

/// An instant has one spelling.
pub fn instants(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(instant) = text.parse::<Timestamp>() {
        assert_eq!(instant.to_string(), text);
        assert_eq!(Timestamp::new(instant.unix_ms()), Ok(instant));
    }
}

#[cfg(test)]
#[path = "../../../fuzz/near.rs"]
mod near;

#[cfg(test)]
mod tests {
    use super::{
        add_checkpoint, dsse_envelope, instants, keys, log, near, note, receipt_file, strict_json,
        verifier_key,
    };

    #[test]
    fn strict_json_is_what_every_reader_reads_and_has_one_form() {
        near::holds("strict_json", strict_json);
    }

    #[test]
    fn what_is_read_of_a_log_has_one_spelling() {
        near::holds("log", log);
    }

    #[test]
    fn a_receipt_file_reads_back_and_cannot_be_forged() {
        near::holds("receipt_file", receipt_file);
    }

    #[test]
    fn an_envelope_reads_back_and_opens_for_its_signer_only() {
        near::holds("dsse_envelope", dsse_envelope);
    }

    #[test]
    fn keys_and_their_ids_read_back() {
        near::holds("keys", keys);
    }

    #[test]
    fn a_note_has_one_spelling_and_cannot_be_forged() {
        near::holds("note", note);
    }

    #[test]
    fn a_witness_cosigns_what_the_log_has_signed_only() {
        near::holds("add_checkpoint", add_checkpoint);
    }

    #[test]
    fn a_verifier_key_has_one_spelling() {
        near::holds("verifier_key", verifier_key);
    }

    #[test]
    fn instants_have_one_spelling() {
        near::holds("instants", instants);
    }
}
