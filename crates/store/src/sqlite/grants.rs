//! Grants in their table. Only here are their columns known.

use std::collections::BTreeSet;

use execgate_model::{Digest, GrantId, Role, TenantId, UnixMs};
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde::de::DeserializeOwned;

use super::fault::{backend, failed_to};
use super::rows;
use crate::{Changed, GRANTS_MAX, Grant, Granted, NewKey, OldKey, Standing, StoreError};

/// The columns, in the order that [`grant`] reads them.
macro_rules! select_grant {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, tenant, labels, roles, internal, isolation, wallets, expires, created, revoked, ",
            "key, old_key, old_key_expires, last_used, policy FROM caller_grant ",
            $rest
        )
    };
}

/// Records a grant, unless its id was ever taken.
pub(super) fn add(conn: &Connection, grant: &Grant) -> Result<Granted, StoreError> {
    let doing = "record a grant";
    let count = "SELECT count(*) FROM caller_grant WHERE revoked IS NULL";
    let live: Option<u32> = rows::first(conn, count, doing, [], |row| rows::value(row, 0, "count"))?;
    if live.is_none_or(|live| live >= GRANTS_MAX) {
        return Ok(Granted::Full);
    }
    let sql = "INSERT INTO caller_grant (id, name, tenant, labels, roles, internal, isolation, wallets, expires, \
        created, revoked, key, old_key, old_key_expires, last_used, policy) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) ON CONFLICT (id) DO NOTHING";
    let time = |at: Option<UnixMs>| at.map(|at| rows::stored(at.0, doing)).transpose();
    let text = |value: Result<String, serde_json::Error>| value.map_err(|error| backend(doing, error));
    let roles: Vec<&str> = grant.roles.iter().map(|role| role.as_str()).collect();
    let params = rusqlite::params![
        grant.id.as_str(),
        grant.name,
        grant.tenant.as_str(),
        text(serde_json::to_string(&grant.labels))?,
        roles.join(","),
        grant.internal,
        grant.isolation,
        text(serde_json::to_string(&grant.wallets))?,
        time(grant.expires)?,
        rows::stored(grant.created.0, doing)?,
        time(grant.revoked)?,
        grant.key.as_bytes(),
        grant.old_key.map(|old| *old.digest.as_bytes()),
        time(grant.old_key.map(|old| old.expires))?,
        time(grant.last_used)?,
        grant.policy,
    ];
    Ok(if rows::change(conn, sql, doing, params)? == 0 { Granted::Taken } else { Granted::Made })
}

/// One grant, revoked or not.
pub(super) fn find(conn: &Connection, id: &GrantId) -> Result<Option<Grant>, StoreError> {
    rows::first(conn, select_grant!("WHERE id = ?1"), "read a grant", [id.as_str()], grant)
}

/// Every grant that there ever was, in the order of their making.
pub(super) fn all(conn: &Connection) -> Result<Vec<Grant>, StoreError> {
    rows::all(conn, select_grant!("ORDER BY created, id"), "list grants", [], grant)
}

/// How many changes were made.
pub(super) fn changes(conn: &Connection) -> Result<u64, StoreError> {
    let sql = "SELECT number FROM grant_change WHERE id = 1";
    let found = rows::first(conn, sql, "read whether grants have changed", [], |row| {
        rows::unsigned(row, 0, "number")
    })?;
    found.ok_or(StoreError::Unreadable { column: "number" })
}

/// The grants that are not revoked. The count is read first, so that what changes between the two is read again.
pub(super) fn standing(conn: &Connection) -> Result<Standing, StoreError> {
    let changes = changes(conn)?;
    let grants = rows::all(conn, select_grant!("WHERE revoked IS NULL"), "read grants", [], grant)?;
    Ok(Standing { changes, grants })
}

/// Gives a grant a new key; the one before is taken for a while, and any before that no more.
pub(super) fn rotate(conn: &Connection, id: &GrantId, key: &NewKey) -> Result<Changed, StoreError> {
    let doing = "rotate the key of a grant";
    let sql = "UPDATE caller_grant SET old_key = key, old_key_expires = ?3, key = ?2 \
        WHERE id = ?1 AND revoked IS NULL";
    let params = (id.as_str(), key.digest.as_bytes(), rows::stored(key.old_expires.0, doing)?);
    let changed = rows::change(conn, sql, doing, params)?;
    what_changed(conn, id, changed)
}

