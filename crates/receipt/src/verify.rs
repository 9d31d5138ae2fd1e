//! The offline check of a receipt file against keys that the reader trusts.
//!
//! Sole judge of receipts: every change here needs a second reader. A key inside the file must never become trusted,
//! and what the file leaves out must never be reported as checked. Read on in `verified`, and in the README for the
//! same check with other tools.

use execgate_model::Digest;
use serde_json::Value;

use crate::canonical::{CanonicalError, MAX_CANONICAL_NESTING, canonical};
use crate::content::Content;
use crate::digest::{digest_json, salted, salted_digest, sha256};
use crate::envelope::EnvelopeError;
use crate::file::ReceiptFile;
use crate::key::{KeyId, VerifyingKey};
use crate::statement::{
    PAYLOAD_TYPE, PREDICATE_TYPE, STATEMENT_TYPE, STATEMENT_VERSION, Statement, subject_name,
};
use crate::strict::{StrictError, parse_bounded};
use crate::verified::{Check, Finding, Verified};

/// Which check a receipt file fails.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The envelope has no good signature of a trusted key.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Only the key inside the file fits the signature, and anybody can put one there.
    #[error(
        "the signature matches only the public key {key_id} inside the file, which no trusted key vouches for"
    )]
    OnlyEmbeddedKey {
        /// The short name of that key.
        key_id: KeyId,
    },
    /// The file holds a public key other than the one that signed, or spells it otherwise.
    #[error("the public key inside the file is not the trusted key that signed")]
    EmbeddedKey,
    /// The payload is no strict JSON.
    #[error("the payload is not strict JSON")]
    PayloadJson(#[source] StrictError),
    /// The payload is JSON, but not in its canonical bytes.
    #[error("the payload is not canonical JSON")]
    PayloadCanonical,
    /// The payload is not an in-toto Statement v1.
    #[error("the payload is not a statement of type https://in-toto.io/Statement/v1")]
    StatementType,
    /// The statement is not about an execution.
    #[error("the statement is not an execution receipt of type https://execgate.dev/execution-receipt/v1")]
    PredicateType,
    /// The predicate is of a version that this reader does not know.
    #[error("the statement is not of version 1")]
    StatementVersion,
    /// A field of the statement is missing or not of its form.
    #[error("the statement is not of the form of an execution receipt")]
    StatementForm(#[source] serde_json::Error),
    /// File and statement are about two runs.
    #[error("the exec_id does not match the statement")]
    ExecId,
    /// The statement's subject is not the one run.
    #[error("the subject of the statement is not the run")]
    SubjectName,
    /// The statement does not commit to this receipt under this salt.
    #[error("the receipt and the salt do not match the subject digest")]
    Receipt,
    /// The arguments or the result have no canonical form, so they were never committed to.
    #[error("`{field}` has no canonical form")]
    Uncanonical {
        /// `args` or `result`.
        field: &'static str,
        /// Why.
        #[source]
        source: CanonicalError,
    },
    /// The statement does not commit to these arguments.
    #[error("the args do not match the args digest")]
    Args,
    /// The statement does not commit to this result.
    #[error("the result does not match the result digest")]
    Result,
    /// The statement does not commit to this nonce.
    #[error("the nonce does not match the nonce digest")]
    Nonce,
    /// Each part fits the statement, and yet they do not give the content receipt.
    #[error("the receipt is not that of the args, the result, the nonce and the outcome")]
    ContentReceipt,
}

/// Checks a receipt file. Whatever the file holds is checked; [`Verified`] lists what it leaves out.
///
/// The caller decides which keys are trusted, and when: whether a key was retired, and whether the leaf stands in the
/// log, is not judged here.
///
/// # Errors
/// [`VerifyError`] names the first check that fails.
pub fn verify(file: &ReceiptFile, trusted: &[VerifyingKey]) -> Result<Verified, VerifyError> {
    let (payload, key) =
        file.envelope.open(PAYLOAD_TYPE, trusted).map_err(|error| embedded_only(file, error))?;
    let mut findings = vec![(Check::Signature, Finding::Holds)];
    findings.push((Check::EmbeddedKey, embedded_key(file, key)?));
    let value = canonical_value(&payload)?;
    findings.push((Check::CanonicalPayload, Finding::Holds));
    let statement = read_statement(value)?;
    findings.push((Check::StatementType, Finding::Holds));
    check_subject(file, &statement)?;
    findings.extend([(Check::ExecId, Finding::Holds), (Check::Receipt, Finding::Holds)]);
    findings.extend(check_content(file, &statement)?);
    Ok(Verified {
        key_id: key.key_id(),
        receipt: file.receipt,
        digest: sha256(&payload),
        leaf: salted(&file.salt, &payload),
        statement,
        payload,
        findings,
    })
}

/// Tells an unknown key from one that the file itself offers.
fn embedded_only(file: &ReceiptFile, error: EnvelopeError) -> VerifyError {
    let EnvelopeError::UntrustedKey { .. } = error else { return error.into() };
    let embedded = file.public_key.as_deref().and_then(|pem| VerifyingKey::from_spki_pem(pem).ok());
    match embedded {
        Some(key) if file.envelope.open(PAYLOAD_TYPE, core::slice::from_ref(&key)).is_ok() => {
            VerifyError::OnlyEmbeddedKey { key_id: key.key_id() }
        }
        Some(_) | None => error.into(),
    }
}

fn embedded_key(file: &ReceiptFile, key: &VerifyingKey) -> Result<Finding, VerifyError> {
    let Some(embedded) = &file.public_key else { return Ok(Finding::NotSupplied) };
    let same = key.to_spki_pem().is_ok_and(|pem| pem == *embedded);
    if same { Ok(Finding::Holds) } else { Err(VerifyError::EmbeddedKey) }
}

fn canonical_value(payload: &[u8]) -> Result<Value, VerifyError> {
    let value = parse_bounded(payload, MAX_CANONICAL_NESTING).map_err(VerifyError::PayloadJson)?;
    let same = canonical(&value).is_ok_and(|bytes| bytes == payload);
    if same { Ok(value) } else { Err(VerifyError::PayloadCanonical) }
}

/// Types and version first, so that a later version is called that, and not malformed.
fn read_statement(value: Value) -> Result<Statement, VerifyError> {
    let is = |found: Option<&Value>, wanted: &str| found.and_then(Value::as_str) == Some(wanted);
    if !is(value.get("_type"), STATEMENT_TYPE) {
        return Err(VerifyError::StatementType);
    }
    if !is(value.get("predicateType"), PREDICATE_TYPE) {
        return Err(VerifyError::PredicateType);
    }
    if value.pointer("/predicate/v").and_then(Value::as_u64) != Some(STATEMENT_VERSION.into()) {
        return Err(VerifyError::StatementVersion);
    }
    serde_json::from_value(value).map_err(VerifyError::StatementForm)
}

fn check_subject(file: &ReceiptFile, statement: &Statement) -> Result<(), VerifyError> {
    if statement.predicate.exec_id != file.exec_id {
        return Err(VerifyError::ExecId);
    }
    let [subject] = statement.subject.as_slice() else { return Err(VerifyError::SubjectName) };
    if subject.name != subject_name(file.exec_id) {
        return Err(VerifyError::SubjectName);
    }
    if subject.digest.sha256 != salted_digest(&file.salt, file.receipt) {
        return Err(VerifyError::Receipt);
    }
    Ok(())
}

fn check_content(file: &ReceiptFile, statement: &Statement) -> Result<[(Check, Finding); 4], VerifyError> {
    let said = &statement.predicate;
    let args_digest = plain_digest("args", file.args.as_ref())?;
    let result_digest = plain_digest("result", file.result.as_ref())?;
    let salted_value = |plain: Option<Digest>| plain.map(|digest| salted_digest(&file.salt, digest));
    let nonce = file.nonce.as_deref().map(|nonce| salted(&file.salt, nonce.as_bytes()));

    let args = compare(salted_value(args_digest), Some(said.args_digest)).ok_or(VerifyError::Args)?;
    let result = compare(salted_value(result_digest), said.result_digest).ok_or(VerifyError::Result)?;
    let nonce = compare(nonce, said.nonce_digest).ok_or(VerifyError::Nonce)?;
    let complete = result != Finding::NotSupplied && nonce != Finding::NotSupplied;
    let receipt = match args_digest {
        Some(args_digest) if complete => {
            let content = Content {
                exec_id: file.exec_id,
                action: said.action.as_str(),
                args_digest,
                nonce: file.nonce.as_deref(),
                outcome: &said.outcome,
                result_digest,
            };
            if content.receipt() != file.receipt {
                return Err(VerifyError::ContentReceipt);
            }
            Finding::Holds
        }
        Some(_) | None => Finding::NotSupplied,
    };
    Ok([
        (Check::Args, args),
        (Check::Result, result),
        (Check::Nonce, nonce),
        (Check::ContentReceipt, receipt),
    ])
}

fn plain_digest(field: &'static str, value: Option<&Value>) -> Result<Option<Digest>, VerifyError> {
    value.map(digest_json).transpose().map_err(|source| VerifyError::Uncanonical { field, source })
}

/// What comparing a supplied part with its commitment gives; nothing where they differ.
fn compare(supplied: Option<Digest>, committed: Option<Digest>) -> Option<Finding> {
    match (supplied, committed) {
        (Some(supplied), Some(committed)) => (supplied == committed).then_some(Finding::Holds),
        (None, Some(_)) => Some(Finding::NotSupplied),
        (None, None) => Some(Finding::NoneCommitted),
        (Some(_), None) => None,
    }
}
