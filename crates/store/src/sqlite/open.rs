//! Opens the file: its name, its mode, its pragmas, its threads.

use std::error::Error;
use std::fs::{self, File, OpenOptions as FileOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{self, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::checkpoint::{CHECKPOINT_PAGES, Checkpointer};
use super::instances::{Instances, opening_lock};
use super::migrate::{KNOWN, migrate};
use super::readers::{self, Readers};
use super::store::SqliteStore;
use super::writer::Writer;
use crate::{OpenError, OpenOptions, Store};

/// How long we wait for the write lock while another process on the same file commits.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Prepared statements that a connection keeps; we have some forty.
const CACHED_STATEMENTS: usize = 64;

/// Pages of the file that the writer keeps, in KiB: the inner pages of the random keys of some millions of runs.
const WRITER_CACHE_KIB: i64 = 32 * 1_024;

/// Pages that each reader keeps, in KiB.
const READER_CACHE_KIB: i64 = 4 * 1_024;

fn failed<E: Into<Box<dyn Error + Send + Sync>>>(doing: &'static str) -> impl Fn(E) -> OpenError {
    move |source| OpenError::Backend { doing, source: source.into() }
}

/// Opens the file that the part of the URL after `sqlite://` names.
pub(crate) fn open(name: &str, options: &OpenOptions) -> Result<Arc<dyn Store>, OpenError> {
    let path = file_path(name, &options.data_dir).map_err(failed("read the database URL"))?;
    let turn = opening_lock(&options.data_dir).map_err(failed("lock the data directory"))?;
    let instances =
        Instances::enter(&options.data_dir, options.instance).map_err(failed("lock this instance"))?;
    create(&path).map_err(failed("create the database file"))?;
    let mut conn = writing(&path).map_err(failed("open the database"))?;
    migrate(&mut conn).map_err(failed("bring the database schema up to date"))?;
    instances.sweep(&conn).map_err(failed("sweep out dead instances"))?;
    instances.register(&conn, options.at).map_err(failed("register this instance"))?;
    drop(turn);

    let reading =
        |count, timeout| reading(&path, count, timeout).map_err(failed("open the database for reading"));
    let readers =
        Readers::new(reading(readers::QUICK, Duration::ZERO)?, reading(readers::PATIENT, BUSY_TIMEOUT)?);
    let checkpointing = writing(&path).map_err(failed("open the database"))?;
    let checkpointer =
        Checkpointer::start(checkpointing).map_err(failed("start the checkpointing thread"))?;
    let instances = Arc::new(instances);
    let writer = Writer::start(conn, checkpointer, Arc::clone(&instances))
        .map_err(failed("start the writing thread"))?;
    Ok(Arc::new(SqliteStore::new(writer, readers, instances)))
}

/// Opens the file to look at it. Nothing is written: no schema, no row of this process, no file.
pub(crate) fn open_to_read(name: &str, options: &OpenOptions) -> Result<Arc<dyn Store>, OpenError> {
    let path = file_path(name, &options.data_dir).map_err(failed("read the database URL"))?;
    let doing = "open the database for reading";
    // Where there is nothing, SQLite would say that it cannot open it.
    fs::metadata(&path).map_err(failed(doing))?;
    let path = readable(path).map_err(failed(doing))?;
    let quick = reading(&path, readers::QUICK, Duration::ZERO).map_err(failed(doing))?;
    if let Some(conn) = quick.first() {
        let found = version(conn).map_err(failed("read the database schema"))?;
        if found != KNOWN {
            return Err(OpenError::Schema { found, known: KNOWN });
        }
    }
    let patient = reading(&path, readers::PATIENT, BUSY_TIMEOUT).map_err(failed(doing))?;
    let instances = Arc::new(Instances::outside(&options.data_dir, options.instance));
    Ok(Arc::new(SqliteStore::new(Writer::closed(), Readers::new(quick, patient), instances)))
}

fn version(conn: &Connection) -> rusqlite::Result<i32> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// The name under which a file can be read. In WAL mode readers share a file of their own beside it; where that cannot be
/// made, as on a medium that is read-only, and no WAL is left, nobody can be writing either.
fn readable(path: PathBuf) -> rusqlite::Result<PathBuf> {
    let tried =
        connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY, BUSY_TIMEOUT).and_then(|conn| version(&conn));
    let Err(error) = tried else { return Ok(path) };
    let mut wal = path.clone().into_os_string();
    wal.push("-wal");
    let is_fixed = matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied)
    );
    if !is_fixed || fs::metadata(wal).is_ok_and(|wal| wal.len() > 0) {
        return Err(error);
    }
    let escaped = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    Ok(PathBuf::from(format!("file:{escaped}?immutable=1")))
}

/// The file of a URL.
///
/// `sqlite:///var/lib/x.db` and `sqlite:////var/lib/x.db` are absolute. Relative to the data directory are
/// `sqlite://x.db` and, because that is how `SQLAlchemy` writes them, `sqlite:///x.db` (one name: nobody keeps a
/// database in the root of the file system) and `sqlite:///./x.db`.
fn file_path(name: &str, data_dir: &Path) -> io::Result<PathBuf> {
    let refuse = |reason: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    if name.contains('?') {
        return refuse("a SQLite URL takes no parameters");
    }
    let in_memory = name.is_empty() || name.trim_start_matches('/') == ":memory:";
    if in_memory || name.ends_with('/') {
        return refuse("a SQLite URL names a file, such as sqlite:///var/lib/execgate/execgate.db");
    }
    let relative = match name.strip_prefix('/') {
        None => Some(name),
        Some(rest) if !rest.contains('/') || rest.starts_with("./") => Some(rest),
        Some(_) => None,
    };
    let path = relative.map_or_else(|| PathBuf::from(name), |relative| data_dir.join(relative));
    path::absolute(path)
}

/// Makes the file, for the owner alone, and its name durable. SQLite gives its side files the same mode.
fn create(path: &Path) -> io::Result<()> {
    // Never opens an existing file: closing it again would drop the locks that SQLite holds on it in this process.
    match FileOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file.sync_all()?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error),
    }
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn writing(path: &Path) -> rusqlite::Result<Connection> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, BUSY_TIMEOUT)?;
    conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES.cast_signed())?;
    Ok(conn)
}

fn reading(path: &Path, count: u32, timeout: Duration) -> rusqlite::Result<Vec<Connection>> {
    (0..count)
        .map(|_| {
            let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, timeout)?;
            conn.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
            Ok(conn)
        })
        .collect()
}

fn connect(path: &Path, access: OpenFlags, timeout: Duration) -> rusqlite::Result<Connection> {
    // One thread at a time uses a connection, so SQLite need not lock it.
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // Absolute paths are no URIs; what is one comes from here.
    let flags = if path.is_absolute() { flags } else { flags | OpenFlags::SQLITE_OPEN_URI };
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(timeout)?;
    conn.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    // Without it SQLite plans a cached statement anew for each value of a parameter that a partial index could
    // depend on: that costs more than running it.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(conn)
}
