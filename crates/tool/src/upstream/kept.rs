//! A server that is a process of this host, outside any jail: only where the operator has said so in writing.
//!
//! Its environment is what was declared and nothing else; it has three descriptors, and is in a process group of its own,
//! below a keeper of this same program that leaves nothing of it behind.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use execgate_model::BoxFuture;
use execgate_sandbox::{KEEPER_ARGUMENT, Kept};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::connect::{Connect, ConnectError, Opened};
use super::link::{over, tell};
use super::words::ServerName;
use crate::action::{Redactor, Secret};

/// What every such server finds in its environment beside what was declared.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The keeper, as a program; what is open is started even where the file was replaced since.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// The longest first line of a keeper, in bytes.
const KEEPER_LINE_MAX: usize = 64;

/// How long a keeper may take to say how it keeps: it has two processes to start.
const KEEPS_WITHIN: Duration = Duration::from_secs(30);

/// How long it is waited for a process to end in whose place another is to start.
const FREED_WITHIN: Duration = Duration::from_secs(10);

/// What is started.
#[derive(Debug, Clone)]
pub struct KeptUpstreamSpec {
    /// Its name.
    pub server: ServerName,
    /// Program and arguments; a program without a `/` is looked for in `PATH` of `env`, or the usual one.
    pub argv: Vec<String>,
    /// Its environment beside `PATH`, `HOME` and `LANG`; what it names of these takes their place.
    pub env: BTreeMap<String, Zeroizing<String>>,
    /// Of which of these it must tell nobody.
    pub secrets: Vec<Secret>,
    /// Where it starts.
    pub folder: PathBuf,
    /// How many of its processes there are at most at once, those that are about to end among them.
    pub processes_max: usize,
}

/// A server that is a process of this host.
pub struct KeptUpstream {
    spec: KeptUpstreamSpec,
    /// What is started as its keeper.
    keeper: &'static str,
    redactor: Arc<Redactor>,
    /// Each process has one until it was reaped.
    places: Arc<Semaphore>,
}

impl KeptUpstream {
    /// This server.
    #[must_use]
    pub fn new(spec: KeptUpstreamSpec) -> Self {
        let redactor = Arc::new(Redactor::of(&spec.secrets));
        let places = Arc::new(Semaphore::new(spec.processes_max));
        Self { spec, keeper: THIS_PROGRAM, redactor, places }
    }

    /// Why its program cannot be there: its keeper could only say that it has ended.
    fn missing(&self) -> Option<ConnectError> {
        let Self { spec: KeptUpstreamSpec { argv, env, folder, .. }, .. } = self;
        let program = argv.first()?;
        let is_program = |path: PathBuf| {
            fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        };
        if program.contains('/') {
            let missing = !is_program(folder.join(program));
            return missing.then(|| ConnectError(format!("there is no program `{program}`")));
        }
        let path = env.get("PATH").map_or(PATH, |path| path.as_str());
        let missing = !path.split(':').any(|place| is_program(folder.join(place).join(program)));
        missing.then(|| ConnectError(format!("there is no program `{program}` in its PATH ({path})")))
    }

    async fn start(&self) -> Result<Opened, ConnectError> {
        if let Some(missing) = self.missing() {
            return Err(missing);
        }
        let spec = &self.spec;
        let place = timeout(FREED_WITHIN, Arc::clone(&self.places).acquire_owned()).await;
        let place = place.ok().and_then(Result::ok).ok_or_else(|| {
            ConnectError(format!("as many processes of `{}` are there as may be, or do not end", spec.server))
        })?;
        let mut command = Command::new(self.keeper);
        command.arg(KEEPER_ARGUMENT).args(&spec.argv).env_clear();
        command.env("PATH", PATH).env("HOME", &spec.folder).env("LANG", "C.UTF-8");
        for (name, text) in &spec.env {
            command.env(name, text.as_str());
        }
        let not_started = |error: io::Error| {
            ConnectError(format!("the keeper of `{}` cannot be started ({error})", spec.server))
        };
        // Its end is the end of its input: the keeper sees to the rest, also where this process dies. A socket: of a pipe the
        // program could open this process's end (`/proc/self/fd/0`), and would keep itself alive by it.
        let (input, its_own) = UnixStream::pair().map_err(not_started)?;
        let its_own = its_own.into_std().and_then(|end| end.set_nonblocking(false).map(|()| end));
        command.stdin(OwnedFd::from(its_own.map_err(not_started)?));
        command.current_dir(&spec.folder).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.process_group(0).spawn().map_err(not_started)?;
        // It holds the program's end.
        drop(command);
        let mut output = child.stdout.take().ok_or_else(|| ConnectError("it has no pipes".to_owned()))?;
        let mut tasks = JoinSet::new();
        if let Some(said) = child.stderr.take() {
            let redactor = Arc::clone(&self.redactor);
            tasks.spawn(tell(spec.server.to_string(), said, move |text| redactor.clean_text(text)));
        }
        // Somebody has to reap it. Its place is free when it is gone.
        tokio::spawn(async move {
            drop(child.wait().await);
            drop(place);
        });
        let kept = timeout(KEEPS_WITHIN, first_line(&mut output)).await.ok().flatten();
        let kept = kept.ok_or_else(|| ConnectError(format!("the keeper of `{}` has failed", spec.server)))?;
        let mut link = over(input, output, Some(Box::new(Held { _tasks: tasks })));
        link.hold.told = Some(Box::new(move || Map::from_iter([("kept_by".to_owned(), kept.word().into())])));
        Ok(Opened(link))
    }
}

