//! `execgate image build|show`: the guest's root file system.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use execgate_sandbox::image::{Image, Reads, Recipe};
use rustix::process::geteuid;
use serde_json::json;

use crate::config::{Environment, image_cache};
use crate::{terminal, wire};

/// The image that code runs in.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Copy interpreters, libraries and packages of this host (or of a folder) into a new image
    Build(Build),
    /// Show what the image holds
    Show(Show),
}

#[derive(Debug, Args)]
pub(crate) struct Build {
    /// Copy this prepared root tree instead of the host's packages (a debootstrap tree, say)
    #[arg(long, value_name = "DIR")]
    from_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Where images are kept [default: /var/cache/execgate as root, else ~/.cache/execgate]
    #[arg(long, value_name = "DIR")]
    image_cache: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Show this image [default: the one of this host's packages]
    #[arg(long, value_name = "DIGEST")]
    image: Option<String>,
    /// Read every file again and compare it with the manifest, past the page cache
    #[arg(long)]
    verify: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Where images are kept [default: /var/cache/execgate as root, else ~/.cache/execgate]
    #[arg(long, value_name = "DIR")]
    image_cache: Option<PathBuf>,
}

impl ImageCommand {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Build(build) => build.execute(),
            Self::Show(show) => show.execute(),
        }
    }
}

fn cache(set: Option<&PathBuf>) -> anyhow::Result<PathBuf> {
    let set = set.map(|path| path.display().to_string());
    image_cache(set.as_deref(), geteuid().is_root(), &Environment::read())
}

impl Build {
    fn execute(self) -> anyhow::Result<ExitCode> {
        let recipe = self.from_dir.map_or_else(Recipe::host, Recipe::FromDir);
        let cache = cache(self.image_cache.as_ref())?;
        let built = Image::build(&cache, &recipe, &mut wire::draw_progress);
        terminal::progress_end();
        tell(&built?, self.json)
    }
}

impl Show {
    fn execute(self) -> anyhow::Result<ExitCode> {
        let cache = cache(self.image_cache.as_ref())?;
        let image = match &self.image {
            Some(digest) => Image::open(&cache, digest)?,
            None => Image::find(&cache, &Recipe::host())?
                .context("there is no image of this host's present packages; run: execgate image build")?,
        };
        if !self.verify {
            return tell(&image, self.json);
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

fn tell(image: &Image, as_json: bool) -> anyhow::Result<ExitCode> {
    let summary = image.summary()?;
    if as_json {
        terminal::json(&json!({"root": image.root, "summary": summary}))?;
        return Ok(ExitCode::SUCCESS);
    }
    terminal::line(format_args!("image    {}", image.digest));
    terminal::line(format_args!("from     {}", summary.recipe));
    terminal::line(format_args!("size     {} files, {} bytes", summary.files, summary.bytes));
    for interpreter in &summary.interpreters {
        let version = interpreter.version.as_deref().unwrap_or("?");
        terminal::line(format_args!("{:<8} {version} ({})", interpreter.language, interpreter.path));
    }
    for note in &summary.notes {
        terminal::line(format_args!("note     {note}"));
    }
    if let Some(command) = &summary.missing.command {
        terminal::line(format_args!(
            "missing  {}; to add them: {command}",
            summary.missing.packages.join(", ")
        ));
    }
    Ok(ExitCode::SUCCESS)
}
