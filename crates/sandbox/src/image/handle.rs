//! [`Image`]: what the rest of the program holds of an image.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::build::{self, Progress};
use super::cache::{Cache, is_digest};
use super::error::ImageError;
use super::in_use;
use super::manifest::{MANIFEST_NAME, Manifest};
use super::recipe::Recipe;
use super::summary::{MissingPackages, Summary, missing};
use super::verify::{self, Reads, Verification};

/// A finished image in a cache.
///
/// The process that has one is taken to run from it: it is not removed before the process ends or
/// [lets go](Self::let_go).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Image {
    /// Absolute path of the tree that becomes the guest's root; to be mounted read-only, `nosuid` and `nodev`.
    pub root: PathBuf,
    /// SHA-256 over everything in it but modification times, as 64 hexadecimal digits.
    pub digest: String,
    /// Whether this call made it.
    pub origin: Origin,
}

/// Whether a call made an image or found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// It was in the cache.
    Found,
    /// It was built now.
    Built,
}

impl Image {
    /// Opens an image that is in the cache.
    ///
    /// # Errors
    /// [`ImageError::OpenCache`], [`ImageError::CacheNotOurs`], [`ImageError::BadDigest`],
    /// [`ImageError::NoSuchImage`].
    pub fn open(cache: &Path, digest: &str) -> Result<Self, ImageError> {
        Self::in_cache(&Cache::open(cache)?, digest, Origin::Found)
    }

    /// Finds the image of a recipe without building: `None` when the cache has none for the host's present state.
    ///
    /// # Errors
    /// As [`Self::open`], and what reading the package database gives.
    pub fn find(cache: &Path, recipe: &Recipe) -> Result<Option<Self>, ImageError> {
        if !cache.exists() {
            return Ok(None);
        }
        let cache = Cache::open(cache)?;
        Self::known(&cache, &build::key(recipe)?)
    }

    /// Finds the image of a recipe, or builds it: a few milliseconds the second time.
    ///
    /// Several processes may ask at once: one builds, the others wait for it.
    ///
    /// # Errors
    /// Any [`ImageError`] of a build; a build that fails leaves the cache as it was.
    pub fn ensure(
        cache: &Path,
        recipe: &Recipe,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, ImageError> {
        let cache = Cache::open_or_make(cache)?;
        let key = build::key(recipe)?;
        if let Some(image) = Self::known(&cache, &key)? {
            return Ok(image);
        }
        let building = cache.lock()?;
        // somebody else may have built it while we waited
        if let Some(image) = Self::known(&cache, &key)? {
            return Ok(image);
        }
        let digest = build::build(&cache, &building, recipe, progress)?;
        Self::in_cache(&cache, &digest, Origin::Built)
    }

    /// Builds the image of a recipe anew, whatever the cache remembers.
    ///
    /// Takes in what an input key does not see: a file altered in a prepared tree, an alternative set differently.
    /// An image of the same digest that is found damaged is replaced; jails that run from it lose their files.
    ///
    /// # Errors
    /// Any [`ImageError`] of a build; a build that fails leaves the cache as it was.
    pub fn build(
        cache: &Path,
        recipe: &Recipe,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, ImageError> {
        let cache = Cache::open_or_make(cache)?;
        let building = cache.lock()?;
        let digest = build::build(&cache, &building, recipe, progress)?;
        Self::in_cache(&cache, &digest, Origin::Built)
    }

    /// Reads the manifest and checks that it adds up to the image's digest.
    ///
    /// # Errors
    /// [`ImageError::ReadManifest`], [`ImageError::ParseManifest`], [`ImageError::ManifestVersion`],
    /// [`ImageError::ManifestMismatch`].
    pub fn manifest(&self) -> Result<Manifest, ImageError> {
        let unread = |source| ImageError::ReadManifest { digest: self.digest.clone(), source };
        let content = fs::read(self.root.with_file_name(MANIFEST_NAME)).map_err(unread)?;
        Manifest::parse(&self.digest, &content)
    }

    /// Reads the whole tree again and lists where it differs from the manifest.
    ///
    /// # Errors
    /// As [`Self::manifest`], and [`ImageError::ReadImage`] where the tree cannot be read.
    pub fn verify(&self, reads: Reads) -> Result<Verification, ImageError> {
        verify::verify(&self.root, &self.manifest()?, reads)
    }

    /// The image in a few lines.
    ///
    /// # Errors
    /// As [`Self::manifest`].
    pub fn summary(&self) -> Result<Summary, ImageError> {
        let manifest = self.root.with_file_name(MANIFEST_NAME);
        let unread = |source| ImageError::ReadManifest { digest: self.digest.clone(), source };
        let made = fs::metadata(manifest).and_then(|found| found.modified()).map_err(unread)?;
        Ok(Summary::of(self.manifest()?, made))
    }

    /// What of the usual set (numpy, pandas, matplotlib) is not in the image, and the command that adds it.
    ///
    /// # Errors
    /// As [`Self::manifest`].
    pub fn missing_packages(&self) -> Result<MissingPackages, ImageError> {
        Ok(missing(&self.manifest()?.entries))
    }

    /// Says that this process does not run from the image any more, so that it can be removed.
    pub fn let_go(self) {
        if let Some(image) = self.root.parent() {
            in_use::let_go(image);
        }
    }

    /// The image of a key, unless there is none, or it is going away now.
    fn known(cache: &Cache, key: &str) -> Result<Option<Self>, ImageError> {
        let Some(digest) = cache.find(key) else { return Ok(None) };
        match Self::in_cache(cache, &digest, Origin::Found) {
            Err(ImageError::NoSuchImage { .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    fn in_cache(cache: &Cache, digest: &str, origin: Origin) -> Result<Self, ImageError> {
        let image = Self::at(cache, digest, origin)?;
        match in_use::take(&cache.path().join(digest)) {
            Ok(()) => Ok(image),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(ImageError::NoSuchImage { digest: digest.to_owned(), cache: cache.path().to_owned() })
            }
            Err(source) => Err(ImageError::Lock { path: cache.path().to_owned(), source }),
        }
    }

    /// An image that is there, for who only looks at it: it may be removed meanwhile.
    pub(super) fn at(cache: &Cache, digest: &str, origin: Origin) -> Result<Self, ImageError> {
        if !is_digest(digest) {
            return Err(ImageError::BadDigest { digest: digest.to_owned() });
        }
        let absent = || ImageError::NoSuchImage { digest: digest.to_owned(), cache: cache.path().to_owned() };
        Ok(Self { root: cache.root_of(digest).ok_or_else(absent)?, digest: digest.to_owned(), origin })
    }
}
