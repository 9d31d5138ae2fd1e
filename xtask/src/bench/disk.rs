//! What the disk itself takes for one durable write: the least that any durable answer can cost.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::bench::series::Series;

/// About what a database appends to its log for a small transaction.
const BLOCK_BYTES: usize = 8 * 1024;

/// A file that grows by one block at a time.
pub(crate) struct Disk {
    file: File,
}

impl Disk {
    /// Makes the file in this folder.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let file = File::create(folder.join("append")).context("failed to make the file to append to")?;
        Ok(Self { file })
    }

    /// Appends and flushes for a while, from an empty file.
    pub(crate) fn run(&mut self, length: Duration, series: &mut Series) -> Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        let block = [0x5A; BLOCK_BYTES];
        let start = Instant::now();
        while start.elapsed() < length {
            let before = Instant::now();
            self.file.write_all(&block).context("failed to append")?;
            self.file.sync_data().context("failed to flush")?;
            series.latencies.push(before.elapsed());
        }
        series.wall += start.elapsed();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_append_is_timed() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Disk::open(folder.path()).unwrap();
        let mut series = Series::new("disk");
        disk.run(Duration::from_millis(20), &mut series).unwrap();
        let length = std::fs::metadata(folder.path().join("append")).unwrap().len();
        assert_eq!(usize::try_from(length).unwrap(), series.latencies.len() * BLOCK_BYTES);
        assert!(!series.latencies.is_empty());
    }
}
