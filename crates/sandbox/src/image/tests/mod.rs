//! Images of made-up systems and of this host.

mod cache;
mod host;
mod stripping;
mod system;
