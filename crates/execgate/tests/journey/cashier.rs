//! A real settler of one test: a process of its own with the gas key, ended by its id.

use std::fs::{self, File, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};

use execgate_testkit::chain::{CHAIN_ID, Chain, GAS};

use super::server::execgate;

/// A settler.
pub(super) struct Settler {
    child: Child,
    _stdout: BufReader<ChildStdout>,
}

/// Where settlers of a test keep what they have, and who they are: the gateway's user, who alone may open the socket.
pub(super) struct Desk {
    folder: PathBuf,
    key: PathBuf,
    url: String,
    user: (u32, u32),
}

impl Desk {
    /// Beside a data directory, for a chain.
    pub(super) fn new(data: &Path, chain: &Chain) -> Self {
        let folder = data.parent().unwrap().join("settler");
        let key = data.parent().unwrap().join("gas.key");
        Self { folder, key, url: chain.url(), user: (0, 0) }
    }

    /// Its socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("settler.sock")
    }

    /// What all its settlers have said.
    fn log(&self) -> File {
        File::options().create(true).append(true).open(self.key.with_extension("log")).unwrap()
    }

    /// A settler, which has gone on with what the one before had promised when this returns. A gateway has to have made the
    /// data directory: it says by that who it is.
    pub(super) fn start(&mut self, data: &Path) -> Settler {
        let made = fs::metadata(data).unwrap();
        self.user = (made.uid(), made.gid());
        if !self.folder.exists() {
            fs::create_dir(&self.folder).unwrap();
            fs::write(&self.key, GAS.key).unwrap();
            fs::set_permissions(&self.key, Permissions::from_mode(0o600)).unwrap();
            for path in [&self.folder, &self.key] {
                chown(path, Some(self.user.0), Some(self.user.1)).unwrap();
            }
        }
        let mut child = execgate()
            .env("EXECGATE_SETTLER_RPC", &self.url)
            .args(["settler", "--chain", &format!("eip155:{CHAIN_ID}"), "--dir"])
            .arg(&self.folder)
            .arg("--key-file")
            .arg(&self.key)
            .uid(self.user.0)
            .gid(self.user.1)
            .stdin(Stdio::null())
            .stderr(self.log())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("open ") {
            line.clear();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "the settler ended before it listened");
        }
        Settler { child, _stdout: stdout }
    }
}

impl Settler {
    /// Its process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and wait until it is gone.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        // Already gone is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
