//! A data directory for one test, and raw looks into its file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use execgate_model::{Digest, InstanceId, RunId, UnixMs};
use execgate_store::{Leaf, LeafKind, OpenError, OpenOptions, Store};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::contract::Backend;

/// An empty data directory, removed at the end.
#[derive(Debug)]
pub(super) struct Folder {
    dir: TempDir,
    opened: AtomicU16,
}

impl Folder {
    pub(super) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), opened: AtomicU16::new(0) }
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn file(&self) -> PathBuf {
        self.path().join("record.db")
    }

    /// Opens as the next instance.
    pub(super) fn try_open(&self) -> Result<Arc<dyn Store>, OpenError> {
        open(self.path(), instance(self.opened.fetch_add(1, Ordering::SeqCst)))
    }

    /// A connection past the store, to look and to damage.
    pub(super) fn raw(&self) -> Connection {
        Connection::open(self.file()).unwrap()
    }

    /// The lock files that are there.
    pub(super) fn locks(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path().join("instances")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut locks: Vec<_> = names.filter(|name| name != "opening.lock").collect();
        locks.sort();
        locks
    }
}

/// The instance of a number.
pub(super) fn instance(number: u16) -> InstanceId {
    let mut bytes = [1; 16];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    InstanceId::from_entropy(bytes)
}

pub(super) fn open(data_dir: &Path, instance: InstanceId) -> Result<Arc<dyn Store>, OpenError> {
    let url = "sqlite://record.db".to_owned();
    execgate_store::open(&OpenOptions { url, data_dir: data_dir.to_owned(), instance, at: UnixMs(1) })
}

impl Backend for Folder {
    fn open(&self) -> Arc<dyn Store> {
        self.try_open().unwrap()
    }

    fn leaves(&self, run: RunId) -> Vec<Leaf> {
        let raw = self.raw();
        let mut leaves = raw.prepare("SELECT kind, digest FROM leaf WHERE run = ?1 ORDER BY seq").unwrap();
        let found = leaves.query_map([run.as_bytes()], |row| {
            let (kind, digest): (String, [u8; 32]) = (row.get(0)?, row.get(1)?);
            Ok(Leaf { kind: kind_of(&kind), digest: Digest::from_bytes(digest) })
        });
        found.unwrap().map(Result::unwrap).collect()
    }
}

fn kind_of(word: &str) -> LeafKind {
    let kinds = [
        LeafKind::Intent,
        LeafKind::Final,
        LeafKind::Late,
        LeafKind::Settlement,
        LeafKind::Resolve,
        LeafKind::Change,
        LeafKind::Approval,
        LeafKind::Refusal,
        LeafKind::Vote,
    ];
    kinds.into_iter().find(|kind| kind.as_str() == word).unwrap()
}
