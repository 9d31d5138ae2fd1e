//! Which processes are alive: each holds a file lock for as long as it lives.
//!
//! The lock is `flock(2)`: it belongs to the open file description, so the kernel releases it when the process
//! dies, however it dies, and two stores in one process do not share it. The file is opened close-on-exec, so
//! that no program that we start keeps a dead gateway alive.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{self, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use execgate_model::{InstanceId, UnixMs};
use rusqlite::{Connection, Row};

use super::fault::backend;
use super::rows;
use crate::StoreError;

/// The folder of the lock files in the data directory.
const FOLDER: &str = "instances";

/// How the name of a lock file ends.
const EXTENSION: &str = "lock";

/// The instances that runs name which are not ended, one for each run: these are few.
pub(super) const EXECUTING_INSTANCES: &str =
    "SELECT instance FROM run INDEXED BY run_open WHERE stage <> 'settled' AND stage = 'execute'";

/// Those that runs name whose money is still to be moved.
pub(super) const HOLDING_INSTANCES: &str = "SELECT DISTINCT instance FROM run INDEXED BY run_held \
    WHERE settlement IN ('held', 'capturing') AND instance > x''";

/// The locks that this store holds: its own, and those of the dead whose runs it has been told of.
#[derive(Debug)]
pub(super) struct Instances {
    mine: InstanceId,
    folder: PathBuf,
    /// Dead instances whose lock this store has taken, so that no other process recovers the same runs. Before
    /// its own: whoever sees this instance dead finds these free.
    adopted: Mutex<HashMap<InstanceId, Vec<File>>>,
    /// None once this instance has left.
    own: Mutex<Option<File>>,
}

impl Instances {
    /// Takes the lock of this process.
    pub(super) fn enter(data_dir: &Path, mine: InstanceId) -> io::Result<Self> {
        let folder = folder(data_dir)?;
        let Some(own) = take(lock_file(&lock_path(&folder, mine))?)? else {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "this instance is running already"));
        };
        Ok(Self { mine, folder, own: Mutex::new(Some(own)), adopted: Mutex::default() })
    }

    /// A process that only looks: it holds no lock, and nobody takes it for one that runs something.
    pub(super) fn outside(data_dir: &Path, mine: InstanceId) -> Self {
        Self { mine, folder: data_dir.join(FOLDER), own: Mutex::new(None), adopted: Mutex::default() }
    }

    /// This process.
    pub(super) const fn mine(&self) -> InstanceId {
        self.mine
    }

    /// Writes the row of this process. An id that was used before is an error: its runs would never be orphans.
    pub(super) fn register(&self, conn: &Connection, at: UnixMs) -> Result<(), StoreError> {
        let doing = "register this instance";
        let path = lock_path(&self.folder, self.mine).into_os_string().into_vec();
        let sql = "INSERT INTO instance (instance, lock, started) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        let params = (self.mine.as_bytes(), path, rows::stored(at.0, doing)?);
        if rows::change(conn, sql, doing, params)? == 0 {
            return Err(backend(doing, "an earlier process has used this instance id"));
        }
        Ok(())
    }

    /// Of these instances, those that are dead. Their locks are held from here on: while this store is open,
    /// no other one takes them for dead.
    pub(super) fn adopt(
        &self,
        conn: &Connection,
        seen: Vec<InstanceId>,
    ) -> Result<Vec<InstanceId>, StoreError> {
        let mut adopted = self.adopted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut dead = Vec::new();
        for instance in seen.into_iter().filter(|instance| *instance != self.mine) {
            if let Entry::Vacant(place) = adopted.entry(instance) {
                let paths = self.lock_paths(conn, instance)?;
                let locks =
                    take_all(&paths).map_err(|error| backend("look whether an instance lives", error))?;
                let Some(locks) = locks else { continue };
                place.insert(locks);
            }
            dead.push(instance);
        }
        Ok(dead)
    }

    fn lock_paths(&self, conn: &Connection, instance: InstanceId) -> Result<Vec<PathBuf>, StoreError> {
        let mut paths = vec![lock_path(&self.folder, instance)];
        let sql = "SELECT instance, lock FROM instance WHERE instance = ?1";
        let stored = rows::first(conn, sql, "read an instance", [instance.as_bytes()], row)?;
        paths.extend(stored.map(|(_, path)| path).filter(|path| *path != paths[0]));
        Ok(paths)
    }

    /// Removes what dead instances without an open run have left in this folder. To be called while no other
    /// process can be between making its lock file and locking it: under [`opening_lock`].
    pub(super) fn sweep(&self, conn: &Connection) -> Result<(), StoreError> {
        let doing = "sweep out dead instances";
        let open: HashSet<InstanceId> = seen_in_unended_runs(conn)?.into_iter().collect();
        let done = |instance: &InstanceId| *instance != self.mine && !open.contains(instance);
        for instance in
            lock_files(&self.folder).map_err(|error| backend(doing, error))?.into_iter().filter(done)
        {
            sweep_file(&lock_path(&self.folder, instance)).map_err(|error| backend(doing, error))?;
        }
        for (instance, path) in rows::all(conn, "SELECT instance, lock FROM instance", doing, [], row)? {
            if done(&instance) && path.starts_with(&self.folder) && !path.exists() {
                rows::change(conn, "DELETE FROM instance WHERE instance = ?1", doing, [instance.as_bytes()])?;
            }
        }
        Ok(())
    }

    /// Releases every lock and removes the own file: from here on this instance is dead.
    pub(super) fn leave(&self) {
        for lock in
            self.adopted.lock().unwrap_or_else(PoisonError::into_inner).drain().flat_map(|(_, locks)| locks)
        {
            unlock(&lock);
        }
        if let Some(own) = self.own.lock().unwrap_or_else(PoisonError::into_inner).take() {
            if let Err(error) = fs::remove_file(lock_path(&self.folder, self.mine)) {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "the lock file of this instance was not removed"
                );
            }
            unlock(&own);
        }
    }
}

