//! The folders of a server in the jail: a copy of one of this host's, and one of each caller's own that lives on from one
//! process to the next.
//!
//! Nothing of this host is mounted. What is there is copied in before the process begins; what it leaves in its own folder is
//! brought back when nothing of it lives any more, by the sandbox, which follows no link and takes regular files with one
//! name alone. So a file that was there may be lost with a gateway that is killed, and none of this host's can be reached.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use execgate_model::Digest;
use execgate_sandbox::{Collect, CollectedFile, Limits, PlacedFile, Request};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::time::timeout;

use super::connect::ConnectError;
use super::words::ServerName;
use crate::workspace::{WorkspacePath, Workspaces, copied};

/// Where the copy lies in the home of the process, and its own folder.
const COPY: &str = "workspace";
const OWN: &str = "kept";

/// Files of one caller's folder: as many as a workspace has entries.
const FILES_MAX: u32 = 4_096;

/// Files and folders of a process, its own with them: all that can be placed, and some that it makes. No more than are looked
/// at when they are brought back.
pub(super) const INODES: u32 = 20_000;

/// In what a file takes its room, in bytes.
const PAGE: u64 = 4_096;

/// How long it is waited until what an earlier process of the same caller leaves is there.
const LEFT_WITHIN: Duration = Duration::from_secs(20);

/// What a server in the jail has of folders.
#[derive(Debug, Clone, Default)]
pub struct FoldersSpec {
    /// A folder of this host of which each process has a copy.
    pub copied: Option<PathBuf>,
    /// Where in the data directory the folders of callers lie; none where they have none.
    pub kept: Option<PathBuf>,
}

/// Whoever has a process now or has had one that is about to end.
type Gates = Mutex<HashMap<Digest, Arc<AsyncMutex<()>>>>;

/// The folders of one server.
pub(super) struct Folders {
    server: ServerName,
    spec: FoldersSpec,
    gates: Gates,
}

/// The folder of one caller, while its process has it.
pub(super) struct OwnFolder {
    server: ServerName,
    workspaces: Workspaces,
    place: PathBuf,
    owner: Digest,
    before: BTreeMap<String, [u8; 32]>,
    _gate: OwnedMutexGuard<()>,
}

impl Folders {
    pub(super) fn new(server: ServerName, spec: FoldersSpec) -> Self {
        Self { server, spec, gates: Mutex::default() }
    }

    /// The copy, as it is now. Blocks.
    pub(super) fn copied(&self) -> Result<Vec<PlacedFile>, ConnectError> {
        let Some(folder) = &self.spec.copied else { return Ok(Vec::new()) };
        let copied = copied(folder).map_err(|error| fault("its workspace cannot be copied", &error))?;
        if copied.left_out > 0 {
            let (server, left_out) = (&self.server, copied.left_out);
            tracing::warn!(%server, left_out, "links, devices and files of two names of a workspace are left out");
        }
        let place = |(path, content): (String, Vec<u8>)| PlacedFile::new(&format!("{COPY}/{path}"), content);
        let placed: Result<_, _> = copied.files.into_iter().map(place).collect();
        placed.map_err(|error| fault("its workspace cannot be copied", &error))
    }

    /// Whether there is room for these files, and for all that may be in a caller's own folder beside them: what a process
    /// leaves there must never keep the next one from beginning.
    pub(super) fn fit(&self, files: &[PlacedFile]) -> Result<(), ConnectError> {
        let own = self.spec.kept.as_ref().map_or(0, |_| FILES_MAX);
        let entries_max = Request::FILES_MAX.saturating_sub(usize::try_from(own).unwrap_or(usize::MAX));
        let own_bytes = if own == 0 { 0 } else { Workspaces::quota_bytes() + u64::from(own) * PAGE };
        let bytes_max = Limits::default().disk_bytes.saturating_sub(own_bytes);
        let above = |file: &PlacedFile| file.path().match_indices('/').map(|(at, _)| at).collect::<Vec<_>>();
        let folders: HashSet<_> =
            files.iter().flat_map(|file| above(file).into_iter().map(|at| file.path().get(..at))).collect();
        let length = |file: &PlacedFile| u64::try_from(file.content().len()).unwrap_or(u64::MAX);
        let bytes = files.iter().map(|file| length(file).div_ceil(PAGE).saturating_mul(PAGE)).sum::<u64>();
        if files.len().saturating_add(folders.len()) <= entries_max && bytes <= bytes_max {
            return Ok(());
        }
        let why = "its files and its copy are too much together";
        Err(ConnectError(format!("{why}: at most {entries_max} files and folders, and {bytes_max} bytes")))
    }

