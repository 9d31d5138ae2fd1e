//! Why packages could not be had: one variant per step, with the way on.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::super::error::ImageError;

/// Why packages could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackagesError {
    /// The base or the cache is at fault.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The base has no Python, so that no package can be chosen for it.
    #[error(
        "the base has no `/usr/bin/python3`; install `python3` on the host, or name another `--from-dir`"
    )]
    NoPython,
    /// The base's C library could not be told.
    #[error("the base has no GNU C library that wheels and Node's own builds could run with")]
    NoLibc,
    /// Node's own builds are not made for this machine.
    #[error(
        "node of another version is only to be had for x86_64 and aarch64, and this machine is `{machine}`"
    )]
    NoNodeForMachine {
        /// The machine, as Rust calls it.
        machine: &'static str,
    },
    /// No Python with pip is there.
    #[error("no pip was found; to add it: apt-get install python3-pip")]
    NoPip,
    /// npm is not there.
    #[error("no npm was found on the search path; to add it: apt-get install npm")]
    NoNpm,
    /// pip found no wheel, or could not fetch one.
    #[error(
        "pip gave none of the wheels for Python {python} on {machine}: {said}; only wheels are taken, since building a \
         package would run its code on this host: name another version, or build a wheel elsewhere and give its folder \
         by `--wheels`"
    )]
    Pip {
        /// The version of the base's Python.
        python: String,
        /// The machine.
        machine: &'static str,
        /// The line of pip's own output that matters.
        said: String,
    },
    /// pip did not reach a registry, however often it tried.
    #[error(
        "pip did not reach the registry ({said}); look at pip's own settings (`pip config list`), or give a folder of \
         wheels by `--wheels`"
    )]
    Unreached {
        /// What pip said of it.
        said: String,
    },
    /// npm could not fetch.
    #[error(
        "npm did not give the packages: {said}; give a folder of `.tgz` packages by `--node-from` to need no registry"
    )]
    Npm {
        /// The line of npm's own output that matters.
        said: String,
    },
    /// A program could not be started.
    #[error("failed to start {tool}")]
    Start {
        /// Its name.
        tool: &'static str,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// A program took too long.
    #[error("{tool} did not end within {} minutes and was stopped", .after.as_secs() / 60)]
    TooLong {
        /// Its name.
        tool: &'static str,
        /// How long it was given.
        after: Duration,
    },
    /// A folder for fetched packages could not be written or read.
    #[error("failed to arrange the fetched packages at `{}`", .path.display())]
    Arrange {
        /// What was being read or written.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// A folder or file that the command line names is not there, or not readable.
    #[error("failed to read `{}`, which the command line names", .path.display())]
    Given {
        /// What was named.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The folder of `--node-from` has no package files.
    #[error("there is no `.tgz` package in `{}`; `npm pack NAME` makes one", .folder.display())]
    NoTarballs {
        /// The folder.
        folder: PathBuf,
    },
    /// A package was asked for and did not come.
    #[error("the package `{name}` is not among those of `{}`", .folder.display())]
    NotInFolder {
        /// Its name, with the version that was asked for.
        name: String,
        /// The folder.
        folder: PathBuf,
    },
    /// An R package is not installed on the host.
    #[error(
        "the R package `{name}` is not installed; to add it: apt-get install {debian}; or give a folder of installed \
         packages by `--r-library`"
    )]
    NoRPackage {
        /// Its name.
        name: String,
        /// What Debian would call it.
        debian: String,
    },
    /// The base has no R.
    #[error("the base has no R; to add it: apt-get install --no-install-recommends r-base-core")]
    NoR,
    /// A Debian package is not installed on the host.
    #[error("the package `{name}` is not installed; to add it: apt-get install {name}")]
    NoDebianPackage {
        /// Its name.
        name: String,
    },
    /// Debian packages were named for a prepared tree.
    #[error(
        "a prepared tree has the packages that it has; `--package` is for an image of this host's packages"
    )]
    PackagesInTree,
}
