//! How much space the data directory has left. Below a watermark no new run is claimed, so that those that run can still
//! be written down.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use execgate_model::Space;
use rustix::fs::statvfs;

/// What is known of the space of a data directory.
#[derive(Debug)]
pub(crate) struct DiskWatch {
    folder: PathBuf,
    /// In bytes.
    min_free: u64,
    is_low: AtomicBool,
}

impl DiskWatch {
    /// Watches a folder, and has looked at it once.
    pub(crate) fn new(folder: &Path, min_free: u64) -> Self {
        let watch = Self { folder: folder.to_owned(), min_free, is_low: AtomicBool::new(false) };
        watch.look();
        watch
    }

    /// Looks how much there is. May wait for a disk. Where nobody can tell there is too little.
    pub(crate) fn look(&self) {
        let free = statvfs(&self.folder).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        let is_low = self.min_free > 0 && !free.is_ok_and(|free| free >= self.min_free);
        let was_low = self.is_low.swap(is_low, Ordering::Relaxed);
        if is_low == was_low {
            return;
        }
        let (folder, min_free) = (self.folder.display(), self.min_free);
        match free {
            Ok(free) if is_low => {
                tracing::error!(%folder, free, min_free, "too little space: no new run is claimed");
            }
            Ok(free) => tracing::info!(%folder, free, min_free, "there is space again: runs are claimed"),
            Err(error) => tracing::error!(%folder, %error, "no space can be seen: no new run is claimed"),
        }
    }
}

impl Space for DiskWatch {
    fn is_low(&self) -> bool {
        self.is_low.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use execgate_model::Space as _;

    use super::DiskWatch;

    #[test]
    fn below_the_watermark_and_where_nobody_can_tell_there_is_too_little() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!DiskWatch::new(folder.path(), 1).is_low());
        assert!(DiskWatch::new(folder.path(), u64::MAX).is_low());
        assert!(DiskWatch::new(&folder.path().join("missing"), 1).is_low());
        assert!(!DiskWatch::new(folder.path(), 0).is_low());
    }
}
