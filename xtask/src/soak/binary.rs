//! What the soaks that need a gateway run: the release binary, and a folder for what it keeps.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::{metadata, shell};

/// The binary that was asked for, or a new one; and the folder.
pub(super) fn of(asked: Option<&Path>) -> Result<(PathBuf, PathBuf)> {
    let target = metadata::workspace()?.target_directory;
    let binary = match asked {
        Some(binary) => fs::canonicalize(binary).context("failed to find the binary")?,
        None => {
            let built = shell::streams(&mut shell::cargo(&["build", "--release", "--package", "execgate"]))?;
            ensure!(built, "the release binary does not build");
            target.join("release/execgate")
        }
    };
    let scratch = target.join("soak");
    fs::create_dir_all(&scratch).context("failed to make the soak's folder")?;
    Ok((binary, scratch))
}
