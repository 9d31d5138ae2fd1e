//! The guest's root file system: execgate's own copy of interpreters, libraries and packages.
//!
//! Why a copy: a guest that alters the page cache of a file it may read then alters only a private inode, which
//! nothing on the host executes. The files under an image's root are data to the host, never programs.
//!
//! Where to read on: [`Recipe`] says what goes in, `rules` what stays out, `plan` gathers, `copy` writes,
//! `cache` finds and publishes, [`Image`] is the handle.

mod build;
mod cache;
mod copy;
mod dpkg;
mod error;
mod etc;
mod gather;
mod handle;
mod manifest;
mod package_files;
mod plan;
mod recipe;
mod rules;
mod source;
mod summary;
mod verify;

pub use build::Progress;
pub use error::ImageError;
pub use handle::{Image, Origin};
pub use manifest::{Entry, EntryKind, Manifest, ModifiedTime, PackageRecord};
pub use recipe::{PackageRecipe, Recipe};
pub use summary::{Interpreter, MissingPackages, Summary};
pub use verify::{Difference, DifferenceKind, Reads, Verification};

#[cfg(test)]
mod tests;
