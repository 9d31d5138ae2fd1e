//! `execgate image build`: an image of this host or of a folder, with packages that it has not.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use execgate_sandbox::image::packages::{
    DebianPackage, NodeMajor, NodePackage, PythonPackage, RPackage, Wanted,
};
use execgate_sandbox::image::{Image, Recipe};

use super::command::CacheDir;
use super::words;
use crate::{terminal, wire};

/// Packages are fetched by the pip and npm of this host, from wherever they are set to fetch; no code of a package runs.
#[derive(Debug, Args)]
pub(crate) struct Build {
    /// Copy this prepared root tree instead of the host's packages (a debootstrap tree, say)
    #[arg(long, value_name = "DIR")]
    from_dir: Option<PathBuf>,
    /// Add installed packages of this host, by their Debian names
    #[arg(long, value_name = "DEB,…", value_delimiter = ',')]
    package: Vec<DebianPackage>,
    /// Add Python packages (wheels only), and what they need
    #[arg(long, value_name = "NAME[==V],…", value_delimiter = ',')]
    python: Vec<PythonPackage>,
    /// Add the Python packages of a requirements file of pip
    #[arg(long, value_name = "FILE")]
    requirements: Option<PathBuf>,
    /// Take wheels from this folder and from nowhere else
    #[arg(long, value_name = "DIR")]
    wheels: Option<PathBuf>,
    /// Add packages of JavaScript, and what they need
    #[arg(long, value_name = "NAME[@V],…", value_delimiter = ',')]
    node: Vec<NodePackage>,
    /// Add every package (.tgz of `npm pack`) of this folder and fetch nothing; --node says what must be among them
    #[arg(long, value_name = "DIR")]
    node_from: Option<PathBuf>,
    /// Use this line of Node instead of the host's: 20, 22 or 24
    #[arg(long, value_name = "MAJOR")]
    node_version: Option<NodeMajor>,
    /// Add R packages, which must be installed as Debian packages (r-cran-…) or be in --r-library
    #[arg(long = "r", value_name = "NAME,…", value_delimiter = ',')]
    r: Vec<RPackage>,
    /// Add every R package that is installed in this folder
    #[arg(long, value_name = "DIR")]
    r_library: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: CacheDir,
}

impl Build {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let cache = self.cache.path()?;
        let recipe = self.from_dir.map_or_else(Recipe::host, Recipe::from_dir);
        let wanted = Wanted {
            python: self.python,
            requirements: self.requirements,
            wheels: self.wheels,
            node: self.node,
            node_from: self.node_from,
            node_version: self.node_version,
            r: self.r,
            r_library: self.r_library,
            debian: self.package,
        };
        let prepared = wanted.prepare(&cache, recipe, &mut |line| terminal::note(line))?;
        let built = Image::build(&cache, &prepared.recipe, &mut wire::draw_progress);
        terminal::progress_end();
        words::tell(&built?, self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}
