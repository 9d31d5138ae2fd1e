//! A server in the jail: the sandbox knows its program as a language whose code is empty, as it does actions that are
//! programs. It holds one of the slots that are set aside for as long as it lives, at most a day; then it is started anew.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use execgate_model::{BoxFuture, Digest};
use execgate_sandbox::{
    Cancel, Keep, Language, Limits, Network, NetworkSight, PlacedFile, Request, Sandbox, Source, Stdin,
    Stream, VerdictBy,
};
use rustix::pipe::{PipeFlags, pipe_with};
use serde_json::{Value, json};
use tokio::net::unix::pipe;
use tokio::task::spawn_blocking;

use super::connect::{Connect, ConnectError, Opened};
use super::folders::{Folders, FoldersSpec, INODES, OwnFolder};
use super::link::over;
use super::words::ServerName;

/// All that a server may write in its life, in bytes: each message is bounded by itself.
const OUTPUT_BYTES_MAX: u64 = 1 << 40;

/// What is started.
#[derive(Debug, Clone)]
pub struct JailedUpstreamSpec {
    /// Its name.
    pub server: ServerName,
    /// What it may reach.
    pub network: Network,
    /// Its memory, in bytes.
    pub memory_bytes: u64,
    /// What lies in its home folder when it starts.
    pub files: Vec<PlacedFile>,
    /// Its folders.
    pub folders: FoldersSpec,
}

/// What the sandbox calls the program of a server. No language and no action has a colon.
fn language_name(server: &ServerName) -> String {
    format!("upstream:{server}")
}

/// The program of a server, for the configuration of its sandbox. `argv` begins with a path in the image; `env` goes to
/// where strangers' code can read it, and so is for what is no secret.
#[must_use]
pub fn program_of(server: &ServerName, argv: Vec<String>, env: Vec<(String, String)>) -> Language {
    Language {
        name: language_name(server),
        argv,
        env,
        source: Source::Descriptor,
        verdict: VerdictBy::ExitStatus,
        warm: Vec::new(),
        preloads: false,
        idle_bytes: 0,
        session: None,
    }
}

/// A server in the jail.
pub struct JailedUpstream {
    spec: JailedUpstreamSpec,
    folders: Arc<Folders>,
    sandbox: Arc<Sandbox>,
}

impl JailedUpstream {
    /// This server, in a sandbox that has its program.
    #[must_use]
    pub fn new(spec: JailedUpstreamSpec, sandbox: Arc<Sandbox>) -> Self {
        let folders = Arc::new(Folders::new(spec.server.clone(), spec.folders.clone()));
        Self { spec, folders, sandbox }
    }

    /// What lies in its home folder when it starts, and the folder of its caller.
    async fn files(
        &self,
        owner: Option<Digest>,
    ) -> Result<(Vec<PlacedFile>, Option<OwnFolder>), ConnectError> {
        let mut own = self.folders.own(owner).await?;
        let (folders, mut files) = (Arc::clone(&self.folders), self.spec.files.clone());
        let read = spawn_blocking(move || {
            files.extend(folders.copied()?);
            folders.fit(&files)?;
            if let Some(own) = &mut own {
                files.extend(own.placed()?);
            }
            Ok((files, own))
        });
        read.await.map_err(|_| ConnectError("its folders could not be read".to_owned()))?
    }

    fn start(&self, files: Vec<PlacedFile>, own: Option<OwnFolder>) -> Result<Opened, ConnectError> {
        let bad = |what: &str, why: &dyn core::fmt::Display| ConnectError(format!("{what} ({why})"));
        let pipes = || pipe_with(PipeFlags::CLOEXEC);
        let (stdin, input) = pipes().map_err(|error| bad("it has no pipes", &error))?;
        let (output, stdout) = pipes().map_err(|error| bad("it has no pipes", &error))?;
        let slot = self.sandbox.reserve_aside().map_err(|error| bad("there is no place for it", &error))?;
        let cord = Cancel::new().map_err(|error| bad("it could not be ended", &error))?;
        let mut request = Request::new(language_name(&self.spec.server), Vec::new());
        request.stdin = Stdin::Inherit(stdin);
        request.network = self.spec.network.clone();
        let sight = NetworkSight::default();
        request.network_sight = Some(sight.clone());
        request.files = files;
        request.collect = own.as_ref().map(|_| OwnFolder::collect());
        request.limits = Limits {
            wall: Limits::WALL_MAX,
            memory_bytes: self.spec.memory_bytes,
            inodes: INODES,
            output_bytes: OUTPUT_BYTES_MAX,
            output_discard_bytes: 0,
            ..Limits::default()
        };
        request.keep = Keep::Nothing;
        request.cancel = Some(cord.clone());
        let server = self.spec.server.to_string();
        let mut stdout = File::from(stdout);
        request.sink = Some(Box::new(move |stream, bytes| match stream {
            // Where nobody reads any more the line is over, and the cord is pulled.
            Stream::Stdout => drop(stdout.write_all(bytes)),
            Stream::Stderr => {
                tracing::debug!(server, said = ?String::from_utf8_lossy(bytes), "an upstream server wrote to its log");
            }
        }));
        let sandbox = Arc::clone(&self.sandbox);
        let server = self.spec.server.to_string();
        spawn_blocking(move || match sandbox.run_in(slot, request) {
            Ok(run) => {
                tracing::info!(server, verdict = ?run.verdict, "an upstream server has ended");
                // What ended before it had begun may not have had all of its files yet.
                if let Some(own) = own.filter(|_| !run.usage.wall.is_zero()) {
                    own.keep(run.files);
                }
            }
            Err(error) => tracing::warn!(server, %error, "an upstream server was not run"),
        });
        let input = pipe::Sender::from_owned_fd(input).map_err(|error| bad("it has no input", &error))?;
        let output =
            pipe::Receiver::from_owned_fd(output).map_err(|error| bad("it has no output", &error))?;
        let mut link = over(input, output, Some(Box::new(Pulls(cord))));
        // What was decided since the process has begun; that of one call cannot be told apart.
        link.hold.told = Some(Box::new(move || {
            let report = sight.report().and_then(|report| serde_json::to_value(report).ok());
            report.map(|report| ("egress".to_owned(), report)).into_iter().collect()
        }));
        Ok(Opened(link))
    }
}

/// Ends the run with the line.
struct Pulls(Cancel);

impl Drop for Pulls {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Connect for JailedUpstream {
    fn open(&self) -> BoxFuture<'_, Result<Opened, ConnectError>> {
        self.open_of(None)
    }

    fn open_of(&self, owner: Option<Digest>) -> BoxFuture<'_, Result<Opened, ConnectError>> {
        Box::pin(async move {
            let (files, own) = self.files(owner).await?;
            self.start(files, own)
        })
    }

    fn enforced(&self) -> Value {
        let enforced = self.sandbox.enforced();
        let mut told = json!({
            "transport": "stdio",
            "sandbox": {
                "tier": enforced.tier.name(),
                "image": enforced.image,
                "network": self.spec.network.name(),
                "memory_bytes": self.spec.memory_bytes,
                "disk_bytes": Limits::default().disk_bytes,
                "wall_s": Limits::WALL_MAX.as_secs(),
            },
        });
        if let Network::Egress(egress) = &self.spec.network {
            let rules = egress.rules();
            told["sandbox"]["reaches"] =
                json!({"domains": rules.domains, "cidrs": rules.cidrs, "ports": rules.ports});
        }
        for (folder, how) in self.folders.told() {
            told["sandbox"][folder] = how.into();
        }
        told
    }
}
