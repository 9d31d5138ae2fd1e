//! The gateway's own keys in their table. What changes there leaves its leaf in the same transaction.

use execgate_model::{KeyPurpose, UnixMs};
use rusqlite::{Connection, Row};

use super::{changes, rows};
use crate::{Change, KeyAdded, KeyRetired, OWN_KEYS_MAX, OwnKey, Retirement, StoreError};

/// Every key that there ever was, in the order of their making.
pub(super) fn all(conn: &Connection) -> Result<Vec<OwnKey>, StoreError> {
    let sql = "SELECT purpose, public, added, retired, retired_size FROM own_key ORDER BY id";
    rows::all(conn, sql, "list keys", [], own_key)
}

/// Records a key, unless it is there.
pub(super) fn add(conn: &Connection, key: &OwnKey, change: &Change) -> Result<KeyAdded, StoreError> {
    let doing = "record a key";
    if all(conn)?.len() >= OWN_KEYS_MAX {
        return Ok(KeyAdded::Full);
    }
    let sql = "INSERT INTO own_key (purpose, public, added) VALUES (?1, ?2, ?3) \
        ON CONFLICT (purpose, public) DO NOTHING";
    let added = rows::stored(key.added.0, doing)?;
    let added = rows::change(conn, sql, doing, (key.purpose.as_str(), key.public, added))?;
    changes::record_if(conn, added > 0, change)?;
    Ok(if added > 0 { KeyAdded::Done } else { KeyAdded::Known })
}

/// Retires a key, unless it is the one that signs.
pub(super) fn retire(
    conn: &Connection,
    purpose: KeyPurpose,
    public: &[u8; 32],
    change: &Change,
) -> Result<KeyRetired, StoreError> {
    let doing = "retire a key";
    let keys = all(conn)?;
    let of_purpose = || keys.iter().filter(|key| key.purpose == purpose);
    let Some(key) = of_purpose().find(|key| key.public == *public) else { return Ok(KeyRetired::Missing) };
    if let Some(retirement) = key.retired {
        return Ok(KeyRetired::Before(retirement));
    }
    if of_purpose().rfind(|key| key.retired.is_none()) == Some(key) {
        return Ok(KeyRetired::Signs);
    }
    changes::record_if(conn, true, change)?;
    let sql = "UPDATE own_key SET retired = ?3, retired_size = (SELECT max(seq) - 1 FROM leaf) \
        WHERE purpose = ?1 AND public = ?2";
    rows::change(conn, sql, doing, (purpose.as_str(), public, rows::stored(change.at.0, doing)?))?;
    let retired = all(conn)?.into_iter().find(|key| key.purpose == purpose && key.public == *public);
    let retirement = retired.and_then(|key| key.retired);
    retirement.map(KeyRetired::Done).ok_or(StoreError::Unreadable { column: "retired" })
}

/// Refuses what a retired receipt key has signed: its leaf would stand behind the retirement, where it does not count.
pub(super) fn ask_standing(conn: &Connection, signer: &[u8; 32]) -> Result<(), StoreError> {
    let sql = "SELECT 1 FROM own_key WHERE purpose = 'receipt' AND public = ?1 AND retired IS NOT NULL";
    let retired = rows::first(conn, sql, "look at the key of a receipt", [signer], |_| Ok(()))?;
    retired.map_or(Ok(()), |()| Err(StoreError::KeyRetired))
}

fn own_key(row: &Row<'_>) -> Result<OwnKey, StoreError> {
    let retired = if rows::value::<Option<i64>>(row, 3, "retired")?.is_some() {
        let (at, size) = (rows::unsigned(row, 3, "retired")?, rows::unsigned(row, 4, "retired_size")?);
        Some(Retirement { at: UnixMs(at), size })
    } else {
        None
    };
    Ok(OwnKey {
        purpose: rows::word(row, 0, "purpose", KeyPurpose::from_word)?,
        public: rows::value(row, 1, "public")?,
        added: UnixMs(rows::unsigned(row, 2, "added")?),
        retired,
    })
}
