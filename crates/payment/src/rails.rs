//! The rails that a gateway takes, by name.

use std::sync::Arc;

use crate::{Rail, Unpaid};

/// The rails in force. The first is the one that a request without a credential meets.
#[derive(Clone)]
pub struct Rails(Vec<Arc<dyn Rail>>);

impl Rails {
    /// Rails in the order in which they are offered, the first of them the default. That of internal callers is
    /// always there, and offered to nobody.
    #[must_use]
    pub fn new(first: Arc<dyn Rail>, others: impl IntoIterator<Item = Arc<dyn Rail>>) -> Self {
        Self(core::iter::once(first).chain(others).chain([Arc::new(Unpaid::INTERNAL) as _]).collect())
    }

    /// The rail of that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&dyn Rail> {
        self.0.iter().find(|rail| rail.name() == name).map(AsRef::as_ref)
    }

    /// The rail that a request without a credential meets.
    #[must_use]
    pub fn first(&self) -> &dyn Rail {
        self.0[0].as_ref()
    }
}
