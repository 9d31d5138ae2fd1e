//! Rails on which no money moves, because every price is nothing there: free mode, and internal callers.

use execgate_model::{Amount, BoxFuture, Credential};

use crate::{CaptureError, HoldError, Paid, Rail, Terms};

/// A rail on which there is nothing to take or give back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpaid(&'static str);

impl Unpaid {
    /// The rail of a gateway that charges nothing.
    pub const FREE: Self = Self("free");
    /// The rail of callers that have proven to be internal, whatever others are asked for. No credential of a caller can
    /// choose it.
    pub const INTERNAL: Self = Self("internal");

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl Rail for Unpaid {
    fn name(&self) -> &'static str {
        self.0
    }

    fn verify<'a>(
        &'a self,
        terms: &'a Terms,
        _credential: Option<&'a Credential>,
    ) -> BoxFuture<'a, Result<Paid, HoldError>> {
        Box::pin(async {
            // A price here is a mistake of ours, and nothing may run on one.
            if terms.amount.is_zero() { Ok(Paid::nothing()) } else { Err(HoldError::Required) }
        })
    }

    fn capture<'a>(
        &'a self,
        _amount: Amount,
        _state: &'a [u8],
    ) -> BoxFuture<'a, Result<String, CaptureError>> {
        Box::pin(async { Err(CaptureError::Failed(format!("nothing is paid on the rail `{}`", self.0))) })
    }

    fn release<'a>(&'a self, _state: &'a [u8]) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}
