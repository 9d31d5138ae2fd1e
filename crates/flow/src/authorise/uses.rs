//! When grants were last used: written beside the answers, at most once a minute for each grant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use execgate_model::{GrantId, UnixMs};
use execgate_store::Store;

/// How often the use of one grant is written, in milliseconds.
const EVERY_MS: u64 = 60_000;

#[derive(Default)]
struct State {
    /// When the use of each grant was last taken up. As many as there are grants.
    noted: HashMap<GrantId, UnixMs>,
    waiting: HashMap<GrantId, UnixMs>,
    /// Whether somebody writes already.
    writing: bool,
}

/// Uses that are still to be written. Those of a process that ends are lost: this is a hint, and no record.
pub(super) struct Uses {
    store: Arc<dyn Store>,
    state: Arc<Mutex<State>>,
}

impl Uses {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, state: Arc::default() }
    }

    /// Takes up that a grant was used now. Waits for nothing.
    pub(super) fn note(&self, id: &GrantId, now: UnixMs) {
        let mut state = lock(&self.state);
        if state.noted.get(id).is_some_and(|last| now.0 < last.0.saturating_add(EVERY_MS)) {
            return;
        }
        state.noted.insert(id.clone(), now);
        state.waiting.insert(id.clone(), now);
        if !state.writing {
            state.writing = true;
            tokio::spawn(write(Arc::clone(&self.store), Arc::clone(&self.state)));
        }
    }
}

/// Writes until nothing waits: one transaction at a time, whatever has come together meanwhile.
async fn write(store: Arc<dyn Store>, state: Arc<Mutex<State>>) {
    while let Some(uses) = waiting(&state) {
        if let Err(error) = store.note_grant_uses(uses).await {
            tracing::debug!(%error, "when grants were last used was not written");
        }
    }
}

fn waiting(state: &Mutex<State>) -> Option<Vec<(GrantId, UnixMs)>> {
    let mut state = lock(state);
    let uses: Vec<_> = state.waiting.drain().collect();
    state.writing = !uses.is_empty();
    state.writing.then_some(uses)
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
