//! The two servers, and the settler that one of them may have.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::chain::{CHAIN, Chain, SELLER, SETTLER_KEY};
use crate::bench::command::Plan;
use crate::bench::cpu;
use crate::bench::program::Program;
use crate::bench::server::Server;

/// The server of x402's makers.
const PEER: &str = include_str!("../../../peers/x402-express/server.mjs");

/// Runs at once, of a server of ours.
const SLOTS: usize = 16;

/// What sells.
pub(super) enum Shop {
    /// By x402's makers.
    Peer(Program),
    /// Ours.
    Ours(Server),
}

impl Shop {
    /// The server of x402's makers, whose money that facilitator moves.
    pub(super) fn peer(folder: &Path, facilitator: &str) -> Result<Self> {
        Program::node(PEER, folder, &[facilitator, SELLER]).map(Self::Peer)
    }

    /// Ours, whose money is moved by what `settles` says, a line of its configuration.
    pub(super) fn ours(plan: &Plan, settles: &str) -> Result<Self> {
        // As many runs as are asked for: the peer has no bound, and nobody is to be turned away.
        let configuration = format!(
            "[sandbox]\nslots = {SLOTS}\n[payment]\nwallet = {SELLER:?}\nnetworks = [{CHAIN:?}]\n{settles}\n"
        );
        Server::start_as(&plan.binary, &plan.scratch, &configuration).map(Self::Ours)
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Peer(program) => program.address,
            Self::Ours(server) => server.address,
        }
    }

    /// Tells a server of ours to stop, so that it is gone when others are waited for.
    pub(super) fn close(&self) -> Result<()> {
        match self {
            Self::Peer(_) => Ok(()),
            Self::Ours(server) => server.terminate(),
        }
    }

    /// The time of its process alone, and of those that it has started.
    pub(super) fn cpu(&self) -> (Duration, Duration) {
        match self {
            Self::Peer(program) => cpu::of_process(program.id()),
            Self::Ours(server) => cpu::of_process(server.id()),
        }
    }
}

/// Where a settler is to be.
pub(super) struct Desk(PathBuf);

impl Desk {
    /// In a folder of its own, of the folder of the case.
    pub(super) fn new(scratch: &Path) -> Self {
        Self(scratch.join("settler"))
    }

    /// The line of the configuration that names it.
    pub(super) fn named(&self) -> String {
        format!("settler = {:?}", self.0.join("settler.sock"))
    }

    /// Its settler, as the user of a server of ours, who alone may open its socket.
    pub(super) fn open(&self, plan: &Plan, chain: &Chain, shop: &Shop) -> Result<Option<Program>> {
        let Shop::Ours(server) = shop else { return Ok(None) };
        let owner = fs::metadata(server.home().join("data")).context("the server has data")?;
        let key = self.0.with_extension("key");
        fs::create_dir(&self.0)?;
        fs::write(&key, SETTLER_KEY)?;
        fs::set_permissions(&key, Permissions::from_mode(0o600))?;
        for path in [&self.0, &key] {
            chown(path, Some(owner.uid()), Some(owner.gid()))
                .context("failed to give the settler its own")?;
        }
        let mut command = Command::new(&plan.binary);
        command.args(["settler", "--rpc", &chain.url(), "--chain", CHAIN, "--dir"]).arg(&self.0);
        command.arg("--key-file").arg(&key).uid(owner.uid()).gid(owner.gid()).env_clear();
        command.stderr(fs::File::create(self.0.with_extension("log"))?);
        Program::said(&mut command, "open ").map(Some)
    }
}
