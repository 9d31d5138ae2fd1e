//! The client's side of bringing files back: which ones, into which memory file, and reading what came.

use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use execgate_forkpoint::wire::text_memfd;
use rustix::fs::{MemfdFlags, memfd_create};

use crate::error::RunError;
use crate::files::{Collect, CollectedFile, NotCollected};
use crate::wire::read_files;

/// What the paths and lengths of one record may take beside its content.
const RECORD_BYTES_MAX: u64 = 8 << 10;

/// Files that were asked for.
pub(super) struct Gathering {
    wanted: OwnedFd,
    parcel: OwnedFd,
    bytes_max: u64,
    files_max: usize,
}

impl Gathering {
    pub(super) fn new(collect: &Collect) -> Result<Self, RunError> {
        if let Some(wrong) = collect.patterns.iter().find(|text| !Collect::is_pattern(text)) {
            return Err(RunError::Pattern(wrong.clone()));
        }
        let text = serde_json::to_vec(collect).map_err(|error| RunError::Store(error.into()))?;
        let wanted = text_memfd("collect", &text).map_err(RunError::Store)?;
        let parcel =
            memfd_create("parcel", MemfdFlags::CLOEXEC).map_err(|error| RunError::Store(error.into()))?;
        // One more for each end of the list: the file too many, and the end itself.
        let records = u64::from(collect.files_max).saturating_add(2);
        let bytes_max = collect.total_bytes_max.saturating_add(records.saturating_mul(RECORD_BYTES_MAX));
        let files_max = usize::try_from(collect.files_max).unwrap_or(usize::MAX).saturating_add(1);
        Ok(Self { wanted, parcel, bytes_max, files_max })
    }

    pub(super) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.wanted.as_fd(), self.parcel.as_fd()]
    }

    /// Reads what was brought back. Only when the helper has said that the run has ended.
    pub(super) fn read(self) -> Vec<CollectedFile> {
        let mut parcel = File::from(self.parcel);
        match parcel.seek(SeekFrom::Start(0)) {
            Ok(_) => read_files(parcel, self.bytes_max, self.files_max),
            Err(_) => vec![CollectedFile { path: String::new(), content: Err(NotCollected::BrokeOff) }],
        }
    }
}
