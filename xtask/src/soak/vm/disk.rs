//! A disk with one partition, an ext4 file system made of a folder without mounting anything. A kernel finds it by its mark:
//! which disk has which number is chance where the kernel looks at several at once, as it does since Linux 6.12.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context, Result};

use crate::shell;

/// Where the file system begins, in bytes: where every tool would have it.
const BEGIN: u64 = 1 << 20;

const SECTOR: u64 = 512;

/// The name of the one partition: what `root=PARTUUID=` takes.
pub(super) fn partition(mark: u32) -> String {
    format!("{mark:08x}-01")
}

/// Makes a disk at `place`, of what is in `folder` and so much room.
pub(super) fn make(folder: &Path, place: &Path, room_mib: u64, mark: u32) -> Result<()> {
    let mut count = shell::command("du", &["--summarize", "--block-size=1M"]);
    let counted = shell::captures(count.arg(folder))?;
    let used = counted.split_whitespace().next().and_then(|number| number.parse::<u64>().ok());
    let used = used.context("du told no number")?;
    // What ext4 keeps for itself: a fifth is more than enough.
    let size = used + used / 5 + room_mib;
    let unfinished = place.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_file(&unfinished).with_context(|| format!("failed to remove {}", unfinished.display()))?;
    }
    let mut make = shell::command("mkfs.ext4", &["-q", "-O", "^has_journal", "-E"]);
    make.arg(format!("offset={BEGIN}")).arg("-d").arg(folder).arg(&unfinished).arg(format!("{size}M"));
    shell::captures(&mut make)?;
    let failed = || format!("failed to write {}", unfinished.display());
    let disk = File::options().write(true).open(&unfinished).with_context(failed)?;
    disk.set_len(BEGIN + (size << 20)).with_context(failed)?;
    disk.write_all_at(&table(mark, size << 20)?, 0).with_context(failed)?;
    fs::rename(&unfinished, place).with_context(|| format!("failed to keep {}", place.display()))
}

/// The first sector: the table of the PC's oldest partitions, with one of this length in bytes.
fn table(mark: u32, length: u64) -> Result<[u8; 512]> {
    let sectors = |bytes: u64| u32::try_from(bytes / SECTOR).context("the disk is too large");
    let mut sector = [0; 512];
    sector[440..444].copy_from_slice(&mark.to_le_bytes());
    // Of Linux.
    sector[450] = 0x83;
    sector[454..458].copy_from_slice(&sectors(BEGIN)?.to_le_bytes());
    sector[458..462].copy_from_slice(&sectors(length)?.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    Ok(sector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_one_partition_and_a_mark_that_it_is_found_by() {
        let made = table(0xe8ec_0001, 3 << 20).unwrap();
        assert_eq!(partition(0xe8ec_0001), "e8ec0001-01");
        assert_eq!(&made[440..444], &[1, 0, 0xec, 0xe8]);
        assert_eq!(&made[446..462], &[0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0x18, 0, 0]);
        assert_eq!(made[510..], [0x55, 0xaa]);
        assert!(table(1, 1 << 50).is_err());
    }
}
