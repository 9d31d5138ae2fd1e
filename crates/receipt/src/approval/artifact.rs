//! What a request may carry as its approval: one `ClawShield` object, one envelope, or a list of envelopes.
//!
//! It must never decide anything: what is read here is bounded and well formed, and proves nothing yet.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::approval::clawshield::{ClawShieldArtifact, MAX_FIELD_BYTES};
use crate::envelope::Envelope;

/// How many statements may come with one request: more people than any rule asks for.
pub const MAX_STATEMENTS: usize = 16;

/// The approval that came with a request, unjudged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Artifact {
    /// `OpenExec`'s kind.
    ClawShield(ClawShieldArtifact),
    /// Statements of approvers, 1 to [`MAX_STATEMENTS`].
    Statements(Vec<Envelope>),
}

/// Why a value is no approval artifact.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// It is neither an object nor a list.
    #[error("an approval artifact is an object or a list of envelopes")]
    Shape,
    /// The list is empty or too long.
    #[error("a list of approvals holds 1 to {max} envelopes")]
    Count {
        /// The bound, [`MAX_STATEMENTS`].
        max: usize,
    },
    /// One of the list is no envelope.
    #[error("an approval is not a DSSE envelope")]
    Envelope(#[source] serde_json::Error),
    /// A `ClawShield` artifact has a field that means nothing here, and might have been meant as a bound.
    #[error("the approval artifact has a field that is not known")]
    UnknownField,
    /// A field is no text, or too long a one.
    #[error("`{field}` of the approval artifact must be a text of at most {max} bytes")]
    Field {
        /// The field.
        field: &'static str,
        /// The bound, [`MAX_FIELD_BYTES`].
        max: usize,
    },
}

impl Artifact {
    /// Reads what came with a request. The value is of a strict reader, which refuses a key that stands twice.
    ///
    /// # Errors
    /// [`ArtifactError`].
    pub fn read(value: &Value) -> Result<Self, ArtifactError> {
        match value {
            Value::Array(items) => {
                if items.is_empty() || items.len() > MAX_STATEMENTS {
                    return Err(ArtifactError::Count { max: MAX_STATEMENTS });
                }
                items.iter().map(envelope).collect::<Result<_, _>>().map(Self::Statements)
            }
            Value::Object(fields) if fields.contains_key("payloadType") => {
                envelope(value).map(|one| Self::Statements(vec![one]))
            }
            Value::Object(fields) => clawshield(fields).map(Self::ClawShield),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Err(ArtifactError::Shape),
        }
    }
}

fn envelope(value: &Value) -> Result<Envelope, ArtifactError> {
    Envelope::deserialize(value).map_err(ArtifactError::Envelope)
}

fn clawshield(fields: &Map<String, Value>) -> Result<ClawShieldArtifact, ArtifactError> {
    let mut artifact = ClawShieldArtifact::default();
    for (name, value) in fields {
        let (field, place) = match name.as_str() {
            "approval_id" => ("approval_id", &mut artifact.approval_id),
            "tenant_id" => ("tenant_id", &mut artifact.tenant_id),
            "action_hash" => ("action_hash", &mut artifact.action_hash),
            "issued_at" => ("issued_at", &mut artifact.issued_at),
            "expires_at" => ("expires_at", &mut artifact.expires_at),
            "signature" => ("signature", &mut artifact.signature),
            _ => return Err(ArtifactError::UnknownField),
        };
        let text = value.as_str().filter(|text| text.len() <= MAX_FIELD_BYTES);
        let text = text.ok_or(ArtifactError::Field { field, max: MAX_FIELD_BYTES })?;
        *place = Some(text.to_owned());
    }
    Ok(artifact)
}
