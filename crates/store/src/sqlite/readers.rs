//! Read-only connections beside the writer.
//!
//! In WAL mode a reader sees the last commit before its first step and waits for nobody. A read that starts
//! after a write was answered therefore sees that write.

use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;
use tokio::task;

use super::fault::backend;
use crate::StoreError;

/// Connections, and so reads at once. Reads take microseconds: more would only share the same cores.
pub(super) const CONNECTIONS: usize = 4;

/// The pool.
#[derive(Debug)]
pub(super) struct Readers {
    idle: std::sync::Arc<Mutex<Vec<Connection>>>,
    permits: Semaphore,
}

impl Readers {
    pub(super) fn new(idle: Vec<Connection>) -> Self {
        Self { permits: Semaphore::new(idle.len()), idle: std::sync::Arc::new(Mutex::new(idle)) }
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Ok(_permit) = self.permits.acquire().await else { return Err(StoreError::Closed) };
        let mode = MODE.load(std::sync::atomic::Ordering::Relaxed);
        let Some(conn) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() else {
            return Err(StoreError::Closed);
        };
        if mode == 1 {
            let r = work(&conn);
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
            return r;
        }
        let idle = self.idle.clone();
        let read = task::spawn_blocking(move || {
            let found = work(&conn);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
            found
        });
        read.await.unwrap_or_else(|error| Err(backend("read the record", error)))
    }
}
pub static MODE: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
