//! Free mode: every price is nothing, and there is nothing to take or give back.

use execgate_model::{Amount, BoxFuture, Credential};

use crate::{CaptureError, HoldError, Paid, Rail, Terms};

/// The rail of a gateway that charges nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Free;

impl Rail for Free {
    fn name(&self) -> &'static str {
        "free"
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
        Box::pin(async { Err(CaptureError::Failed("the free rail takes no money".to_owned())) })
    }

    fn release<'a>(&'a self, _state: &'a [u8]) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}
