//! `execgate log export DIR`: the log as the files that C2SP tlog-tiles names, for a mirror or an offline check.
//!
//! What is there already is not fetched again: a whole tile never changes. The checkpoint comes last, so that a folder
//! never promises what it does not have.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use execgate_receipt::{Checkpoint, SignedNote, Tile};

use super::super::cli::{Common, DataDir};
use crate::office::{Desk, Signs, with_desk};
use crate::terminal;

/// Where to copy the log.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The folder, which the owner of the data directory must be able to write; a copy from before is brought up to date
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    common: Common,
}

impl Export {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        with_desk(&self.data, &self.common, Signs::Checkpoints, async |desk| {
            let note = desk.get("/log/checkpoint").await?.body;
            let signed = SignedNote::parse(&note).context("the checkpoint is no signed note")?;
            let head: Checkpoint = signed.unverified_text().parse().context("the note is no checkpoint")?;
            fs::create_dir_all(&self.folder)
                .with_context(|| format!("failed to make the folder {}", self.folder.display()))?;
            let mut fetched = 0_u64;
            for tile in Tile::all(head.size) {
                fetched += u64::from(self.fetch(desk, &tile).await?);
            }
            write(&self.folder.join("checkpoint"), &note)?;
            terminal::note(format_args!(
                "{} entries of {}, {fetched} new tiles, in {}",
                head.size,
                head.origin,
                self.folder.display()
            ));
            Ok(ExitCode::SUCCESS)
        })
    }

    /// Copies a tile, if it is not there. True where it was not.
    async fn fetch(&self, desk: &mut Desk, tile: &Tile) -> anyhow::Result<bool> {
        let path = self.folder.join("tile").join(tile.to_string());
        if path.exists() {
            return Ok(false);
        }
        let bytes = desk.get(&format!("/log/tile/{tile}")).await?.body;
        let folder = path.parent().context("a tile lies in a folder")?;
        fs::create_dir_all(folder)
            .with_context(|| format!("failed to make the folder {}", folder.display()))?;
        write(&path, &bytes)?;
        Ok(true)
    }
}

/// Writes a file whole, in the place of the one before.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let what = || format!("failed to write {}", path.display());
    let partial = path.with_extension("partial");
    let mut file = fs::File::create(&partial).with_context(what)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(what)?;
    fs::rename(&partial, path).with_context(what)
}
