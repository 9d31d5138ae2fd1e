//! The receipt file: what the owner of a run keeps, and all that an offline check needs beside a trusted key.
//!
//! Its `Debug` text must never show the salt, the arguments or the result. It is read strictly: a key that is not
//! known is refused, since a misspelt `result` would otherwise quietly prove less. Additions change `v`.
//! Read on in `verify`.

use core::fmt;

use execgate_model::{Digest, RunId};
use serde_json::{Map, Value, json};

use crate::canonical::MAX_CANONICAL_NESTING;
use crate::digest::SALT_BYTES;
use crate::envelope::Envelope;
use crate::strict::{StrictError, parse_bounded};

/// The `v` of a receipt file that says nothing of a log.
pub const FILE_VERSION: u32 = 1;

/// The `v` of one that has a proof that its statement is in a log.
pub const LOGGED_FILE_VERSION: u32 = 2;

/// The file wraps arguments and results, which are as deep as canonical JSON may be, in one more object.
const MAX_FILE_NESTING: usize = MAX_CANONICAL_NESTING + 1;

/// Why bytes are no receipt file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The bytes are no strict JSON.
    #[error("the receipt file is not strict JSON")]
    Json(#[source] StrictError),
    /// The JSON is not an object.
    #[error("the receipt file is not a JSON object")]
    NotAnObject,
    /// The file is of a version that this reader does not know.
    #[error("the receipt file is not of version 1 or 2")]
    Version,
    /// A field is missing.
    #[error("the receipt file has no `{field}`")]
    Missing {
        /// Which.
        field: &'static str,
    },
    /// A field is not of its form.
    #[error("`{field}` in the receipt file is not {form}")]
    Form {
        /// Which.
        field: &'static str,
        /// What it should be.
        form: &'static str,
    },
    /// The envelope is not of its form.
    #[error("`envelope` in the receipt file is not a DSSE envelope")]
    Envelope(#[source] serde_json::Error),
    /// The file has a field that this version does not have.
    #[error("the receipt file has the unknown field `{field}`")]
    Unknown {
        /// Its name.
        field: String,
    },
    /// The file could not be written.
    #[error("failed to write the receipt file")]
    Write(#[source] serde_json::Error),
}

/// What the owner of a run keeps. The optional parts may be left out by whoever passes a receipt on; what is there
/// is checked.
#[derive(Clone, PartialEq)]
pub struct ReceiptFile {
    /// The run.
    pub exec_id: RunId,
    /// The content receipt.
    pub receipt: Digest,
    /// The 32 bytes that open the salted digests.
    pub salt: [u8; SALT_BYTES],
    /// The signed statement.
    pub envelope: Envelope,
    /// The arguments of the run.
    pub args: Option<Value>,
    /// The result of the run; `Some(Value::Null)` is a result that is null.
    pub result: Option<Value>,
    /// The caller's nonce.
    pub nonce: Option<String>,
    /// The public key as an SPKI PEM text, for convenience. A file cannot vouch for itself.
    pub public_key: Option<String>,
    /// The proof that the statement's leaf is in a log (C2SP tlog-proof), as a text.
    pub log_proof: Option<String>,
    /// The verifier key of that log, for convenience. A file cannot vouch for itself.
    pub log_key: Option<String>,
}

impl ReceiptFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`FileError`] names the field and the rule.
    pub fn from_json(bytes: &[u8]) -> Result<Self, FileError> {
        let value = parse_bounded(bytes, MAX_FILE_NESTING).map_err(FileError::Json)?;
        let Value::Object(mut map) = value else { return Err(FileError::NotAnObject) };
        let version = map.remove("v");
        let is_logged = version == Some(json!(LOGGED_FILE_VERSION));
        if !is_logged && version != Some(json!(FILE_VERSION)) {
            return Err(FileError::Version);
        }
        // In a file of version 1 they are unknown, and stay so.
        let (log_proof, log_key) = if is_logged {
            (Some(required_text(&mut map, "log_proof")?), text(&mut map, "log_key")?)
        } else {
            (None, None)
        };
        let file = Self {
            exec_id: exec_id(&required_text(&mut map, "exec_id")?)?,
            receipt: hex(&mut map, "receipt")?,
            salt: *hex(&mut map, "salt")?.as_bytes(),
            envelope: envelope(&mut map)?,
            args: map.remove("args"),
            result: map.remove("result"),
            nonce: text(&mut map, "nonce")?,
            public_key: text(&mut map, "public_key")?,
            log_proof,
            log_key,
        };
        match map.into_iter().next() {
            Some((field, _)) => Err(FileError::Unknown { field }),
            None => Ok(file),
        }
    }

    /// Writes the file as indented JSON with a line break at its end. Without a proof it names no log either.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn to_json(&self) -> Result<String, FileError> {
        let mut map = Map::new();
        let log_key = self.log_key.as_ref().filter(|_| self.log_proof.is_some());
        let version = if self.log_proof.is_some() { LOGGED_FILE_VERSION } else { FILE_VERSION };
        map.insert("v".to_owned(), json!(version));
        map.insert("exec_id".to_owned(), Value::String(self.exec_id.to_string()));
        map.insert("receipt".to_owned(), Value::String(self.receipt.to_hex()));
        map.insert("salt".to_owned(), Value::String(Digest::from_bytes(self.salt).to_hex()));
        map.insert("envelope".to_owned(), serde_json::to_value(&self.envelope).map_err(FileError::Write)?);
        let texts = [
            ("nonce", self.nonce.as_ref()),
            ("public_key", self.public_key.as_ref()),
            ("log_proof", self.log_proof.as_ref()),
            ("log_key", log_key),
        ]
        .map(|(field, text)| (field, text.cloned().map(Value::String)));
        let values = [("args", self.args.clone()), ("result", self.result.clone())];
        for (field, value) in texts.into_iter().chain(values) {
            if let Some(value) = value {
                map.insert(field.to_owned(), value);
            }
        }
        let mut text = serde_json::to_string_pretty(&map).map_err(FileError::Write)?;
        text.push('\n');
        Ok(text)
    }
}

