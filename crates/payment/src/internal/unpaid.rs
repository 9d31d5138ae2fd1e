//! Internal grants do not pay: for them every price is nothing, whatever others are asked for.

use execgate_model::{Amount, BoxFuture, Credential};

use crate::{CaptureError, HoldError, Paid, Rail, Terms};

/// The rail of callers that have proven to be internal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Internal;

impl Internal {
    /// Its name. No credential of a caller can choose it.
    pub const NAME: &str = "internal";
}

impl Rail for Internal {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn verify<'a>(
        &'a self,
        terms: &'a Terms,
        _credential: Option<&'a Credential>,
    ) -> BoxFuture<'a, Result<Paid, HoldError>> {
        Box::pin(async {
            if terms.amount.is_zero() {
                Ok(Paid { claim: None, state: Vec::new() })
            } else {
                Err(HoldError::Required)
            }
        })
    }

    fn capture<'a>(
        &'a self,
        _amount: Amount,
        _state: &'a [u8],
    ) -> BoxFuture<'a, Result<String, CaptureError>> {
        Box::pin(async { Err(CaptureError::Failed("internal callers do not pay".to_owned())) })
    }

    fn release<'a>(&'a self, _state: &'a [u8]) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}
