//! What can go wrong while an image is made, found or checked: one variant per step, with the way on.

use std::io;
use std::path::PathBuf;

/// Why an image could not be made, opened or checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The root that the recipe names has no dpkg database.
    #[error(
        "no dpkg database found under `{}`; this host's package manager is not supported yet: \
         build an image with `--from-dir`", .root.display()
    )]
    NoPackageDatabase {
        /// The root that was looked at, `/` as a rule.
        root: PathBuf,
    },
    /// The dpkg database is there and could not be read.
    #[error("failed to read the package database at `{path}`")]
    ReadPackages {
        /// Path below the recipe's root.
        path: String,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// None of the wanted packages is installed.
    #[error(
        "none of the wanted packages is installed under `{}`; install at least `bash` and `python3`", .root.display()
    )]
    NothingInstalled {
        /// The root that was looked at.
        root: PathBuf,
    },
    /// The tree to copy from could not be opened.
    #[error("failed to open the tree to copy from, `{}`", .path.display())]
    OpenTree {
        /// The tree's top.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// `--from-dir` names the host's own root.
    #[error(
        "`--from-dir` names this host's own root; name a prepared tree, or leave the option out to copy by package"
    )]
    HostRoot,
    /// An overlay's place is none where packages can be, or is reached through a link of the base.
    #[error("`/{to}` is no place in the image that a folder can be laid over")]
    OverlayPlace {
        /// The place, below the image's root.
        to: String,
    },
    /// A directory or file of the source tree could not be looked at.
    #[error("failed to look at `{path}` in the tree to copy from")]
    LookAt {
        /// Path below the tree's top.
        path: String,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The source tree holds more than an image may.
    #[error("the tree to copy from has more than {limit} entries; name a smaller one")]
    TooManyEntries {
        /// The most entries an image may hold.
        limit: usize,
    },
    /// A source file could not be read.
    #[error("failed to read `{path}` from the tree to copy from")]
    ReadSource {
        /// Path below the tree's top.
        path: String,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// A source file changed under the copy, most likely because packages are being upgraded.
    #[error("`{path}` changed while it was copied; let the package upgrade finish, then try again")]
    Changed {
        /// Path below the tree's top.
        path: String,
    },
    /// The cache's file system is too full.
    #[error("the image needs {needed} bytes and `{}` has {available} free; make room or name another cache", .cache.display())]
    NoRoom {
        /// Bytes that the image needs, with a reserve.
        needed: u64,
        /// Bytes that the file system has for this user.
        available: u64,
        /// The cache directory.
        cache: PathBuf,
    },
    /// The cache directory could not be made or opened.
    #[error("failed to open the image cache `{}`", .path.display())]
    OpenCache {
        /// The cache directory.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The cache directory could be altered by somebody else, so its images prove nothing.
    #[error(
        "the image cache `{}` belongs to uid {uid} with mode {mode:o}; it must be this user's or root's, \
         and writable by its owner alone", .path.display()
    )]
    CacheNotOurs {
        /// The cache directory.
        path: PathBuf,
        /// Who owns it.
        uid: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// The lock that keeps two builds apart could not be taken.
    #[error("failed to lock the image cache `{}`", .path.display())]
    Lock {
        /// The cache directory.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// What an interrupted build left could not be removed.
    #[error("failed to remove what an earlier build left at `{}`", .path.display())]
    CleanUp {
        /// The left-over.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The directory to build in could not be made.
    #[error("failed to make a directory to build in at `{}`", .path.display())]
    MakeBuildDir {
        /// The directory.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// An entry of the image could not be written.
    #[error("failed to write `{path}` into the image")]
    WriteEntry {
        /// Path below the image's root.
        path: String,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The finished tree could not be brought to the disk.
    #[error("failed to bring the image to the disk")]
    Sync(#[source] io::Error),
    /// The manifest could not be written.
    #[error("failed to write the image's manifest")]
    WriteManifest(#[source] io::Error),
    /// The finished image could not be put in its place.
    #[error("failed to put the finished image at `{}`", .path.display())]
    Publish {
        /// Where it belongs.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The digest is not 64 hexadecimal digits.
    #[error("`{digest}` is not the digest of an image; `execgate image show` prints it")]
    BadDigest {
        /// What was given.
        digest: String,
    },
    /// The cache holds no such image.
    #[error("no image `{digest}` in `{}`; `execgate image build` makes one", .cache.display())]
    NoSuchImage {
        /// The digest asked for.
        digest: String,
        /// The cache directory.
        cache: PathBuf,
    },
    /// The manifest could not be read.
    #[error("failed to read the manifest of image `{digest}`; `execgate image build` makes the image anew")]
    ReadManifest {
        /// The image.
        digest: String,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The manifest is not what this version writes.
    #[error("the manifest of image `{digest}` is damaged; `execgate image build` makes the image anew")]
    ParseManifest {
        /// The image.
        digest: String,
        /// Where it does not parse.
        #[source]
        source: serde_json::Error,
    },
    /// The manifest is of a version that this build cannot read.
    #[error("the manifest of image `{digest}` has version {found}, and this execgate reads {known}")]
    ManifestVersion {
        /// The image.
        digest: String,
        /// The version in the file.
        found: u32,
        /// The version that this build reads and writes.
        known: u32,
    },
    /// The manifest's entries do not add up to the digest that the image is filed under.
    #[error(
        "the manifest of image `{digest}` does not match its digest; `execgate image build` makes the image anew"
    )]
    ManifestMismatch {
        /// The image.
        digest: String,
    },
    /// A file of the image could not be read back.
    #[error("failed to read `{path}` of the image back")]
    ReadImage {
        /// Path below the image's root.
        path: String,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
}
