//! Whether the thread that polls a handler is its run's own, so that it may block it.

use std::cell::Cell;

use tokio::task::block_in_place;

thread_local! {
    static IS_OWN: Cell<bool> = const { Cell::new(false) };
}

/// Gives this thread to a run for as long as `work` takes: another drives what it drove. Only on a runtime of several threads.
pub fn on_own_thread<T>(work: impl FnOnce() -> T) -> T {
    /// Takes it back, also from one that panics.
    struct Until;
    impl Drop for Until {
        fn drop(&mut self) {
            IS_OWN.set(false);
        }
    }
    block_in_place(|| {
        IS_OWN.set(true);
        let _until = Until;
        work()
    })
}

/// Whether whoever is polled here may block.
pub(crate) fn is_own() -> bool {
    IS_OWN.get()
}
