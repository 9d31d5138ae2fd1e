//! `execgate witness`: a second process, with a key and a store of its own, that cosigns checkpoints of logs that it was
//! told of, and refuses a log that was rewritten. It needs nothing of a gateway but its checkpoints.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use execgate_receipt::{KeyName, NoteAlgorithm, VerifierKey};
use execgate_web::{OpenConnections, ServerLimits, serve, witness_router};
use rustix::process::geteuid;
use tokio::net;

use super::serve::stop_signal;
use crate::config::{Environment, Settings};
use crate::ports::{SystemClock, SystemEntropy};
use crate::witness::{Desk, WitnessStore};
use crate::{log, terminal, wire};

/// Connections at once: each may hold a request of 132 KiB.
const CONNECTIONS: usize = 64;

/// A witness of logs.
#[derive(Debug, Args)]
pub(crate) struct Witness {
    /// The folder of the witness: its key, and what it has cosigned
    #[arg(long, value_name = "DIR", default_value = "./execgate-witness")]
    dir: PathBuf,
    /// The name of the witness, a URL without a scheme; needed the first time, and the same ever after
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<KeyName>,
    /// The verifier key of a log to cosign (`execgate keys list` on its gateway); may be given several times
    #[arg(long = "log", value_name = "VKEY", value_parser = log_key)]
    logs: Vec<VerifierKey>,
    /// Where to listen; port 0 takes a free one and prints it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5093")]
    listen: SocketAddr,
    /// A host name under which it is reached, beside localhost and addresses; may be given several times
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
}

fn name(text: &str) -> Result<KeyName, String> {
    text.parse().map_err(|_| "a name has up to 255 bytes, without white space and `+`".to_owned())
}

fn log_key(text: &str) -> Result<VerifierKey, String> {
    let key: VerifierKey = text.parse().map_err(|error| format!("{error}"))?;
    match key.algorithm() {
        NoteAlgorithm::Ed25519 => Ok(key),
        NoteAlgorithm::CosignatureV1 => Err("this is the key of a witness, and not of a log".to_owned()),
    }
}

impl Witness {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        if self.logs.is_empty() {
            bail!("name the log to cosign: --log VKEY, as `execgate keys list` shows it on the gateway");
        }
        if geteuid().is_root() {
            terminal::note("a witness needs no rights: run it as a user of its own");
        }
        let (store, key) = WitnessStore::open(&self.dir, self.name.as_ref(), Arc::new(SystemEntropy))?;
        let listener =
            TcpListener::bind(self.listen).with_context(|| format!("failed to listen on {}", self.listen))?;
        listener.set_nonblocking(true).context("failed to make a listener non-blocking")?;
        let address = listener.local_addr().context("failed to read the address of a listener")?;
        // Its log is that of a gateway with its defaults.
        let settings =
            Settings::resolve(&crate::config::Flags::default(), &Environment::read().for_record(), true)?;
        let lines = log::start(&settings)?;
        terminal::line(format_args!("execgate {} witness listening on http://{address}", wire::VERSION));
        terminal::line(format_args!("  witness   {}", key.verifier()));
        for log in &self.logs {
            let last = store.last(log.name().as_str());
            let last = last.map_or_else(
                || "nothing cosigned yet".to_owned(),
                |(size, _)| format!("{size} entries cosigned"),
            );
            terminal::line(format_args!("  log       {log}, {last}"));
        }
        for origin in store.forked() {
            terminal::line(format_args!("  FORKED    {origin}: state.json holds both checkpoints"));
        }
        let hosts = self.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        let desk = Desk::new(key, self.logs, store, Arc::new(SystemClock::new()));
        let served = wire::runtime()?.block_on(async {
            let stop = stop_signal()?;
            let listener = net::TcpListener::from_std(listener).context("failed to take the listener")?;
            let limits = ServerLimits {
                connections: CONNECTIONS,
                open: OpenConnections::default(),
                ..ServerLimits::default()
            };
            serve(listener, witness_router(Arc::new(desk), hosts), limits, stop).await?;
            anyhow::Ok(())
        });
        lines.flush();
        served?;
        Ok(ExitCode::SUCCESS)
    }
}
