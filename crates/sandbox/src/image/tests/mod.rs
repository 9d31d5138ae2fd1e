//! Images of made-up systems and of this host.

mod alternatives;
mod cache;
mod host;
mod overlay;
mod packages;
mod shelf;
mod stripping;
mod system;
