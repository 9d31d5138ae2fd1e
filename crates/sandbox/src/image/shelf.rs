//! Lists the images of a cache, and removes those that nobody needs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde::Serialize;

use super::cache::Cache;
use super::error::ImageError;
use super::handle::Image;
use super::in_use::{self, LOCK_NAME};
use super::manifest::{MANIFEST_NAME, Manifest};
use super::summary::Summary;

/// One image of a cache.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its digest.
    pub digest: String,
    /// When it was made.
    pub made: SystemTime,
    /// When a process last took it to run from it.
    pub last_taken: SystemTime,
    /// Whether a process has taken it now; `None` where only the cache's owner can tell.
    pub in_use: Option<bool>,
    /// What is in it; the reason where its manifest cannot be read, as that of another version.
    pub summary: Result<Summary, String>,
}

/// Which images may stay although nobody uses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// So many, of those that were taken last.
    Newest(usize),
    /// Those that were taken since.
    TakenSince(SystemTime),
}

/// What a removal did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Digests that were removed.
    pub removed: Vec<String>,
    /// Bytes of content that they had.
    pub bytes: u64,
    /// Digests that would have gone and are in use.
    pub in_use: Vec<String>,
    /// Digests of another version of execgate, which does not say whether it uses them.
    pub foreign: Vec<String>,
}

impl Image {
    /// Every image of a cache, the last taken first; an absent cache has none.
    ///
    /// # Errors
    /// [`ImageError::OpenCache`], [`ImageError::CacheNotOurs`], [`ImageError::ReadManifest`].
    pub fn list(cache: &Path) -> Result<Vec<Listed>, ImageError> {
        if !cache.exists() {
            return Ok(Vec::new());
        }
        let cache = Cache::open(cache)?;
        let mut listed =
            cache.digests()?.into_iter().map(|digest| look(&cache, digest)).collect::<Result<Vec<_>, _>>()?;
        listed.sort_by(|a, b| (b.last_taken, &a.digest).cmp(&(a.last_taken, &b.digest)));
        Ok(listed)
    }

    /// Removes images that no process has taken, but for those to keep and those with a `spared` digest.
    ///
    /// # Errors
    /// [`ImageError::Lock`] to anybody but the cache's owner; [`ImageError::CleanUp`] where a tree resists.
    pub fn prune(cache: &Path, keep: Keep, spared: &[String]) -> Result<Pruned, ImageError> {
        if !cache.exists() {
            return Ok(Pruned::default());
        }
        let listed = Self::list(cache)?;
        let cache = Cache::open(cache)?;
        let building = cache.lock()?;
        let mut pruned = Pruned::default();
        for (position, image) in listed.into_iter().enumerate() {
            let stays = match keep {
                Keep::Newest(count) => position < count,
                Keep::TakenSince(time) => image.last_taken >= time,
            };
            if stays || spared.contains(&image.digest) {
                continue;
            }
            if !cache.path().join(&image.digest).join(LOCK_NAME).is_file() {
                pruned.foreign.push(image.digest);
            } else if building.remove_unused(&image.digest)? {
                pruned.bytes += image.summary.map_or(0, |summary| summary.bytes);
                pruned.removed.push(image.digest);
            } else {
                pruned.in_use.push(image.digest);
            }
        }
        let removed: BTreeSet<&str> = pruned.removed.iter().map(String::as_str).collect();
        building.forget(&removed)?;
        Ok(pruned)
    }
}

fn look(cache: &Cache, digest: String) -> Result<Listed, ImageError> {
    let place = cache.path().join(&digest);
    let unread = |source| ImageError::ReadManifest { digest: digest.clone(), source };
    let content = fs::read(place.join(MANIFEST_NAME)).map_err(unread)?;
    let made = fs::metadata(place.join(MANIFEST_NAME)).and_then(|found| found.modified()).map_err(unread)?;
    let taken = fs::metadata(place.join(LOCK_NAME)).and_then(|found| found.modified());
    let summary = Manifest::parse(&digest, &content).map(|manifest| Summary::of(manifest, made));
    Ok(Listed {
        made,
        last_taken: taken.unwrap_or(made),
        in_use: in_use::unless_used(&place, || Ok(())).ok().map(|free| free.is_none()),
        summary: summary.map_err(|error| error.to_string()),
        digest,
    })
}
