//! Read-only connections beside the writer.
//!
//! In WAL mode a reader sees the last commit before its first step and waits for nobody. A read that starts
//! after a write was answered therefore sees that write.
//!
//! Point reads run where they are called: they take some 10 µs, and handing them to another thread costs twice
//! that again. What reads many rows, or would have to wait, runs on a blocking thread.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;
use tokio::task;

use super::fault::backend;
use crate::StoreError;

/// Connections for point reads: as many can run at once; the next ones go to the patient connections.
pub(super) const QUICK: u32 = 4;

/// Connections for long reads.
pub(super) const PATIENT: u32 = 2;

/// Idle connections; none once the pool is closed.
#[derive(Debug)]
struct Pool(Mutex<Option<Vec<Connection>>>);

impl Pool {
    fn take(&self) -> Result<Option<Connection>, StoreError> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.as_mut().map(Vec::pop).ok_or(StoreError::Closed)
    }

    fn put_back(&self, conn: Connection) {
        if let Some(idle) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            idle.push(conn);
        }
    }

    fn close(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// The door to the reading connections.
#[derive(Debug)]
pub(super) struct Readers {
    quick: Pool,
    patient: Arc<Pool>,
    permits: Arc<Semaphore>,
}

impl Readers {
    /// Over [`QUICK`] connections that never wait for a lock, and [`PATIENT`] ones that do.
    pub(super) fn new(quick: Vec<Connection>, patient: Vec<Connection>) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(patient.len())),
            quick: Pool(Mutex::new(Some(quick))),
            patient: Arc::new(Pool(Mutex::new(Some(patient)))),
        }
    }

    /// Reads a few rows.
    pub(super) async fn point<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if let Some(conn) = self.quick.take()? {
            let found = work(&conn);
            self.quick.put_back(conn);
            // Busy is rare: another process recovers or closes the file just now.
            if !matches!(found, Err(StoreError::Busy)) {
                return found;
            }
        }
        self.long(work).await
    }

    /// Reads many rows, or waits.
    pub(super) async fn long<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        // There are as many connections as permits, so a pool without one is closed.
        let conn = self.patient.take()?.ok_or(StoreError::Closed)?;
        let pool = Arc::clone(&self.patient);
        let read = task::spawn_blocking(move || {
            let found = work(&conn);
            pool.put_back(conn);
            // Only now, even where the caller has hung up: a permit stands for a connection in the pool.
            drop(permit);
            found
        });
        read.await.unwrap_or_else(|error| Err(backend("read the record", error)))
    }

    /// Waits for the reads that run and closes the connections.
    pub(super) async fn close(&self) {
        // An error means that they were closed before.
        if let Ok(permits) = self.permits.acquire_many(PATIENT).await {
            self.permits.close();
            drop(permits);
        }
        self.patient.close();
        self.quick.close();
    }
}
