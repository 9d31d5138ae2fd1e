//! `execgate backup`: a copy of the record, made beside a gateway that serves it.

use std::io;
use std::path::{self, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;

use super::cli::{Common, DataDir};
use crate::{privileges, terminal, wire};

/// Copies the record as of one moment into a new file. Gateways that serve it go on meanwhile. The file is for the owner of
/// the data directory alone, who must be able to make it; `keys/` is not in it.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file, which must not be there yet
    #[arg(value_parser = absolute)]
    file: PathBuf,
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    common: Common,
}

fn absolute(text: &str) -> io::Result<PathBuf> {
    path::absolute(text)
}

impl Backup {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let folder = &self.data.data_dir;
        if !folder.is_dir() {
            bail!("there is no data directory {}; name it by --data-dir", folder.display());
        }
        let settings = wire::record_settings(&self.common)?;
        privileges::become_owner_of(folder)?;
        wire::runtime()?.block_on(async {
            let store = wire::record(folder, settings.database_url(folder))?;
            let copied = store.copy_to(self.file.clone()).await;
            store.close().await;
            copied.with_context(|| {
                let file = self.file.display();
                format!("no copy was made as {file}, which the owner of the data directory has to be allowed to make")
            })
        })?;
        terminal::note(format_args!(
            "the record is copied; `execgate fsck --data-dir {} --database sqlite://{}` checks it",
            folder.display(),
            self.file.display()
        ));
        Ok(ExitCode::SUCCESS)
    }
}
