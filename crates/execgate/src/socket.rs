//! The socket of the administration: a file of the data directory, for its owner alone.
//!
//! Gateways that share a data directory have a socket each: `admin.sock`, `admin-2.sock` and so on. A name belongs to
//! whoever holds the lock beside it, which the kernel gives back however a process dies; so what a dead one has left is
//! replaced, and the socket of a live one never is.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Result as IoResult};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::{Mode, fchmod};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use tokio::net::UnixStream;

/// How many gateways may share a data directory: as many as there are blocks of user ids for their sandboxes.
const NAMES: usize = 256;

/// The longest path of a socket, in bytes (unix(7)).
const PATH_MAX: usize = 107;

/// Connections that wait to be taken.
const BACKLOG: i32 = 64;

/// The socket of this process. It goes with it.
pub(crate) struct AdminSocket {
    path: PathBuf,
    lock: File,
}

impl AdminSocket {
    /// Listens under the first name that no live process has.
    pub(crate) fn bind(data_dir: &Path) -> anyhow::Result<(Self, UnixListener)> {
        for number in 1..=NAMES {
            let path = data_dir.join(name(number));
            let doing = || format!("failed to open the administration socket {}", path.display());
            let Some(lock) = take(&path.with_extension("lock")).with_context(doing)? else { continue };
            let listener = listening(&path).with_context(doing)?;
            return Ok((Self { path, lock }, listener));
        }
        bail!("{NAMES} gateways have a socket in {} already", data_dir.display())
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let removed = fs::remove_file(&self.path);
        // Outright: a child that has forked and not yet executed would keep it.
        let unlocked = self.lock.unlock();
        if let Err(error) = removed.and(unlocked) {
            tracing::warn!(%error, "the administration socket was not removed");
        }
    }
}

/// Connects to a live gateway of a data directory, if there is one.
pub(crate) async fn connect(data_dir: &Path) -> anyhow::Result<Option<(PathBuf, UnixStream)>> {
    for number in 1..=NAMES {
        let path = data_dir.join(name(number));
        let connected = match Reach::of(&path) {
            Ok(reach) => UnixStream::connect(&reach.path).await,
            Err(error) => Err(error),
        };
        match connected {
            Ok(stream) => return Ok(Some((path, stream))),
            Err(error) if is_nobody(error.kind()) => {}
            Err(error) => {
                let text = format!("failed to reach the gateway at {}", path.display());
                return Err(error).context(text);
            }
        }
    }
    Ok(None)
}

/// Whether nobody listens there.
fn is_nobody(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

fn name(number: usize) -> String {
    if number == 1 { "admin.sock".to_owned() } else { format!("admin-{number}.sock") }
}

/// A path that a socket can have: where its own is too long, one through a descriptor of its folder.
struct Reach {
    path: PathBuf,
    _folder: Option<File>,
}

impl Reach {
    fn of(path: &Path) -> IoResult<Self> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(ErrorKind::InvalidInput.into());
        };
        if path.as_os_str().len() <= PATH_MAX {
            return Ok(Self { path: path.to_owned(), _folder: None });
        }
        let folder = File::open(folder)?;
        let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _folder: Some(folder) })
    }
}

/// The lock of a name; none where another process has it.
fn take(path: &Path) -> IoResult<Option<File>> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Listens, on a file that nobody else can open at any moment: the mode is the socket's own before it has a name.
fn listening(path: &Path) -> IoResult<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, &SocketAddrUnix::new(&Reach::of(path)?.path)?)?;
    listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
    use std::os::unix::net::UnixListener;

    use super::{AdminSocket, connect};

    #[tokio::test]
    async fn each_live_process_has_a_name_and_what_a_dead_one_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        assert!(connect(data).await.unwrap().is_none());
        // As a process leaves it that was killed.
        drop(UnixListener::bind(data.join("admin.sock")).unwrap());
        assert!(connect(data).await.unwrap().is_none());
        let (first, listening) = AdminSocket::bind(data).unwrap();
        let (second, _listening) = AdminSocket::bind(data).unwrap();
        assert_eq!(first.path(), data.join("admin.sock"));
        assert_eq!(second.path(), data.join("admin-2.sock"));
        let metadata = fs::metadata(first.path()).unwrap();
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
        assert_eq!(connect(data).await.unwrap().unwrap().0, first.path());
        drop((first, listening));
        assert!(!data.join("admin.sock").exists());
        assert_eq!(connect(data).await.unwrap().unwrap().0, second.path());
        let (third, _listening) = AdminSocket::bind(data).unwrap();
        assert_eq!(third.path(), data.join("admin.sock"));
    }

    #[tokio::test]
    async fn a_data_directory_may_have_a_long_name() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("d".repeat(120));
        fs::create_dir(&data).unwrap();
        assert!(connect(&data).await.unwrap().is_none());
        let (socket, _listening) = AdminSocket::bind(&data).unwrap();
        assert_eq!(fs::metadata(socket.path()).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(connect(&data).await.unwrap().unwrap().0, socket.path());
    }
}
