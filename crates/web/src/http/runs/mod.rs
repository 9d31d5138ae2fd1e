//! A run as its owner sees it: `GET /runs/{id}`.

mod show;

pub(crate) use show::{owned, show};
