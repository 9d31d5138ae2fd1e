//! Checkpoints of the log outside of the record: a file in the data directory, and one where the operator says. A file is
//! written whole and synced before it takes the place of the one before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use execgate_flow::log::{LogKeys, Outside, Seen, SeenNote};
use execgate_model::BoxFuture;
use execgate_receipt::{Checkpoint, MAX_NOTE_BYTES, SignedNote, VerifierKey};
use tokio::task;

use crate::keys;

/// The files of one gateway's log.
#[derive(Clone)]
pub(crate) struct OutsideFiles(Arc<Files>);

struct Files {
    data_dir: PathBuf,
    /// Where the operator wants it too.
    other: Option<PathBuf>,
    keys: Arc<LogKeys>,
}

/// The file in the data directory.
fn checkpoint_path(data_dir: &Path) -> PathBuf {
    data_dir.join("log-checkpoint")
}

impl OutsideFiles {
    pub(crate) fn new(data_dir: &Path, other: Option<PathBuf>, keys: Arc<LogKeys>) -> Self {
        Self(Arc::new(Files { data_dir: data_dir.to_owned(), other, keys }))
    }
}

impl Outside for OutsideFiles {
    fn read(&self) -> BoxFuture<'_, Vec<Seen>> {
        let files = Arc::clone(&self.0);
        Box::pin(async move {
            let read = task::spawn_blocking(move || files.read()).await;
            // A fault of ours must not pass for a place where nothing lies.
            read.unwrap_or_else(|_| {
                vec![Seen { place: "the data directory".to_owned(), note: SeenNote::Unreadable }]
            })
        })
    }

    fn names(&self) -> BoxFuture<'_, Vec<(String, String)>> {
        let files = Arc::clone(&self.0);
        Box::pin(async move { task::spawn_blocking(move || files.names()).await.unwrap_or_default() })
    }

    fn keep(&self, note: String) -> BoxFuture<'_, Result<(), (String, io::Error)>> {
        let files = Arc::clone(&self.0);
        Box::pin(async move {
            let kept = task::spawn_blocking(move || files.keep(&note)).await;
            kept.unwrap_or_else(|fault| Err(("the data directory".to_owned(), io::Error::other(fault))))
        })
    }
}

impl Files {
    fn read(&self) -> Vec<Seen> {
        let own = read_place(&checkpoint_path(&self.data_dir), true);
        let other = self.other.as_deref().map(|path| read_place(path, false));
        core::iter::once(own).chain(other).collect()
    }

    fn keep(&self, note: &str) -> Result<(), (String, io::Error)> {
        let at = |path: &Path| {
            let place = path.display().to_string();
            move |error| (place, error)
        };
        let own = checkpoint_path(&self.data_dir);
        self.name_key(note).map_err(at(&keys::log_verifiers_path(&self.data_dir)))?;
        replace(&own, note.as_bytes()).map_err(at(&own))?;
        self.other.as_deref().map_or(Ok(()), |path| replace(path, note.as_bytes()).map_err(at(path)))
    }

    /// The names of the log that readers are told of.
    fn names(&self) -> Vec<(String, String)> {
        let path = keys::log_verifiers_path(&self.data_dir);
        let keys = fs::read_to_string(&path).unwrap_or_default();
        let keys = keys.lines().filter_map(|line| line.parse::<VerifierKey>().ok());
        keys.map(|key| (path.display().to_string(), key.name().to_string())).collect()
    }

    /// Notes what verifies this note, for readers: a line for each name that the log has had.
    fn name_key(&self, note: &str) -> io::Result<()> {
        let origin = SignedNote::parse(note.as_bytes()).ok();
        let origin = origin.and_then(|note| note.unverified_text().parse::<Checkpoint>().ok());
        let keys = self.keys.now();
        let known = origin.and_then(|head| keys.verifiers(&head.origin).ok());
        let Some(known) = known else { return Err(io::Error::from(ErrorKind::InvalidData)) };
        let path = keys::log_verifiers_path(&self.data_dir);
        let before = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            read => read?,
        };
        // What a key signed that is retired does not count any more.
        let signs = |line: &&str| {
            let key: Option<VerifierKey> = line.parse().ok();
            key.is_some_and(|key| keys.iter().any(|signer| signer.verifying_key() == *key.key()))
        };
        let mut lines: Vec<String> = before.lines().filter(signs).map(str::to_owned).collect();
        for line in known.iter().map(ToString::to_string) {
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        let text = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>();
        if text == before { Ok(()) } else { replace(&path, text.as_bytes()) }
    }
}

fn read_place(path: &Path, always: bool) -> Seen {
    let note = match read_bounded(path) {
        Ok(text) => SeenNote::Text(text),
        Err(error) if error.kind() == ErrorKind::NotFound => SeenNote::Nothing { always },
        Err(_) => SeenNote::Unreadable,
    };
    Seen { place: path.display().to_string(), note }
}

/// A file that is no larger than a note may be.
fn read_bounded(path: &Path) -> io::Result<String> {
    let most = u64::try_from(MAX_NOTE_BYTES).map_err(io::Error::other)?;
    let mut text = String::new();
    File::open(path)?.take(most + 1).read_to_string(&mut text)?;
    if text.len() > MAX_NOTE_BYTES { Err(io::Error::from(ErrorKind::FileTooLarge)) } else { Ok(text) }
}

/// Puts a file in the place of another one, durably. Whoever reads sees the one or the other.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    // Of two processes each has its own.
    partial.push(format!(".{}", std::process::id()));
    let partial = PathBuf::from(partial);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use execgate_flow::log::{LogKeys, LogSigners, Outside as _, Seen, SeenNote};
    use execgate_receipt::{Checkpoint, NoteKey, SigningKey, empty_root};

    use super::OutsideFiles;

    fn note(origin: &str) -> String {
        let key = NoteKey::new(origin.parse().unwrap(), SigningKey::from_seed(&[1; 32]));
        Checkpoint::new(origin.to_owned(), 0, empty_root()).sign(&key).unwrap().to_string()
    }

    #[tokio::test]
    async fn a_checkpoint_lies_in_both_places_and_its_keys_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("keys")).unwrap();
        let (own, other) = (folder.path().join("log-checkpoint"), folder.path().join("elsewhere"));
        let key = Arc::new(SigningKey::from_seed(&[1; 32]));
        let keys = Arc::new(LogKeys::new(LogSigners::new(key, Vec::new())));
        let files = OutsideFiles::new(folder.path(), Some(other.clone()), keys);
        let seen = |path: &std::path::Path, note| Seen { place: path.display().to_string(), note };
        let nothing = |always| SeenNote::Nothing { always };
        assert_eq!(files.read().await, [seen(&own, nothing(true)), seen(&other, nothing(false))]);
        for origin in ["one.example", "two.example", "two.example"] {
            files.keep(note(origin)).await.unwrap();
        }
        let text = SeenNote::Text(note("two.example"));
        assert_eq!(files.read().await, [seen(&own, text.clone()), seen(&other, text)]);
        let keys = fs::read_to_string(folder.path().join("keys/log.vkey")).unwrap();
        let names: Vec<_> = keys.lines().map(|line| line.split('+').next().unwrap()).collect();
        assert_eq!(names, ["one.example", "two.example"]);
        fs::write(&own, [0xff]).unwrap();
        assert_eq!(files.read().await[0], seen(&own, SeenNote::Unreadable));
        fs::write(&own, "x".repeat(200_000)).unwrap();
        assert_eq!(files.read().await[0], seen(&own, SeenNote::Unreadable));
    }
}
