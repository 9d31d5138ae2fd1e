//! A place outside of every record, where checkpoints of the log are kept.

use std::io;
use std::sync::{Mutex, PoisonError};

use execgate_flow::log::{Outside, Seen, SeenNote};
use execgate_model::BoxFuture;

/// What lies there. A test may put anything in its place.
#[derive(Debug, Default)]
pub struct Shelf(Mutex<Option<String>>);

impl Shelf {
    /// What lies there.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts something in its place, or takes it away.
    pub fn put(&self, note: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = note;
    }
}

impl Outside for Shelf {
    fn read(&self) -> BoxFuture<'_, Vec<Seen>> {
        let note = self.note().map_or(SeenNote::Nothing { always: true }, SeenNote::Text);
        Box::pin(async { vec![Seen { place: "the shelf".to_owned(), note }] })
    }

    fn names(&self) -> BoxFuture<'_, Vec<(String, String)>> {
        Box::pin(async { Vec::new() })
    }

    fn keep(&self, note: String) -> BoxFuture<'_, Result<(), (String, io::Error)>> {
        self.put(Some(note));
        Box::pin(async { Ok(()) })
    }
}
