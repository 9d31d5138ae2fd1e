//! Why an approval statement approves nothing: one name for each thing that it is held against.

use execgate_model::{ActionName, Amount, ApproverName, TenantId};

use crate::approval::statement::ActionDigest;
use crate::canonical::CanonicalError;
use crate::envelope::EnvelopeError;
use crate::strict::StrictError;
use crate::time::Timestamp;

/// Why an approval statement cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// The envelope does not open under a key of an approver.
    #[error("the approval's envelope does not open")]
    Envelope(#[source] EnvelopeError),
    /// The envelope has more than one signature. Each approver signs a statement of their own.
    #[error("the approval has more than one signature; each approver signs a statement of their own")]
    Signatures,
    /// The statement is longer than statements are.
    #[error("the approval is longer than {max} bytes")]
    TooLong {
        /// The bound.
        max: usize,
    },
    /// The payload is not strict JSON: a key twice, half a surrogate, or no JSON at all.
    #[error("the approval is not strict JSON")]
    Json(#[source] StrictError),
    /// A field is missing, unknown or of another form.
    #[error("the approval is no statement of approval/v1")]
    Fields(#[source] serde_json::Error),
    /// It is a statement of another version.
    #[error("the approval is of another type than approval/v1")]
    Type,
    /// The bytes are not the canonical ones of what they say.
    #[error("the approval is not in canonical form (RFC 8785)")]
    NotCanonical,
    /// The statement could not be written as JSON.
    #[error("failed to write the approval as JSON")]
    Write(#[source] serde_json::Error),
    /// The statement has no canonical form.
    #[error("failed to make the approval canonical")]
    Canonical(#[source] CanonicalError),
    /// The key that signed is not one of the approver that the statement names.
    #[error("the approval names the approver `{named}`, and the key that signed it is another's")]
    ForeignKey {
        /// Whom the statement names.
        named: ApproverName,
    },
    /// The approver may not speak for this tenant.
    #[error("the approver `{approver}` may not approve for the tenant `{tenant}`")]
    ApproverTenant {
        /// Who signed.
        approver: ApproverName,
        /// The tenant of the caller.
        tenant: TenantId,
    },
    /// It is for another tenant.
    #[error("the approval is for the tenant `{approved}`")]
    Tenant {
        /// The tenant in the statement.
        approved: TenantId,
    },
    /// It is for another caller.
    #[error("the approval is for another caller of this tenant")]
    Scope,
    /// It is for another action.
    #[error("the approval is for the action `{approved}`")]
    Action {
        /// The action in the statement.
        approved: ActionName,
    },
    /// It is for another request: other arguments, options, or for real instead of simulated.
    #[error("the approval is for another request: this one's action digest is {wanted}")]
    ActionDigest {
        /// The digest of the request.
        wanted: ActionDigest,
    },
    /// The rules have changed since.
    #[error("the approval was given under another policy than is in force")]
    Policy,
    /// The price is higher than was approved.
    #[error("the approval is for a price of at most {max}, and this costs {price}")]
    Price {
        /// The most that was approved.
        max: Amount,
        /// What it costs.
        price: Amount,
    },
    /// It was signed in the future.
    #[error("the approval is not valid before {issued_at}")]
    NotYet {
        /// When it says it was signed.
        issued_at: Timestamp,
    },
    /// It is over.
    #[error("the approval expired at {expires_at}")]
    Expired {
        /// When it was over.
        expires_at: Timestamp,
    },
    /// It ends before it begins.
    #[error("the approval expires before it is issued")]
    Lifetime,
    /// It lasts for longer than this gateway takes.
    #[error("the approval lasts for more than {max_s} s, which is the most that counts here")]
    Outlives {
        /// The most, in seconds.
        max_s: u64,
    },
    /// The approver has said no.
    #[error("the approver `{approver}` has denied this")]
    Denied {
        /// Who said it.
        approver: ApproverName,
    },
}
