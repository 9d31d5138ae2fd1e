//! `execgate log export DIR`: the log as the files that C2SP tlog-tiles names, for a mirror or an offline check.
//!
//! What is there already is not fetched again: a whole tile never changes. The checkpoint comes last, so that a folder
//! never promises what it does not have.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use execgate_receipt::{Checkpoint, SignedNote, Tile};

use super::super::cli::{Common, DataDir};
use crate::office::{Desk, Signs, with_desk};
use crate::terminal;

/// What lies in the folder already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Tiles of this log, if any.
    Same,
    /// Nothing, or tiles of which nobody knows which log they are of: none of them is kept.
    Unknown,
}

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
            let standing = self.standing(&head)?;
            let mut fetched = 0_u64;
            for tile in Tile::all(head.size) {
                fetched += u64::from(self.fetch(desk, &tile, standing).await?);
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

    /// What there is of the log already. A folder of another one is refused: tiles of two are not to be told apart.
    fn standing(&self, head: &Checkpoint) -> anyhow::Result<Standing> {
        let path = self.folder.join("checkpoint");
        if !path.exists() {
            // A copy that broke off says not of what.
            return Ok(Standing::Unknown);
        }
        let note = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        let before = SignedNote::parse(&note).ok();
        let before = before.and_then(|note| note.unverified_text().parse::<Checkpoint>().ok());
        let before = before.with_context(|| format!("{} is no checkpoint", path.display()))?;
        if before.origin != head.origin {
            bail!(
                "{} holds a copy of the log `{}`, and this one is `{}`: take another folder",
                self.folder.display(),
                before.origin,
                head.origin
            );
        }
        if before.size > head.size {
            bail!(
                "{} holds {} entries of the log, which has {}: it is not the log that was copied",
                self.folder.display(),
                before.size,
                head.size
            );
        }
        Ok(Standing::Same)
    }

    /// Copies a tile, if it is not there. True where it was not.
    async fn fetch(&self, desk: &mut Desk, tile: &Tile, standing: Standing) -> anyhow::Result<bool> {
        let path = self.folder.join("tile").join(tile.to_string());
        if standing == Standing::Same && path.exists() {
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
