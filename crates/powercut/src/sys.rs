//! Between SQLite and its own VFS: the same files and the same functions but six, each of which first does what SQLite's
//! own does.
//!
//! Every change here needs a second reader. What is dereferenced is what SQLite hands in, for as long as its interface says
//! that it is there (sqlite3.h, "OS Interface Object", "OS Interface File Virtual Methods Object").
#![expect(unsafe_code, reason = "a VFS is a table of C functions, and only tests are linked with this one")]

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::ptr;
use std::slice;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rusqlite::ffi::{
    SQLITE_ERROR, SQLITE_OK, sqlite3_file, sqlite3_filename, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs,
    sqlite3_vfs_find, sqlite3_vfs_register,
};

use crate::Disk;

/// The functions of one open file as SQLite made them, and its path.
#[derive(Clone)]
struct Open {
    path: Arc<Path>,
    own: &'static sqlite3_io_methods,
}

/// What SQLite's own VFS is, and what is watched.
struct Watch {
    /// The address of the VFS, which lives as long as the process.
    own: usize,
    disks: Mutex<Vec<Arc<Disk>>>,
    /// By the address of SQLite's file object.
    files: Mutex<BTreeMap<usize, Open>>,
}

static WATCH: OnceLock<Watch> = OnceLock::new();

/// Watches a folder from now on. Its files must not be open yet.
///
/// # Panics
/// If SQLite has no VFS, or takes no other.
#[must_use]
pub fn watch(folder: &Path) -> Arc<Disk> {
    let watch = WATCH.get_or_init(|| {
        // SAFETY: the default VFS is asked for by a null name; it is a static of SQLite's.
        let own = unsafe { sqlite3_vfs_find(ptr::null()) };
        assert!(!own.is_null(), "SQLite has a VFS");
        // SAFETY: it is not null, and nobody changes it but to link it into a list.
        let mut ours = unsafe { ptr::read(own) };
        ours.zName = c"powercut".as_ptr();
        ours.xOpen = Some(open);
        ours.xDelete = Some(delete);
        // SAFETY: the table is leaked, so that it lives as long as SQLite.
        let done = unsafe { sqlite3_vfs_register(Box::leak(Box::new(ours)), 1) };
        assert_eq!(done, SQLITE_OK, "SQLite takes a VFS");
        Watch { own: own.expose_provenance(), disks: Mutex::default(), files: Mutex::default() }
    });
    let disk = Arc::new(Disk::of(folder));
    watch.disks.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&disk));
    disk
}

impl Watch {
    fn each(&self, work: impl Fn(&Disk)) {
        self.disks.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|disk| work(disk));
    }
}

/// The watch and the file behind an object of SQLite's.
fn file_of(file: *mut sqlite3_file) -> Option<(&'static Watch, Open)> {
    let watch = WATCH.get()?;
    let open = watch.files.lock().unwrap_or_else(PoisonError::into_inner).get(&file.addr()).cloned();
    open.map(|open| (watch, open))
}

/// A number of SQLite's that is not negative.
fn size(number: impl TryInto<usize>) -> usize {
    number.try_into().unwrap_or_default()
}

unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    name: sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let Some(watch) = WATCH.get() else { return SQLITE_ERROR };
    let own: *mut sqlite3_vfs = ptr::with_exposed_provenance_mut(watch.own);
    // SAFETY: `own` is SQLite's static VFS.
    let Some(own_open) = (unsafe { (*own).xOpen }) else { return SQLITE_ERROR };
    // SAFETY: all arguments are those that SQLite has for its own VFS, whose files are as large as ours.
    let opened = unsafe { own_open(own, name, file, flags, out) };
    if opened != SQLITE_OK || name.is_null() {
        return opened;
    }
    // SAFETY: a name that is not null ends with a zero, and lives as long as the file is open.
    let path = PathBuf::from(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes()));
    // SAFETY: the file was opened, so that SQLite has filled in its object.
    let methods = unsafe { (*file).pMethods };
    // SAFETY: the table of an open file is a static of SQLite's.
    let own: &'static sqlite3_io_methods = unsafe { &*methods };
    watch.each(|disk| disk.open(&path));
    let kept = Open { path: path.into(), own };
    watch.files.lock().unwrap_or_else(PoisonError::into_inner).insert(file.addr(), kept);
    let methods = sqlite3_io_methods {
        xClose: Some(close),
        xWrite: Some(write),
        xTruncate: Some(truncate),
        xSync: Some(sync),
        ..*own
    };
    // SAFETY: the file is SQLite's and open; the table is leaked, so that it outlives the file.
    unsafe { (*file).pMethods = Box::leak(Box::new(methods)) };
    SQLITE_OK
}

unsafe extern "C" fn delete(_: *mut sqlite3_vfs, name: *const c_char, sync: c_int) -> c_int {
    let Some(watch) = WATCH.get() else { return SQLITE_ERROR };
    let own: *mut sqlite3_vfs = ptr::with_exposed_provenance_mut(watch.own);
    // SAFETY: `own` is SQLite's static VFS.
    let Some(own_delete) = (unsafe { (*own).xDelete }) else { return SQLITE_ERROR };
    // SAFETY: the arguments are SQLite's own.
    let done = unsafe { own_delete(own, name, sync) };
    if done == SQLITE_OK {
        // SAFETY: a name that was deleted is not null, and ends with a zero.
        let path = PathBuf::from(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes()));
        watch.each(|disk| disk.delete(&path));
    }
    done
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    let Some((watch, Open { own, .. })) = file_of(file) else { return SQLITE_ERROR };
    watch.files.lock().unwrap_or_else(PoisonError::into_inner).remove(&file.addr());
    // SAFETY: the file is open, and closed once: its entry is gone.
    own.xClose.map_or(SQLITE_ERROR, |close| unsafe { close(file) })
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    bytes: *const c_void,
    length: c_int,
    at: sqlite3_int64,
) -> c_int {
    let Some((watch, Open { path, own })) = file_of(file) else { return SQLITE_ERROR };
    // SAFETY: the arguments are SQLite's own.
    let done = own.xWrite.map_or(SQLITE_ERROR, |write| unsafe { write(file, bytes, length, at) });
    if done == SQLITE_OK {
        // SAFETY: SQLite has so many bytes there until this returns.
        let bytes = unsafe { slice::from_raw_parts(bytes.cast::<u8>(), size(length)) };
        watch.each(|disk| disk.write(&path, size(at), bytes));
    }
    done
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, length: sqlite3_int64) -> c_int {
    let Some((watch, Open { path, own })) = file_of(file) else { return SQLITE_ERROR };
    // SAFETY: the arguments are SQLite's own.
    let done = own.xTruncate.map_or(SQLITE_ERROR, |truncate| unsafe { truncate(file, length) });
    if done == SQLITE_OK {
        watch.each(|disk| disk.truncate(&path, size(length)));
    }
    done
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    let Some((watch, Open { path, own })) = file_of(file) else { return SQLITE_ERROR };
    let disks = watch.disks.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let begun: Vec<_> = disks.iter().map(|disk| (disk, disk.begin_sync(&path))).collect();
    // SAFETY: the arguments are SQLite's own.
    let done = own.xSync.map_or(SQLITE_ERROR, |sync| unsafe { sync(file, flags) });
    if done == SQLITE_OK {
        begun.into_iter().for_each(|(disk, number)| disk.end_sync(&path, number));
    }
    done
}
