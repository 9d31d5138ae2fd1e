//! Where things lie.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Environment;

/// The cache of images: outside the data directory, so that a second data directory copies nothing.
pub(crate) fn image_cache(
    set: Option<&str>,
    root: bool,
    environment: &Environment,
) -> anyhow::Result<PathBuf> {
    if let Some(path) = set.filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    if root {
        return Ok(PathBuf::from("/var/cache/execgate"));
    }
    let home = environment.home.as_ref().map(|home| Path::new(home).join(".cache"));
    let cache = environment.xdg_cache_home.as_ref().map(PathBuf::from).or(home);
    Ok(cache
        .context("neither XDG_CACHE_HOME nor HOME is set; name a folder by `sandbox.image_cache`")?
        .join("execgate"))
}

/// The database of a data directory.
pub(crate) fn sqlite_url(data_dir: &Path) -> String {
    format!("sqlite://{}", data_dir.join("execgate.db").display())
}