/// Unlocks outright: closing alone would leave the lock to a child that has forked and not yet executed.
fn unlock(lock: &File) {
    if let Err(error) = lock.unlock() {
        tracing::warn!(error = &error as &dyn Error, "an instance lock was not released");
    }
}

/// The instances that open runs name, dead and alive, each once and always in the same order. Reads only open runs, whatever
/// the history.
pub(super) fn seen_in_unended_runs(conn: &Connection) -> Result<Vec<InstanceId>, StoreError> {
    let read = |row: &Row<'_>| rows::value(row, 0, "instance").map(InstanceId::from_stored);
    let mut seen = Vec::new();
    for sql in [EXECUTING_INSTANCES, HOLDING_INSTANCES] {
        seen.extend(rows::all(conn, sql, "read the instances of open runs", [], read)?);
    }
    seen.sort_unstable_by_key(|instance| *instance.as_bytes());
    seen.dedup();
    Ok(seen)
}

/// Waits for its turn to open the record: making the file, switching it to WAL, the schema and the sweep are
/// for one process at a time. Released when dropped.
pub(super) fn opening_lock(data_dir: &Path) -> io::Result<File> {
    let folder = folder(data_dir)?;
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let file = lock_file(&folder.join("opening.lock"))?;
    file.lock()?;
    Ok(file)
}

fn row(row: &Row<'_>) -> Result<(InstanceId, PathBuf), StoreError> {
    let path = OsString::from_vec(rows::value(row, 1, "lock")?);
    Ok((InstanceId::from_stored(rows::value(row, 0, "instance")?), path.into()))
}

fn folder(data_dir: &Path) -> io::Result<PathBuf> {
    Ok(path::absolute(data_dir)?.join(FOLDER))
}

fn lock_path(folder: &Path, instance: InstanceId) -> PathBuf {
    folder.join(format!("{instance}.{EXTENSION}"))
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn lock_files(folder: &Path) -> io::Result<Vec<InstanceId>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = PathBuf::from(entry?.file_name());
        let stem = path.file_stem().and_then(OsStr::to_str).and_then(|stem| stem.parse().ok());
        if let (Some(instance), Some(EXTENSION)) = (stem, path.extension().and_then(OsStr::to_str)) {
            found.push(instance);
        }
    }
    Ok(found)
}

fn sweep_file(path: &Path) -> io::Result<()> {
    let Some(lock) = take(lock_file(path)?)? else { return Ok(()) };
    fs::remove_file(path)?;
    drop(lock);
    Ok(())
}

fn take(file: File) -> io::Result<Option<File>> {
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Takes the locks of an instance, or none of them if one is held. The first file is made where it is missing,
/// so that two processes that find it missing do not both take the instance.
fn take_all(paths: &[PathBuf]) -> io::Result<Option<Vec<File>>> {
    let mut locks = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        if index > 0 && !path.exists() {
            continue;
        }
        match take(lock_file(path)?)? {
            Some(lock) => locks.push(lock),
            None => return Ok(None),
        }
    }
    Ok(Some(locks))
}
