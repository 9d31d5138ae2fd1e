//! The log: to standard error, or appended to a file, as text or JSON. It holds no payload, no code and no secret.
//! The file is opened once and for appending: what rotates it copies and truncates it (docs/AUDIT.md).

use std::fs::OpenOptions;
use std::io::{self, IsTerminal as _};
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::{Context as _, anyhow};
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Settings};
use crate::log_queue::LogQueue;

/// Starts the log, and a thread for it.
pub(crate) fn start(settings: &Settings) -> anyhow::Result<LogQueue> {
    let filter = EnvFilter::try_new(&settings.log_level)
        .with_context(|| format!("`log.level` is `{}`, which is no filter", settings.log_level))?;
    // What speaks MCP would write calls and their answers; what there is to say of them is said by ours.
    let quiet = "rmcp=off".parse().context("the log cannot leave out what it must not hold")?;
    let filter = filter.add_directive(quiet);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    let (queue, ansi) = match &settings.log_file {
        None => (LogQueue::start(io::stderr()), io::stderr().is_terminal()),
        Some(path) => {
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o640)
                .open(path)
                .with_context(|| format!("failed to open the log file {}", path.display()))?;
            (LogQueue::start(file), false)
        }
    };
    let queue = queue.context("failed to start the thread of the log")?;
    let builder = builder.with_writer(queue.clone());
    let started = match settings.log_format {
        LogFormat::Text => builder.with_ansi(ansi).try_init(),
        // The span of a run is said once, as the object `span`.
        LogFormat::Json => builder.json().flatten_event(true).with_span_list(false).try_init(),
    };
    started.map_err(|error| anyhow!("failed to start the log: {error}"))?;
    Ok(queue)
}
