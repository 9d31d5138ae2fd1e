//! Clients of others, against the rails of this crate.

mod clients;
