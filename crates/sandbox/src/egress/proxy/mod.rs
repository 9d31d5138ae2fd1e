//! The proxy of one run: its layers ([`life`]), its loop ([`desk`]), and a connection's way through it.

mod connection;
mod desk;
mod dialling;
mod life;
mod relay;
mod resolving;

pub(crate) use life::{Means, PROXY_DESCRIPTORS, live};
