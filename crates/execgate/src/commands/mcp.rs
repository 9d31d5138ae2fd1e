//! `execgate mcp`: the tools of this gateway for one client that speaks the Model Context Protocol over standard input and
//! output. Local and free: whoever has started it is its one caller.
//!
//! Nothing but the protocol is written to standard output.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use clap::Args;
use rustix::process::geteuid;

use super::cli::{Common, DataDir, Jail};
use super::serve::{Fitted, Gateway, fit_out, stop_signal};
use crate::config::{Environment, Settings};
use crate::policy::{PolicyChanges, PolicyFile};
use crate::privileges::Account;
use crate::{log, wire};

/// The server of one MCP client.
#[derive(Debug, Args)]
pub(crate) struct Mcp {
    /// The system user to run as when started as root [default: execgate, else a free uid]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    jail: Jail,
}

impl Mcp {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let root = geteuid().is_root();
        // Nothing listens; the address says that all callers are this machine's own.
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let flags = self.common.flags(Some(&self.jail), Some(nowhere), false);
        let settings = Settings::resolve(&flags, &Environment::read(), root)?;
        let changes = PolicyChanges::of_others_than_us();
        let policy = settings.policy.map(|file| PolicyFile { changes, ..file });
        let settings = Settings { payment: None, policy, ..settings };
        let account = Account::choose(self.user.as_deref())?;
        let data_dir = &self.data.data_dir;
        let ((), fitted) = fit_out(&settings, data_dir, account, || Ok(()))?;
        let log = log::start(&settings)?;
        let ended = wire::runtime()?.block_on(async {
            let stop = stop_signal()?;
            let Fitted { profiles, actions, loaded, .. } = fitted;
            let gateway = Gateway::open(&settings, data_dir, profiles, &actions, loaded).await?;
            gateway.gate.tell_of(&log);
            let served = gateway.serve_pipe(stop).await;
            gateway.close().await;
            served
        });
        log.flush();
        ended.map(|()| ExitCode::SUCCESS)
    }
}
