//! Workspaces: files that a caller has had written, and keeps. One for each owner, in the gateway's data directory.

mod copied;
mod entries;
mod keep;
mod path;
#[cfg(test)]
mod tests;

pub use copied::{Copied, copied};
pub use keep::{WorkspaceError, WorkspaceFile, Workspaces};
pub use path::{BadPath, WorkspacePath};

pub(crate) use keep::Written;
