//! Batches that walk through a gate.

use std::sync::Arc;

use execgate_flow::{Batch, BatchRefusal, Batched};
use execgate_web::ExecuteWords;

use crate::Gate;

impl Gate {
    /// Walks a batch, until its end; none where the process died before.
    pub async fn walk_batch(&self, batch: Batch) -> Option<Result<Batched, BatchRefusal>> {
        let corridor = self.corridor();
        self.while_alive(corridor.walk_batch(batch, Arc::new(ExecuteWords))).await
    }
}
