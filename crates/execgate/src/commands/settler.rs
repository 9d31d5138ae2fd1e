//! `execgate settler`: a process of its own that has the gas key, and settles what a gateway asks for through a socket. The
//! gateway never has the key; the settler never hears a request from outside.

use std::fs::{self, DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use execgate_payment::evm::ChainId;
use execgate_settler::{Desk, FINAL_AFTER, GasKey, Ledger, Manners, Rpc, serve};
use rustix::fs::{FlockOperation, Mode, flock};
use rustix::process::{geteuid, umask};
use zeroize::Zeroizing;

use super::serve::stop_signal;
use crate::config::{Environment, Settings, secret_of_file};
use crate::ports::SystemClock;
use crate::{log, terminal, wire};

/// What is told of the file that holds it.
const RPC_FILE: &str =
    "The file of the node's address, which nobody but its owner may read [else: EXECGATE_SETTLER_RPC]";

/// The variable that holds the address of the node.
const NODE: &str = "EXECGATE_SETTLER_RPC";

/// The journal, in the folder of the settler.
const JOURNAL: &str = "settler.db";

/// The socket, likewise.
const SOCKET: &str = "settler.sock";

/// Whose lock says that a settler is at work in the folder.
const LOCK: &str = "settler.lock";

/// Nobody but its user reads what the settler makes: what is signed there is money.
const PRIVATE: u32 = 0o700;

/// A settler.
#[derive(Debug, Args)]
pub(crate) struct Settler {
    /// The folder of the settler: what it has promised to send, and its socket
    #[arg(long, value_name = "DIR", default_value = "./execgate-settler")]
    dir: PathBuf,
    /// A node of the chain: https, or http on this machine. Every user of this machine sees it among the processes: one that
    /// holds a key belongs into --rpc-file
    #[arg(long, value_name = "URL", conflicts_with = "rpc_file")]
    rpc: Option<String>,
    #[arg(long, value_name = "FILE", help = RPC_FILE)]
    rpc_file: Option<PathBuf>,
    /// The chain, as CAIP-2 writes it; a node of another one is refused
    #[arg(long, value_name = "CHAIN", value_parser = chain)]
    chain: ChainId,
    /// The file of the key that pays for gas; nobody but its owner may read it
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// The most that a unit of gas may cost, in gwei; beyond it transfers wait
    #[arg(long, value_name = "GWEI", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    fee_max: u32,
    /// Behind how many blocks one is final, where the node does not say which is
    #[arg(long, value_name = "BLOCKS", default_value_t = FINAL_AFTER, value_parser = clap::value_parser!(u64).range(1..))]
    final_after: u64,
}

/// Wei of a gwei.
const GWEI: u128 = 1_000_000_000;

fn chain(text: &str) -> Result<ChainId, String> {
    text.parse().map_err(|error| format!("{error}"))
}

impl Settler {
    /// Where the node is. What it is, is told by no error: it may hold a key.
    fn node(&self) -> anyhow::Result<Rpc> {
        let (place, address) = match (&self.rpc, &self.rpc_file) {
            (Some(address), _) => ("--rpc", Zeroizing::new(address.clone())),
            (None, Some(file)) => {
                let file = std::path::absolute(file).context("failed to name the file of the node")?;
                ("the file of --rpc-file", secret_of_file(&file)?)
            }
            (None, None) => {
                let address = Environment::secret(NODE).context(
                    "the settler has no node: --rpc-file FILE, --rpc URL or EXECGATE_SETTLER_RPC names one",
                )?;
                (NODE, address)
            }
        };
        Rpc::new(address.trim()).with_context(|| format!("{place} is wrong"))
    }

    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        if geteuid().is_root() {
            terminal::note("a settler needs no rights: run it as a user of its own, or as the gateway's");
        }
        umask(Mode::from_raw_mode(0o077));
        DirBuilder::new()
            .recursive(true)
            .mode(PRIVATE)
            .create(&self.dir)
            .context("failed to make the folder")?;
        fs::set_permissions(&self.dir, Permissions::from_mode(PRIVATE))
            .context("failed to close the folder")?;
        // Held until this process ends: two settlers would give one number twice.
        let lock = File::create(self.dir.join(LOCK)).context("failed to make the file of the lock")?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .context("another settler is at work in this folder")?;
        let file = std::path::absolute(&self.key_file).context("failed to name the file of the key")?;
        let key = GasKey::parse(&secret_of_file(&file)?).context("the file of the gas key holds none")?;
        let rpc = self.node()?;
        let settings =
            Settings::resolve(&crate::config::Flags::default(), &Environment::read().for_record(), true)?;
        let lines = log::start(&settings)?;
        let served = wire::runtime()?.block_on(async {
            let ledger = Ledger::open(rpc, self.chain).await.context("the node cannot be used")?;
            let ledger = ledger.final_after(self.final_after).timed_by(Arc::new(SystemClock::new()));
            let manners = Manners { fee_max: u128::from(self.fee_max) * GWEI, ..Manners::default() };
            let desk = Desk::open(ledger, key, &self.dir.join(JOURNAL), manners)?;
            let open = desk.resume().await?;
            let socket = self.dir.join(SOCKET);
            terminal::line(format_args!("execgate {} settler at {}", wire::VERSION, socket.display()));
            terminal::line(format_args!("  chain     {}", self.chain));
            terminal::line(format_args!("  gas from  {}", desk.account()));
            terminal::line(format_args!("  open      {open}"));
            let stop = stop_signal()?;
            tokio::select! {
                never = serve(&socket, Arc::new(desk.clone())) => match never? {},
                () = stop => {}
            }
            // What was signed is in the journal: the next settler goes on with it.
            desk.stop();
            anyhow::Ok(())
        });
        lines.flush();
        served?;
        Ok(ExitCode::SUCCESS)
    }
}
