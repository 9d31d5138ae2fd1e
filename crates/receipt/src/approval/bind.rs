//! What an approval must match: the request as the gateway sees it, at an instant that is handed in.

use execgate_model::{ActionName, Amount, Digest, TenantId, UnixMs};

use crate::approval::approver::Verified;
use crate::approval::error::ApprovalError;
use crate::approval::statement::{ActionDigest, Decision};

/// How far an approver's clock may be ahead of ours, in milliseconds: a machine with a clock that is set by the network
/// is within a second, one that is set by hand within a minute.
const CLOCK_SKEW_MS: u64 = 60_000;

const SECOND_MS: u64 = 1_000;

/// A request that wants an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand<'a> {
    /// The tenant of the caller.
    pub tenant: &'a TenantId,
    /// The scope of the caller; nothing for one that has none, whom no approval for one caller fits.
    pub scope: Option<&'a str>,
    /// What is to run.
    pub action: &'a ActionName,
    /// The fingerprint of the request.
    pub action_digest: Digest,
    /// The digest of the policy in force.
    pub policy_digest: Digest,
    /// What the run costs.
    pub price: Amount,
}

impl Verified<'_> {
    /// Holds the statement against a request, whatever it decides.
    ///
    /// # Errors
    /// [`ApprovalError`] names the first thing that does not match.
    pub fn binds(&self, demand: &Demand<'_>, now: UnixMs) -> Result<(), ApprovalError> {
        let said = self.statement();
        if &said.tenant != demand.tenant {
            return Err(ApprovalError::Tenant { approved: said.tenant.clone() });
        }
        if self.approver().tenant.as_ref().is_some_and(|tenant| tenant != demand.tenant) {
            let (approver, tenant) = (said.approver.clone(), demand.tenant.clone());
            return Err(ApprovalError::ApproverTenant { approver, tenant });
        }
        if said.scope.is_some() && said.scope.as_deref() != demand.scope {
            return Err(ApprovalError::Scope);
        }
        if &said.action != demand.action {
            return Err(ApprovalError::Action { approved: said.action.clone() });
        }
        if said.action_digest.0 != demand.action_digest {
            return Err(ApprovalError::ActionDigest { wanted: ActionDigest(demand.action_digest) });
        }
        if said.policy_digest.is_some_and(|digest| digest.0 != demand.policy_digest) {
            return Err(ApprovalError::Policy);
        }
        self.is_in_time(now)
    }

    /// As [`Self::binds`], and that it is a yes that covers the price.
    ///
    /// # Errors
    /// [`ApprovalError`] names the first thing that does not match.
    pub fn approves(&self, demand: &Demand<'_>, now: UnixMs) -> Result<(), ApprovalError> {
        self.binds(demand, now)?;
        let said = self.statement();
        match said.decision {
            Decision::Deny => Err(ApprovalError::Denied { approver: said.approver.clone() }),
            Decision::Approve => match said.max_price.filter(|max| demand.price > *max) {
                Some(max) => Err(ApprovalError::Price { max, price: demand.price }),
                None => Ok(()),
            },
        }
    }

    /// Whether it lasts for no longer than this, from when it was issued, in milliseconds.
    ///
    /// # Errors
    /// [`ApprovalError::Outlives`].
    pub fn lasts_at_most(&self, max_ms: u64) -> Result<(), ApprovalError> {
        let said = self.statement();
        let lasts = said.expires_at.unix_ms().0.saturating_sub(said.issued_at.unix_ms().0);
        if lasts > max_ms { Err(ApprovalError::Outlives { max_s: max_ms / SECOND_MS }) } else { Ok(()) }
    }

    fn is_in_time(&self, now: UnixMs) -> Result<(), ApprovalError> {
        let said = self.statement();
        let (issued_at, expires_at) = (said.issued_at, said.expires_at);
        if expires_at <= issued_at {
            return Err(ApprovalError::Lifetime);
        }
        if issued_at.unix_ms().0 > now.0.saturating_add(CLOCK_SKEW_MS) {
            return Err(ApprovalError::NotYet { issued_at });
        }
        if expires_at.unix_ms() <= now {
            return Err(ApprovalError::Expired { expires_at });
        }
        Ok(())
    }
}