/// Gives a grant rules of its own, or takes them away.
pub(super) fn set_policy(
    conn: &Connection,
    id: &GrantId,
    policy: Option<&str>,
) -> Result<Changed, StoreError> {
    let doing = "set the rules of a grant";
    let sql = "UPDATE caller_grant SET policy = ?2 WHERE id = ?1 AND revoked IS NULL";
    let changed = rows::change(conn, sql, doing, (id.as_str(), policy))?;
    what_changed(conn, id, changed)
}

/// Revokes a grant for ever.
pub(super) fn revoke(conn: &Connection, id: &GrantId, at: UnixMs) -> Result<Changed, StoreError> {
    let doing = "revoke a grant";
    let sql = "UPDATE caller_grant SET revoked = ?2 WHERE id = ?1 AND revoked IS NULL";
    let changed = rows::change(conn, sql, doing, (id.as_str(), rows::stored(at.0, doing)?))?;
    what_changed(conn, id, changed)
}

fn what_changed(conn: &Connection, id: &GrantId, changed: usize) -> Result<Changed, StoreError> {
    if changed > 0 {
        return Ok(Changed::Done);
    }
    let failed = failed_to("find a grant");
    let mut statement = conn.prepare_cached("SELECT 1 FROM caller_grant WHERE id = ?1").map_err(failed)?;
    let found: Option<i64> =
        statement.query_row([id.as_str()], |row| row.get(0)).optional().map_err(failed)?;
    Ok(if found.is_some() { Changed::Revoked } else { Changed::Missing })
}

/// Notes when grants were last used; never puts the clock back.
pub(super) fn note_uses(conn: &Connection, uses: &[(GrantId, UnixMs)]) -> Result<(), StoreError> {
    let doing = "note that a grant was used";
    let sql =
        "UPDATE caller_grant SET last_used = ?2 WHERE id = ?1 AND (last_used IS NULL OR last_used < ?2)";
    for (id, at) in uses {
        rows::change(conn, sql, doing, (id.as_str(), rows::stored(at.0, doing)?))?;
    }
    Ok(())
}

fn grant(row: &Row<'_>) -> Result<Grant, StoreError> {
    let roles = |text: &str| -> Option<BTreeSet<Role>> {
        text.split(',').filter(|word| !word.is_empty()).map(Role::from_word).collect()
    };
    let old_expires = time(row, 13, "old_key_expires")?;
    let old_key = rows::value::<Option<[u8; 32]>>(row, 12, "old_key")?;
    Ok(Grant {
        id: rows::word(row, 0, "id", |text| GrantId::new(text).ok())?,
        name: rows::value(row, 1, "name")?,
        tenant: rows::word(row, 2, "tenant", |text| TenantId::new(text).ok())?,
        labels: json(row, 3, "labels")?,
        roles: rows::word(row, 4, "roles", roles)?,
        internal: rows::value(row, 5, "internal")?,
        isolation: rows::value(row, 6, "isolation")?,
        wallets: json(row, 7, "wallets")?,
        expires: time(row, 8, "expires")?,
        created: UnixMs(rows::unsigned(row, 9, "created")?),
        revoked: time(row, 10, "revoked")?,
        key: Digest::from_bytes(rows::value(row, 11, "key")?),
        old_key: old_key
            .zip(old_expires)
            .map(|(digest, expires)| OldKey { digest: Digest::from_bytes(digest), expires }),
        last_used: time(row, 14, "last_used")?,
        policy: rows::value(row, 15, "policy")?,
    })
}

fn json<T: DeserializeOwned>(row: &Row<'_>, index: usize, column: &'static str) -> Result<T, StoreError> {
    rows::word(row, index, column, |text| serde_json::from_str(text).ok())
}

fn time(row: &Row<'_>, index: usize, column: &'static str) -> Result<Option<UnixMs>, StoreError> {
    match rows::value::<Option<i64>>(row, index, column)? {
        Some(_) => Ok(Some(UnixMs(rows::unsigned(row, index, column)?))),
        None => Ok(None),
    }
}