    /// The folder of a caller, once no other process has it; none where there are none.
    pub(super) async fn own(&self, owner: Option<Digest>) -> Result<Option<OwnFolder>, ConnectError> {
        let (Some(place), Some(owner)) = (self.spec.kept.clone(), owner) else { return Ok(None) };
        let gate = {
            let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody waits at are made anew when somebody does.
            gates.retain(|_, gate| Arc::strong_count(gate) > 1);
            Arc::clone(gates.entry(owner).or_default())
        };
        let gate = timeout(LEFT_WITHIN, gate.lock_owned()).await.map_err(|_| {
            ConnectError("an earlier process of this caller has not left its folder".to_owned())
        })?;
        let (server, workspaces) = (self.server.clone(), Workspaces::at(place.clone()));
        Ok(Some(OwnFolder { server, workspaces, place, owner, before: BTreeMap::new(), _gate: gate }))
    }

    /// What a receipt says of them.
    pub(super) fn told(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let copied = self.spec.copied.as_ref().map(|_| (COPY, "ro"));
        copied.into_iter().chain(self.spec.kept.as_ref().map(|_| (OWN, "rw")))
    }
}

impl OwnFolder {
    /// What is in it. Blocks.
    pub(super) fn placed(&mut self) -> Result<Vec<PlacedFile>, ConnectError> {
        let bad = |error: &dyn core::fmt::Display| fault("the folder of its caller cannot be read", error);
        let listed = self.workspaces.list(self.owner).map_err(|error| bad(&error))?;
        let mut placed = Vec::new();
        for file in listed {
            let path = WorkspacePath::parse(&file.path).map_err(|error| bad(&error))?;
            let read = self.workspaces.read(self.owner, &path).map_err(|error| bad(&error))?;
            let Some(content) = read else { continue };
            self.before.insert(file.path.clone(), Sha256::digest(&content).into());
            let file = PlacedFile::new(&format!("{OWN}/{}", file.path), content);
            placed.push(file.map_err(|error| bad(&error))?);
        }
        Ok(placed)
    }

    /// What is brought back of it.
    pub(super) fn collect() -> Collect {
        Collect {
            patterns: vec![format!("{OWN}/**")],
            file_bytes_max: Workspaces::quota_bytes(),
            total_bytes_max: Workspaces::quota_bytes(),
            files_max: FILES_MAX,
        }
    }

    /// Keeps what a process has left. Where not all of it came, nothing that was there before is taken away. Blocks.
    pub(super) fn keep(mut self, left: Vec<CollectedFile>) {
        let (mut kept, mut not_kept) = (0_usize, 0_usize);
        let mut gone = self.before.clone();
        let is_whole = left.iter().all(|file| file.content.is_ok());
        if let Err(error) = self.make() {
            tracing::error!(server = %self.server, %error, "what a server has written cannot be kept");
            return;
        }
        // What is gone makes room for what has come.
        for file in &left {
            gone.remove(below(&file.path));
        }
        if is_whole {
            for path in gone.keys() {
                let deleted = WorkspacePath::parse(path)
                    .is_ok_and(|path| self.workspaces.delete(self.owner, &path).is_ok());
                not_kept += usize::from(!deleted);
            }
        }
        for CollectedFile { path, content } in left {
            match content.map_err(|why| why.to_string()).and_then(|content| self.put(below(&path), &content))
            {
                Ok(()) => kept += 1,
                Err(why) => {
                    not_kept += 1;
                    tracing::debug!(server = %self.server, why, "a file of a server's is not kept");
                }
            }
        }
        if not_kept > 0 {
            tracing::warn!(server = %self.server, kept, not_kept, "not all that a server has written is kept");
        }
    }

    fn make(&self) -> io::Result<()> {
        let above = self.place.parent().unwrap_or(&self.place);
        DirBuilder::new().recursive(true).mode(0o700).create(above)
    }

    fn put(&mut self, path: &str, content: &[u8]) -> Result<(), String> {
        let is_known =
            self.before.get(path).is_some_and(|before| *before == Sha256::digest(content).as_slice());
        if is_known {
            return Ok(());
        }
        let path = WorkspacePath::parse(path).map_err(|error| error.to_string())?;
        self.workspaces.write(self.owner, &path, content).map(drop).map_err(|error| error.to_string())
    }
}

