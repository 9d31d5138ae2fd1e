//! A disk with an ext4 file system, made of a folder without mounting anything.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::shell;

/// Makes a disk at `place`, of what is in `folder` and so much room.
pub(super) fn make(folder: &Path, place: &Path, room_mib: u64) -> Result<()> {
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
    let mut make = shell::command("mkfs.ext4", &["-q", "-O", "^has_journal", "-d"]);
    shell::captures(make.arg(folder).arg(&unfinished).arg(format!("{size}M")))?;
    fs::rename(&unfinished, place).with_context(|| format!("failed to keep {}", place.display()))
}