/// How a keeper keeps, by the line that it writes before its program is there. No byte of what follows is read.
async fn first_line(output: &mut (impl AsyncRead + Unpin)) -> Option<Kept> {
    let mut line = Vec::new();
    while line.len() < KEEPER_LINE_MAX && line.last() != Some(&b'\n') {
        line.push(output.read_u8().await.ok()?);
    }
    Kept::of_line(core::str::from_utf8(&line).ok()?)
}

/// What goes with the line.
struct Held {
    _tasks: JoinSet<()>,
}

impl Connect for KeptUpstream {
    fn open(&self) -> BoxFuture<'_, Result<Opened, ConnectError>> {
        Box::pin(self.start())
    }

    fn enforced(&self) -> Value {
        json!({"transport": "stdio", "sandbox": false})
    }

    fn clean(&self, value: Value) -> Value {
        if self.spec.secrets.is_empty() { value } else { self.redactor.clean_value(value) }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use tokio::task::spawn_blocking;
    use tokio::time::{pause, resume};

    use super::*;

    /// Says that it keeps, and stays until somebody writes to the pipe that is its last argument, whoever closes what else.
    const CLINGS: &str = "printf 'execgate-keeper beside\\n'; exec >/dev/null; read -r nothing <\"$2\"\n";

    fn of(argv: &[&str], env: BTreeMap<String, Zeroizing<String>>, folder: &Path) -> KeptUpstream {
        KeptUpstream::new(KeptUpstreamSpec {
            server: ServerName::new("srv").unwrap(),
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            env,
            secrets: Vec::new(),
            folder: folder.to_owned(),
            processes_max: 1,
        })
    }

    #[tokio::test]
    async fn a_process_has_its_place_until_it_was_reaped_and_not_only_until_its_line_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        // A shell takes the word that a keeper is started by for the name of a script.
        fs::write(folder.path().join(KEEPER_ARGUMENT), CLINGS).unwrap();
        let argv = ["sh", pipe.to_str().unwrap()];
        let upstream = KeptUpstream { keeper: "/bin/sh", ..of(&argv, BTreeMap::new(), folder.path()) };
        drop(upstream.start().await.ok().unwrap());
        assert_eq!(upstream.places.available_permits(), 0);
        // Whoever waits for its place meanwhile waits in vain; the clock goes on where nothing else does.
        pause();
        let refused = upstream.start().await.err().unwrap();
        assert_eq!(refused.to_string(), "as many processes of `srv` are there as may be, or do not end");
        resume();
        let let_go = || {
            let pipe = pipe.clone();
            spawn_blocking(move || fs::write(pipe, "go\n").unwrap())
        };
        let_go().await.unwrap();
        // It is free by the end of the process alone.
        drop(upstream.places.acquire().await.unwrap());
        drop(upstream.start().await.ok().unwrap());
        let_go().await.unwrap();
        drop(upstream.places.acquire().await.unwrap());
    }

    #[test]
    fn a_program_that_is_not_there_is_told_by_its_name() {
        let missing = |program: &str, path: Option<&str>| {
            let env = path.map(|path| ("PATH".to_owned(), Zeroizing::new(path.to_owned())));
            let kept = of(&[program], BTreeMap::from_iter(env), Path::new("/"));
            kept.missing().map(|error| error.to_string())
        };
        assert_eq!(missing("sh", None), None);
        assert_eq!(missing("/bin/sh", Some("/nowhere")), None);
        assert_eq!(missing("bin/sh", None), None);
        let told = "there is no program `sh` in its PATH (/nowhere:/etc)";
        assert_eq!(missing("sh", Some("/nowhere:/etc")).as_deref(), Some(told));
        // A file that nobody may start, and a folder.
        assert_eq!(missing("/etc/passwd", None).as_deref(), Some("there is no program `/etc/passwd`"));
        assert!(missing("/etc", None).is_some());
    }
}