/// A path of the guest's in its own folder: relative to its home.
fn below(path: &str) -> &str {
    path.strip_prefix(OWN).and_then(|path| path.strip_prefix('/')).unwrap_or_default()
}

fn fault(what: &str, error: &dyn core::fmt::Display) -> ConnectError {
    ConnectError(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use execgate_model::Digest;
    use execgate_sandbox::{CollectedFile, NotCollected, PlacedFile, Request};
    use tokio::time::timeout;

    use super::{Folders, FoldersSpec, OwnFolder};
    use crate::upstream::ServerName;

    fn left(path: &str, content: Result<&str, NotCollected>) -> CollectedFile {
        let content = content.map(|text| text.as_bytes().to_vec());
        CollectedFile { path: path.to_owned(), content }
    }

    async fn begun(folders: &Folders, owner: u8) -> (OwnFolder, Vec<(String, String)>) {
        let mut own = folders.own(Some(Digest::from_bytes([owner; 32]))).await.unwrap().unwrap();
        let placed = own.placed().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let told = placed.iter().map(|file| (file.path().to_owned(), text(file.content()))).collect();
        (own, told)
    }

    #[test]
    fn what_is_placed_leaves_room_for_a_full_folder_of_a_caller() {
        let folders = |kept: Option<&str>| {
            let spec = FoldersSpec { copied: None, kept: kept.map(PathBuf::from) };
            Folders::new(ServerName::new("srv").unwrap(), spec)
        };
        let (without, with) = (folders(None), folders(Some("/kept")));
        let files = |count: usize, content: Vec<u8>| -> Vec<_> {
            let file = |at: usize| PlacedFile::new(&format!("a/{at}"), content.clone()).unwrap();
            (0..count).map(file).collect()
        };
        // "", "/home", "/home/user", and "a" in it.
        let most = Request::FILES_MAX - 4;
        assert!(without.fit(&files(most, Vec::new())).is_ok());
        let own = usize::try_from(super::FILES_MAX).unwrap();
        assert!(with.fit(&files(most - own, Vec::new())).is_ok());
        let told = with.fit(&files(most - own + 1, Vec::new())).unwrap_err().to_string();
        assert!(told.contains("at most 12288 files and folders"), "{told}");
        assert!(without.fit(&files(most + 1, Vec::new())).is_err());
        // Of each file whole pages, and of 256 MiB those that are left by a full folder.
        let one = |bytes: usize| [PlacedFile::new("a", vec![0; bytes]).unwrap()];
        assert!(with.fit(&one(176 << 20)).is_ok());
        assert!(with.fit(&one((176 << 20) + 1)).is_err());
        assert!(usize::try_from(super::INODES).is_ok_and(|inodes| inodes > Request::FILES_MAX));
    }

    #[tokio::test]
    async fn what_one_process_leaves_the_next_of_its_caller_has() {
        let place = tempfile::tempdir().unwrap();
        let kept = Some(place.path().join("upstreams/srv/workspace"));
        let spec = FoldersSpec { copied: None, kept };
        let folders = Folders::new(ServerName::new("srv").unwrap(), spec);
        let (own, told) = begun(&folders, 1).await;
        assert!(told.is_empty());
        // No other process of this caller has it meanwhile, and another caller's own is another one.
        let waits = folders.own(Some(Digest::from_bytes([1; 32])));
        assert!(timeout(Duration::ZERO, waits).await.is_err());
        assert_eq!(begun(&folders, 2).await.1, []);
        own.keep(vec![
            left("kept/a", Ok("1")),
            left("kept/b/c", Ok("2")),
            left("kept/../../escape", Ok("3")),
            left("/tmp/kept/x", Ok("4")),
            left("kept", Ok("5")),
        ]);
        let file = |path: &str, content: &str| (format!("/home/user/kept/{path}"), content.to_owned());
        let (own, told) = begun(&folders, 1).await;
        assert_eq!(told, [file("a", "1"), file("b/c", "2")]);
        assert!(!place.path().join("upstreams/srv/escape").exists());
        // What was taken away is gone, and what has become a link is not taken for that.
        own.keep(vec![left("kept/a", Ok("new"))]);
        let (own, told) = begun(&folders, 1).await;
        assert_eq!(told, [file("a", "new")]);
        own.keep(vec![left("kept/a", Err(NotCollected::Kind)), left("kept/d", Ok("4"))]);
        assert_eq!(begun(&folders, 1).await.1, [file("a", "new"), file("d", "4")]);
        assert_eq!(begun(&folders, 2).await.1, []);
    }
}
