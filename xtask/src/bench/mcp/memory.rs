//! What sessions that wait take up: the share of memory of the processes that hold them, before and with them.

use std::fs;

use anyhow::{Context, Result};

use super::doors::Door;
use crate::bench::http::Connection;
use crate::bench::nonce::Nonces;

/// Sessions that are opened: fewer than a listener takes connections.
const SESSIONS: usize = 1_000;

/// What one of them takes, in bytes.
pub(super) struct Idle {
    /// One whose client has no connection open.
    pub(super) absent: u64,
    /// One whose client keeps its connection.
    pub(super) connected: u64,
}

/// Opens sessions at a door of this process, each of which calls once, and leaves them.
pub(super) fn of_sessions(door: &Door, gateway: u32) -> Result<Idle> {
    let mut nonces = Nonces::new()?;
    // What is made once, and what the first thousand calls leave in caches, is no session's.
    for _ in 0..SESSIONS {
        one(door, &mut nonces)?;
    }
    let before = of_process(gateway)?;
    for _ in 0..SESSIONS {
        one(door, &mut nonces)?;
    }
    let absent = of_process(gateway)?.saturating_sub(before);
    let before = of_process(gateway)?;
    let connections: Result<Vec<Connection>> = (0..SESSIONS).map(|_| one(door, &mut nonces)).collect();
    let connected = of_process(gateway)?.saturating_sub(before);
    drop(connections?);
    let sessions = u64::try_from(SESSIONS)?;
    Ok(Idle { absent: absent / sessions, connected: connected / sessions })
}

fn one(door: &Door, nonces: &mut Nonces) -> Result<Connection> {
    let mut connection = Connection::open(door.address())?;
    let session = door.begin(&mut connection)?;
    door.call(&mut connection, session.as_deref(), nonces)?;
    Ok(connection)
}

/// The proportional share of memory of a process, in bytes (`proc_pid_smaps_rollup(5)`: `Pss`).
pub(super) fn of_process(id: u32) -> Result<u64> {
    let file = format!("/proc/{id}/smaps_rollup");
    let text = fs::read_to_string(&file).with_context(|| format!("failed to read {file}"))?;
    pss(&text).with_context(|| format!("{file} has no Pss"))
}

fn pss(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process;

    #[test]
    fn the_share_is_read_in_bytes() {
        let text = "00-ff ---p 0 00:00 0 [rollup]\nRss:    9 kB\nPss:               7 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(pss(text), Some(7 * 1024));
        assert_eq!(pss("Pss: many"), None);
        assert!(of_process(process::id()).unwrap() > 0);
    }
}
