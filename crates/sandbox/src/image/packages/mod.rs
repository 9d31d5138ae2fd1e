//! Packages of languages for an image: fetched by the operator's own pip and npm, or taken from folders and Debian.
//!
//! The only part of `image` that starts programs. What it starts fetches and unpacks, and is kept from starting
//! anything itself, so that **no code of a package runs on the host**. Registries, proxies and passwords are those that
//! the operator has set for these programs; nothing of them goes into an image, an error or a log.
//!
//! Where to read on: [`Wanted`] says what and in which order, `tool` starts programs, `pip`, `npm` and `r` know one
//! language each, `ground` looks at what the image will have, `spec` judges names.

mod error;
mod ground;
mod npm;
mod pip;
mod r;
mod spec;
mod tool;
mod wanted;

pub use error::PackagesError;
pub use spec::{DebianPackage, NodeMajor, NodePackage, PythonPackage, RPackage, SpecError};
pub use wanted::{Prepared, Wanted};
