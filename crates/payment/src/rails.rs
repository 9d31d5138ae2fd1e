//! The rails that a gateway takes, by name.

use std::sync::Arc;

use execgate_model::Resource;

use crate::{Asked, Offer, Rail, Unpaid};

/// The rails in force. The first is the one that a request without a credential meets.
#[derive(Clone)]
pub struct Rails(Vec<Arc<dyn Rail>>);

impl Rails {
    /// Rails in the order in which they are offered, the first of them the default. Those of what is free and of internal
    /// callers are always there, and offered to nobody.
    #[must_use]
    pub fn new(first: Arc<dyn Rail>, others: impl IntoIterator<Item = Arc<dyn Rail>>) -> Self {
        let mut rails: Vec<_> = core::iter::once(first).chain(others).collect();
        for own in [Unpaid::FREE, Unpaid::INTERNAL] {
            if rails.iter().all(|rail| rail.name() != own.as_str()) {
                rails.push(Arc::new(own));
            }
        }
        Self(rails)
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

    /// Whether anybody can pay here.
    #[must_use]
    pub fn take_money(&self) -> bool {
        let unpaid = [Unpaid::FREE, Unpaid::INTERNAL].map(Unpaid::as_str);
        self.0.iter().any(|rail| !unpaid.contains(&rail.name()))
    }

    /// How to pay, by every rail that takes money, in their order.
    #[must_use]
    pub fn offers(&self, asked: &Asked, resource: &Resource) -> Vec<Offer> {
        let offers = self.0.iter().map(|rail| rail.offer(asked, resource));
        offers.filter(|offer| !offer.headers.is_empty() || !offer.members.is_empty()).collect()
    }
}
