//! `execgate image show`: what an image holds, and whether it is still what it was.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use execgate_sandbox::image::{Image, Reads, Recipe};

use super::command::CacheDir;
use super::words;
use crate::terminal;

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The image [default: the one of this host's packages]
    #[arg(value_name = "DIGEST")]
    image: Option<String>,
    /// Read every file again and compare it with the manifest, past the page cache
    #[arg(long)]
    verify: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: CacheDir,
}

impl Show {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let cache = self.cache.path()?;
        let image = match &self.image {
            Some(digest) => Image::open(&cache, digest)?,
            None => Image::find(&cache, &Recipe::host())?
                .context("there is no image of this host's present packages; run: execgate image build")?,
        };
        if !self.verify {
            words::tell(&image, self.json)?;
            return Ok(ExitCode::SUCCESS);
        }
        let verification = image.verify(Reads::Direct)?;
        if self.json {
            terminal::json(&verification)?;
        } else {
            for difference in &verification.differences {
                terminal::line(format_args!("{:?}: {}", difference.kind, difference.path));
            }
            let verdict =
                if verification.is_intact() { "intact" } else { "DAMAGED; run: execgate image build" };
            terminal::line(format_args!(
                "{} files, {} bytes read: {verdict}",
                verification.files, verification.bytes
            ));
        }
        Ok(ExitCode::from(u8::from(!verification.is_intact())))
    }
}
