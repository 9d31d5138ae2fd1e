//! The frame of a tool that only computes: prepared is run, and nothing can be missing or full.

use execgate_model::{BoxFuture, Product, Verdict};
use serde_json::Value;

use crate::{NotStarted, Prepared, RunContext, RunFault};

/// A result that was computed while the call was checked.
pub(crate) struct Computed(pub(crate) Value);

impl Prepared for Computed {
    fn reserve(&mut self) -> Result<(), NotStarted> {
        Ok(())
    }

    fn run(self: Box<Self>, _context: RunContext) -> BoxFuture<'static, Result<Product, RunFault>> {
        Box::pin(async move {
            Ok(Product { verdict: Verdict::Value, result: self.0, error: None, enforced: Value::Null })
        })
    }
}
