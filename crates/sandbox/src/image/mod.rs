//! The guest's root file system: execgate's own copy of interpreters, libraries and packages.
//!
//! Why a copy: a guest that alters the page cache of a file it may read then alters only a private inode, which
//! nothing on the host executes. The files under an image's root are data to the host, never programs.
//!
//! Where to read on: [`Recipe`] says what goes in, `rules` what stays out, `plan` gathers, `copy` writes,
//! `cache` finds and publishes, [`Image`] is the handle, [`packages`] fetches what the host has not.

mod advice;
mod build;
mod cache;
mod copy;
mod dpkg;
mod error;
mod etc;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod gather;
mod handle;
mod in_use;
mod manifest;
mod overlay;
mod package_files;
pub mod packages;
mod plan;
mod recipe;
mod rules;
mod shelf;
mod source;
mod summary;
mod verify;

pub use advice::{Advice, advice};
pub use build::Progress;
pub use error::ImageError;
pub use handle::{Image, Origin};
pub use manifest::{Entry, EntryKind, Manifest, ModifiedTime, PackageRecord};
pub use overlay::{Overlay, OverlayRecord};
pub use recipe::{AddedPackage, Base, PackageRecipe, Recipe};
pub use shelf::{Keep, Listed, Pruned};
pub use summary::{Interpreter, MissingPackages, Summary};
pub use verify::{Difference, DifferenceKind, Reads, Verification};

#[cfg(test)]
mod tests;
