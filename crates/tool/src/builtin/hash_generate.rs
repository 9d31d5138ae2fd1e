//! `hash_generate`: the digest of a text or of bytes, in lower-case hex.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::digest::Digest;
use sha2::{Sha256, Sha384, Sha512};

use crate::BadCall;
use crate::arguments::Arguments;
use crate::compute::{Computation, Place, Raised};

const EXAMPLE: &str = r#"{"data": "hello", "algorithm": "sha256"}"#;
const NAMES: [&str; 3] = ["data", "encoding", "algorithm"];
const ALGORITHMS: [&str; 5] = ["sha256", "sha384", "sha512", "sha1", "md5"];
const ENCODINGS: [&str; 3] = ["utf8", "hex", "base64"];

/// The tool. One pass over the bytes.
pub(super) const COMPUTATION: Computation = Computation {
    name: "hash_generate",
    summary: "Hashes a text or bytes; SHA-256 unless another algorithm is named.",
    schema,
    check,
    compute,
    place: Place::Thread,
};

fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["data"],
        "additionalProperties": false,
        "properties": {
            "data": {"type": "string", "description": "What to hash, written as `encoding` says."},
            "encoding": {
                "enum": ENCODINGS,
                "default": "utf8",
                "description": "How `data` is written: as the text itself, or as bytes in hex or padded base64."
            },
            "algorithm": {
                "enum": ALGORITHMS,
                "default": "sha256",
                "description": "sha1 and md5 are broken: for comparing with old lists alone, never for security."
            }
        },
        "examples": [{"data": "hello"}]
    })
}

fn read(payload: &Value) -> Result<(Vec<u8>, &'static str), BadCall> {
    let arguments = Arguments::of(payload, &NAMES, EXAMPLE)?;
    let text = arguments.text("data")?;
    let bytes = match arguments.choice("encoding", &ENCODINGS)? {
        "hex" => {
            from_hex(text).ok_or_else(|| arguments.bad("data", "must be an even number of hex digits"))?
        }
        "base64" => STANDARD.decode(text).map_err(|_| arguments.bad("data", "must be padded base64"))?,
        _ => text.as_bytes().to_vec(),
    };
    Ok((bytes, arguments.choice("algorithm", &ALGORITHMS)?))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?);
    text.as_bytes().chunks(2).map(pair).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn check(payload: &Value) -> Result<(), BadCall> {
    read(payload).map(|_| ())
}

fn compute(payload: &Value) -> Result<Value, Raised> {
    let (bytes, algorithm) = read(payload)?;
    let hash = match algorithm {
        "sha384" => to_hex(&Sha384::digest(&bytes)),
        "sha512" => to_hex(&Sha512::digest(&bytes)),
        "sha1" => to_hex(&Sha1::digest(&bytes)),
        "md5" => to_hex(&Md5::digest(&bytes)),
        _ => to_hex(&Sha256::digest(&bytes)),
    };
    let mut result = json!({"hash": hash, "algorithm": algorithm});
    if matches!(algorithm, "sha1" | "md5") {
        result["warning"] = "broken: not for security".into();
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert_eq, proptest};
    use serde_json::{Value, json};

    use super::{check, compute, from_hex, to_hex};

    fn hash(payload: &Value) -> Value {
        compute(payload).unwrap()["hash"].clone()
    }

    #[test]
    fn digests_are_those_that_are_published() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hash(&json!({"data": ""})), empty);
        assert_eq!(
            hash(&json!({"data": "abc", "algorithm": "sha1"})),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
        let md5 = compute(&json!({"data": "abc", "algorithm": "md5"})).unwrap();
        assert_eq!(md5["hash"], "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(md5["warning"], "broken: not for security");
        assert_eq!(hash(&json!({"data": "abc", "algorithm": "sha384"})).as_str().unwrap().len(), 96);
        assert_eq!(hash(&json!({"data": "abc", "algorithm": "sha512"})).as_str().unwrap().len(), 128);
    }

    #[test]
    fn the_same_bytes_have_the_same_hash_however_they_are_written() {
        let text = hash(&json!({"data": "hi"}));
        assert_eq!(hash(&json!({"data": "6869", "encoding": "hex"})), text);
        assert_eq!(hash(&json!({"data": "aGk=", "encoding": "base64"})), text);
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        for wrong in [
            json!({"data": "686", "encoding": "hex"}),
            json!({"data": "+1", "encoding": "hex"}),
            json!({"data": "a", "encoding": "base64"}),
            json!({"data": "a", "algorithm": "crc32"}),
            json!({"data": {"a": 1}}),
            json!({}),
        ] {
            assert!(check(&wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn hex_is_read_as_it_was_written(bytes: Vec<u8>) {
            prop_assert_eq!(from_hex(&to_hex(&bytes)), Some(bytes));
        }
    }
}
