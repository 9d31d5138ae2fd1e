//! The command line: what there is, and which file does it.

use std::io;
use std::net::SocketAddr;
use std::path::{self, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use super::{
    approve, audit, backup, demo, doctor, fsck, grant, image, keys, log, mcp, openapi, pause, policy,
    pricing, proxy, revenue, run, runs, scan, serve, settle, settler, upstream, verify, witness,
};
use crate::config::{Flags, TierSetting};

/// The boundary between what an AI agent proposes and what happens.
///
/// execgate takes tool calls and source code over HTTP, checks the rules, runs each exactly once in a real
/// sandbox, and answers with a result and a receipt that anyone can verify offline.
#[derive(Debug, Parser)]
#[command(name = "execgate", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the gateway
    Serve(serve::Serve),
    /// Run code in the jail, without a server
    Run(run::Run),
    /// Serve tools and code to one MCP client, over standard input and output
    Mcp(mcp::Mcp),
    /// Put rules, limits, approvals and receipts in front of an MCP server of others
    Proxy(proxy::Proxy),
    /// Say what the tools of an MCP server of others may do
    Scan(scan::Scan),
    /// Look at what MCP servers of others offer, and accept it
    #[command(subcommand)]
    Upstream(upstream::UpstreamCommand),
    /// Show everything at work, on a gateway of its own, and check that it held
    Demo(demo::Demo),
    /// Say what this host can enforce, and how to mend what it cannot
    Doctor(doctor::Doctor),
    /// Verify a receipt offline
    Verify(verify::Verify),
    /// Look at recorded runs
    #[command(subcommand)]
    Runs(runs::Runs),
    /// Read the transparency log, copy it, or give it a new name
    #[command(subcommand)]
    Log(log::LogCommand),
    /// Read the audit trail: what was decided, for whom, by which rule
    Audit(audit::Audit),
    /// Check the whole record: receipts, leaves, limits, money
    Fsck(fsck::Fsck),
    /// Copy the record, served or not, into a file
    Backup(backup::Backup),
    /// Say who may ask, by which key
    #[command(subcommand)]
    Grant(grant::GrantCommand),
    /// Look at the gateway's own keys, replace and retire them
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Look at what waits for an approval
    Approvals(approve::Approvals),
    /// Approve or deny what waits, with an approver's key
    Approve(approve::Approve),
    /// Make an approver's key
    #[command(subcommand)]
    Approver(approve::ApproverCommand),
    /// Build or show the image that code runs in
    #[command(subcommand)]
    Image(image::ImageCommand),
    /// Write, check and explain the rules
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Say what is sold, for how much, and to whom the money comes
    Pricing(pricing::Pricing),
    /// Say what was earned, by day, action, rail and network, and what is owed to payers
    Revenue(revenue::Revenue),
    /// Cosign the log of a gateway, as a second process that sees that nothing is rewritten
    Witness(witness::Witness),
    /// Look at money that is not settled, look for it anew, or say what became of it
    #[command(subcommand)]
    Settle(settle::SettleCommand),
    /// Move what a gateway is paid by authorization, by a key that the gateway never has
    Settler(settler::Settler),
    /// Print the OpenAPI description
    Openapi(openapi::Openapi),
    /// Stop claiming new runs on every gateway of a record, until `resume`
    Pause(pause::Switch),
    /// Claim new runs again after `pause`
    Resume(pause::Switch),
}

/// Where the gateway's files lie.
#[derive(Debug, Clone, Args)]
pub(crate) struct DataDir {
    /// The folder of the gateway's files: record, keys, locks
    #[arg(long, value_name = "DIR", default_value = "./execgate-data", value_parser = absolute)]
    pub(crate) data_dir: PathBuf,
}

/// A folder by its whole name, so that it means the same to everything that is told of it.
fn absolute(text: &str) -> io::Result<PathBuf> {
    path::absolute(text)
}

/// What the commands that need the settings share.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// A configuration file (TOML); `execgate serve --print-config` prints the commented default
    #[arg(long, value_name = "FILE", env = "EXECGATE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The database [default: sqlite in the data directory; also `OPENEXEC_DB_URL`, `DATABASE_URL`]
    #[arg(long, value_name = "URL")]
    pub(crate) database: Option<String>,
}

/// What the commands that run code share.
#[derive(Debug, Clone, Args)]
pub(crate) struct Jail {
    /// The isolation tier [default: the strongest of this host where that is allowed, else jail]
    #[arg(long, value_enum)]
    pub(crate) tier: Option<TierSetting>,
    /// Run in this image of `execgate image build` [default: one of this host's packages]
    #[arg(long, value_name = "DIGEST")]
    pub(crate) image: Option<String>,
    /// Where images are kept [default: /var/cache/execgate as root, else ~/.cache/execgate]
    #[arg(long, value_name = "DIR")]
    pub(crate) image_cache: Option<PathBuf>,
}

impl Common {
    /// The flags that this command line sets.
    pub(crate) fn flags(&self, jail: Option<&Jail>, listen: Option<SocketAddr>, free: bool) -> Flags {
        Flags {
            listen,
            free,
            database: self.database.clone(),
            config: self.config.clone(),
            tier: jail.and_then(|jail| jail.tier),
            slots: None,
            image: jail.and_then(|jail| jail.image.clone()),
            image_cache: jail.and_then(|jail| jail.image_cache.clone()),
            for_record: false,
        }
    }

    /// Those of a command that serves nobody, and looks at a record.
    pub(crate) fn for_record(&self) -> Flags {
        Flags { for_record: true, ..self.flags(None, None, false) }
    }
}

/// Does what the command line says.
pub(crate) fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(serve) => serve.execute(),
        Command::Run(run) => run.execute(),
        Command::Mcp(mcp) => mcp.execute(),
        Command::Proxy(proxy) => proxy.execute(),
        Command::Scan(scan) => scan.execute(),
        Command::Upstream(upstream) => upstream.execute(),
        Command::Demo(demo) => demo.execute(),
        Command::Doctor(doctor) => doctor.execute(),
        Command::Verify(verify) => verify.execute(),
        Command::Runs(runs) => runs.execute(),
        Command::Log(log) => log.execute(),
        Command::Audit(audit) => audit.execute(),
        Command::Fsck(fsck) => fsck.execute(),
        Command::Backup(backup) => backup.execute(),
        Command::Grant(grant) => grant.execute(),
        Command::Keys(keys) => keys.execute(),
        Command::Approvals(approvals) => approvals.execute(),
        Command::Approve(approve) => approve.execute(),
        Command::Approver(approver) => approver.execute(),
        Command::Image(image) => image.execute(),
        Command::Policy(policy) => policy.execute(),
        Command::Pricing(pricing) => pricing.execute(),
        Command::Revenue(revenue) => revenue.execute(),
        Command::Witness(witness) => witness.execute(),
        Command::Settle(settle) => settle.execute(),
        Command::Settler(settler) => settler.execute(),
        Command::Openapi(openapi) => openapi.execute(),
        Command::Pause(switch) => switch.execute(true),
        Command::Resume(switch) => switch.execute(false),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
