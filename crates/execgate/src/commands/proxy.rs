//! `execgate proxy`: rules, limits, approvals and receipts in front of an MCP server of others, over standard input and
//! output. Whoever has started it is its one caller.
//!
//! Nothing but the protocol is written to standard output. An agent of the same user can go round it by starting the server
//! itself; it cannot rewrite the rules of one that serves: docs/PROXY.md.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{self, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use execgate_receipt::VerifyingKey;
use execgate_receipt::approval::public_key;
use execgate_tool::upstream::{FirstContact, Sharing, Upstream, UpstreamParts, Upstreams};
use rustix::process::geteuid;

use super::cli::{Common, DataDir, Jail};
use super::serve::{Gateway, fit_out, stop_signal};
use crate::config::{Environment, Settings};
use crate::policy::{PolicyChanges, PolicyFile};
use crate::privileges::Account;
use crate::upstreams::{Book, UpstreamFlags, digester};
use crate::{log, wire};

/// What becomes of a server that was never accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum First {
    /// What it offers now is accepted, since you have just named it
    Accept,
    /// All of it is hidden until `execgate upstream accept`
    Wait,
}

/// Rules in front of an MCP server.
#[derive(Debug, Args)]
pub(crate) struct Proxy {
    /// The rules: `tools` names those of the server as the server does
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The public key of whoever answers for the rules, as `execgate approver keygen` prints it, or an SPKI PEM; may be
    /// given again. The file then needs a signature (`execgate policy sign`), now and for each change. Without one a change
    /// counts only where the file belongs to another user, who alone can write it
    #[arg(long, value_name = "KEY", value_parser = public_key)]
    policy_key: Vec<VerifyingKey>,
    /// What becomes of a server of which nothing was ever accepted. What is new or changed later is hidden in any case
    #[arg(long, value_enum, default_value = "accept")]
    first: First,
    /// How long one call may take, in seconds
    #[arg(long, value_name = "S", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=600))]
    call_timeout: u64,
    /// The system user to run as when started as root [default: execgate, else a free uid]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    jail: Jail,
    #[command(flatten)]
    server: UpstreamFlags,
}

impl Proxy {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let root = geteuid().is_root();
        let server = self.server.name()?;
        // Nothing listens; the address says that the caller is this machine's own.
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let flags = self.common.flags(Some(&self.jail), Some(nowhere), false);
        let environment = Environment::read().for_proxy();
        let settings = self.server.fit(Settings::resolve(&flags, &environment, root)?)?;
        let path = path::absolute(&self.policy).context("the policy has no path")?;
        let changes = match self.policy_key.is_empty() {
            true => PolicyChanges::of_others_than_us(),
            false => PolicyChanges::Signed(self.policy_key),
        };
        let settings = Settings {
            payment: None,
            upstreams: Vec::new(),
            policy: Some(PolicyFile { path, changes, server: Some(server.to_string()) }),
            ..settings
        };
        let account = Account::choose(self.user.as_deref())?;
        let data_dir = &self.data.data_dir;
        let ((), fitted) = fit_out(&settings, data_dir, account, || Ok(()))?;
        let log = log::start(&settings)?;
        let connect = self.server.connect(&settings, fitted.profiles.as_ref(), Some(data_dir))?;
        let upstream = Arc::new(Upstream::new(UpstreamParts {
            name: server,
            connect,
            book: Arc::new(Book::of(data_dir)),
            digester,
            first: match self.first {
                First::Accept => FirstContact::Accept,
                First::Wait => FirstContact::Wait,
            },
            call_within: Duration::from_secs(self.call_timeout),
            // Whoever has started this process is its one caller.
            sharing: Sharing::Sole,
            asks: self.server.asks(),
        }));
        let ended = wire::runtime()?.block_on(async {
            let stop = stop_signal()?;
            let upstreams = Upstreams::new([Arc::clone(&upstream)]);
            let gateway = Gateway::open_beside(&settings, data_dir, fitted, upstreams).await?;
            gateway.gate.tell_of(&log);
            let served = gateway.serve_upstream(upstream, stop).await;
            gateway.close().await;
            served
        });
        log.flush();
        ended.map(|()| ExitCode::SUCCESS)
    }
}
