//! The subcommands, and where images are kept.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use rustix::process::geteuid;

use super::build::Build;
use super::list::List;
use super::prune::Prune;
use super::show::Show;
use crate::config::{Environment, image_cache};

/// The image that code runs in.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Copy interpreters, libraries and packages of this host (or of a folder) into a new image
    Build(Box<Build>),
    /// Show what an image holds
    Show(Show),
    /// List the images that are there
    List(List),
    /// Remove images that no gateway uses
    Prune(Prune),
}

/// Where images are.
#[derive(Debug, Args)]
pub(crate) struct CacheDir {
    /// Where images are kept [default: /var/cache/execgate as root, else ~/.cache/execgate]
    #[arg(long, value_name = "DIR")]
    image_cache: Option<PathBuf>,
}

impl ImageCommand {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Build(build) => build.execute(),
            Self::Show(show) => show.execute(),
            Self::List(list) => list.execute(),
            Self::Prune(prune) => prune.execute(),
        }
    }
}

impl CacheDir {
    pub(super) fn path(&self) -> anyhow::Result<PathBuf> {
        let set = self.image_cache.as_ref().map(|path| path.display().to_string());
        image_cache(set.as_deref(), geteuid().is_root(), &Environment::read())
    }
}
