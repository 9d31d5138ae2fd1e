//! The log: to standard error, or appended to a file. It holds no payload, no code and no secret.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Mutex;

use anyhow::{Context as _, anyhow};
use tracing_subscriber::EnvFilter;

use crate::config::Settings;

/// Starts the log.
pub(crate) fn start(settings: &Settings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.log_level)
        .with_context(|| format!("`log.level` is `{}`, which is no filter", settings.log_level))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    let started = match &settings.log_file {
        None => builder.with_ansi(io::stderr().is_terminal()).with_writer(io::stderr).try_init(),
        Some(path) => {
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o640)
                .open(path)
                .with_context(|| format!("failed to open the log file {}", path.display()))?;
            builder.with_ansi(false).with_writer(Mutex::new(file)).try_init()
        }
    };
    started.map_err(|error| anyhow!("failed to start the log: {error}"))
}
