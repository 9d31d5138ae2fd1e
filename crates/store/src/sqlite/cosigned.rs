//! Checkpoints that witnesses have cosigned, in their table.

use execgate_model::Digest;
use rusqlite::Connection;

use super::rows;
use crate::{LogCosigned, LogHead, StoreError};

/// Keeps what witnesses have cosigned, but of those that have cosigned more.
pub(super) fn keep_all(conn: &Connection, cosigned: &[LogCosigned]) -> Result<bool, StoreError> {
    let mut kept = false;
    for one in cosigned {
        kept |= keep(conn, one)?;
    }
    Ok(kept)
}

fn keep(conn: &Connection, cosigned: &LogCosigned) -> Result<bool, StoreError> {
    let doing = "keep a cosigned checkpoint";
    let sql = "INSERT INTO log_cosigned (epoch, witness, size, root, note) VALUES (?1, ?2, ?3, ?4, ?5) \
        ON CONFLICT (epoch, witness) DO UPDATE SET size = excluded.size, root = excluded.root, note = excluded.note \
        WHERE excluded.size >= log_cosigned.size";
    let LogCosigned { witness, head, note } = cosigned;
    let (epoch, size) = (rows::stored(head.epoch, doing)?, rows::stored(head.size, doing)?);
    Ok(rows::change(conn, sql, doing, (epoch, witness, size, head.root.as_bytes(), note))? > 0)
}

/// The newest of each witness under a name of the log, the largest first.
pub(super) fn all(conn: &Connection, epoch: u64) -> Result<Vec<LogCosigned>, StoreError> {
    let doing = "read cosigned checkpoints";
    let sql =
        "SELECT witness, size, root, note FROM log_cosigned WHERE epoch = ?1 ORDER BY size DESC, witness";
    rows::all(conn, sql, doing, [rows::stored(epoch, doing)?], |row| {
        let root = Digest::from_bytes(rows::value(row, 2, "root")?);
        Ok(LogCosigned {
            witness: rows::value(row, 0, "witness")?,
            head: LogHead { epoch, size: rows::unsigned(row, 1, "size")?, root },
            note: rows::value(row, 3, "note")?,
        })
    })
}
