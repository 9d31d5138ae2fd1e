//! A policy file's signature: a DSSE envelope beside the file, over the digest of its bytes and the time of signing.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use execgate_receipt::approval::ActionDigest;
use execgate_receipt::{Envelope, SigningKey, Timestamp, VerifyingKey, canonical, parse_strict, sha256};
use serde::{Deserialize, Serialize};

/// The `payloadType` of the envelope. No other signature of execgate has it, so that none can be taken for this one.
const PAYLOAD_TYPE: &str = "application/vnd.execgate.policy+json";

/// The `type` of the statement.
const STATEMENT_TYPE: &str = "policy/v1";

/// The longest signature file, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 10;

/// What is signed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyStatement {
    #[serde(rename = "type")]
    statement_type: String,
    /// SHA-256 over the bytes of the file.
    policy: ActionDigest,
    signed_at: Timestamp,
}

/// Where the signature of a policy file lies: beside it, with `.sig` after its name.
pub(crate) fn signature_of(policy: &Path) -> PathBuf {
    let mut name = OsString::from(policy);
    name.push(".sig");
    PathBuf::from(name)
}

/// Signs the bytes of a policy file, and gives the text of its signature file.
pub(crate) fn sign(policy: &[u8], now: Timestamp, key: &SigningKey) -> anyhow::Result<String> {
    let statement_type = STATEMENT_TYPE.to_owned();
    let statement = PolicyStatement { statement_type, policy: ActionDigest(sha256(policy)), signed_at: now };
    let bytes = canonical(&serde_json::to_value(statement)?).context("the statement cannot be written")?;
    Ok(format!("{}\n", serde_json::to_string_pretty(&Envelope::sign(key, PAYLOAD_TYPE, &bytes))?))
}

/// When the file with these bytes was signed, by one of `keys`.
pub(super) fn verify(path: &Path, policy: &[u8], keys: &[VerifyingKey]) -> anyhow::Result<Timestamp> {
    let signature = signature_of(path);
    let shown = signature.display();
    let mut bytes = Vec::new();
    let file = File::open(&signature).with_context(|| format!("there is no signature {shown}"))?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).with_context(|| format!("failed to read {shown}"))?;
    let envelope = parse_strict(&bytes).map_err(anyhow::Error::from);
    let envelope = envelope.and_then(|value| Ok(Envelope::deserialize(&value)?));
    let envelope = envelope.with_context(|| format!("{shown} is no signature"))?;
    let (payload, _) = envelope.open(PAYLOAD_TYPE, keys).with_context(|| format!("{shown} does not hold"))?;
    let statement = PolicyStatement::deserialize(&parse_strict(&payload)?)
        .with_context(|| format!("{shown} signs something else"))?;
    if statement.statement_type != STATEMENT_TYPE {
        bail!("{shown} signs something else than {STATEMENT_TYPE}");
    }
    if statement.policy.0 != sha256(policy) {
        bail!("{shown} is of another policy");
    }
    Ok(statement.signed_at)
}