impl fmt::Debug for ReceiptFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiptFile")
            .field("exec_id", &self.exec_id)
            .field("receipt", &self.receipt)
            .finish_non_exhaustive()
    }
}

fn text(map: &mut Map<String, Value>, field: &'static str) -> Result<Option<String>, FileError> {
    match map.remove(field) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(FileError::Form { field, form: "a text" }),
    }
}

fn required_text(map: &mut Map<String, Value>, field: &'static str) -> Result<String, FileError> {
    text(map, field)?.ok_or(FileError::Missing { field })
}

fn hex(map: &mut Map<String, Value>, field: &'static str) -> Result<Digest, FileError> {
    let form = "64 lowercase hexadecimal digits";
    required_text(map, field)?.parse().map_err(|_| FileError::Form { field, form })
}

/// Only the one spelling that we write: lowercase, with hyphens.
fn exec_id(text: &str) -> Result<RunId, FileError> {
    let id = text.parse::<RunId>().ok().filter(|id| id.to_string() == text);
    id.ok_or(FileError::Form { field: "exec_id", form: "a UUID in lowercase with hyphens" })
}

fn envelope(map: &mut Map<String, Value>) -> Result<Envelope, FileError> {
    let value = map.remove("envelope").ok_or(FileError::Missing { field: "envelope" })?;
    serde_json::from_value(value).map_err(FileError::Envelope)
}

#[cfg(test)]
mod tests {
    use execgate_model::RunId;
    use serde_json::{Value, json};

    use super::ReceiptFile;
    use crate::envelope::Envelope;
    use crate::key::SigningKey;
    use crate::{parse_strict, sha256};

    fn file() -> ReceiptFile {
        ReceiptFile {
            exec_id: RunId::from_entropy([5; 16]),
            receipt: sha256(b"receipt"),
            salt: [9; 32],
            envelope: Envelope::sign(&SigningKey::from_seed(&[1; 32]), "text/plain", b"hello"),
            args: Some(json!({"a": [1.5, "x"], "$serde_json::private::RawValue": "[1]"})),
            result: Some(Value::Null),
            nonce: Some("n".to_owned()),
            public_key: None,
            log_proof: None,
            log_key: None,
        }
    }

    fn refusal(change: impl Fn(&mut Value)) -> String {
        let mut value = parse_strict(file().to_json().unwrap().as_bytes()).unwrap();
        change(&mut value);
        ReceiptFile::from_json(value.to_string().as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_file_reads_back_what_it_writes() {
        assert_eq!(ReceiptFile::from_json(file().to_json().unwrap().as_bytes()).unwrap(), file());
        let bare = ReceiptFile { args: None, result: None, nonce: None, ..file() };
        assert_eq!(ReceiptFile::from_json(bare.to_json().unwrap().as_bytes()).unwrap(), bare);
        let logged =
            ReceiptFile { log_proof: Some("proof".to_owned()), log_key: Some("key".to_owned()), ..file() };
        let text = logged.to_json().unwrap();
        assert!(text.ends_with("\"v\": 2\n}\n"), "{text}");
        assert_eq!(ReceiptFile::from_json(text.as_bytes()).unwrap(), logged);
    }

    #[test]
    fn arguments_as_deep_as_canonical_json_may_be_read_back() {
        let deep = (0..crate::MAX_CANONICAL_NESTING).fold(json!(1), |inner, _| json!([inner]));
        let file = ReceiptFile { args: Some(deep), ..file() };
        assert_eq!(ReceiptFile::from_json(file.to_json().unwrap().as_bytes()).unwrap(), file);
    }

    #[test]
    fn each_fault_of_a_file_is_named() {
        assert_eq!(refusal(|v| v["v"] = json!(3)), "the receipt file is not of version 1 or 2");
        assert_eq!(refusal(|v| v["v"] = json!(2)), "the receipt file has no `log_proof`");
        let said = "the receipt file has the unknown field `log_proof`";
        assert_eq!(refusal(|v| v["log_proof"] = json!("x")), said);
        assert_eq!(refusal(|v| *v = json!([])), "the receipt file is not a JSON object");
        assert_eq!(refusal(|v| v["resu1t"] = json!(1)), "the receipt file has the unknown field `resu1t`");
        let upper = "05050505-0505-8505-8505-05050505050A";
        let said = "`exec_id` in the receipt file is not a UUID in lowercase with hyphens";
        assert_eq!(refusal(|v| v["exec_id"] = json!(upper)), said);
        let said = "`salt` in the receipt file is not 64 lowercase hexadecimal digits";
        assert_eq!(refusal(|v| v["salt"] = json!("AB")), said);
        assert_eq!(refusal(|v| v["nonce"] = json!(null)), "`nonce` in the receipt file is not a text");
        let said = refusal(|v| drop(v.as_object_mut().unwrap().remove("envelope")));
        assert_eq!(said, "the receipt file has no `envelope`");
        let said = refusal(|v| v["envelope"]["signatures"][0]["keyid"] = json!("x"));
        assert_eq!(said, "`envelope` in the receipt file is not a DSSE envelope");
    }

    #[test]
    fn a_debug_text_shows_neither_salt_nor_arguments() {
        let said = format!("{:?}", file());
        assert!(said.ends_with(".. }") && !said.contains("salt") && !said.contains("1.5"), "{said}");
    }
}
