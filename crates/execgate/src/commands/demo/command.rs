//! The command: a temporary gateway, the steps, the verdict.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use rustix::process::geteuid;
use tokio::sync::oneshot;

use super::steps::Steps;
use crate::commands::cli::Jail;
use crate::commands::serve::{Gateway, Ready, prepare, stop_signal};
use crate::config::{Environment, Flags, Settings};
use crate::privileges::Account;
use crate::{keys, log, terminal};

/// Everything at work.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Keep the gateway up afterwards, until Ctrl-C
    #[arg(long)]
    stay: bool,
    #[command(flatten)]
    jail: Jail,
}

impl Demo {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let flags = Flags {
            listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            tier: self.jail.tier,
            image: self.jail.image.clone(),
            image_cache: self.jail.image_cache.clone(),
            ..Flags::default()
        };
        let environment = Environment::read().without_gateway();
        let mut settings = Settings::resolve(&flags, &environment, geteuid().is_root())?;
        "warn".clone_into(&mut settings.log_level);
        let folder = tempfile::Builder::new()
            .prefix("execgate-demo-")
            .tempdir()
            .context("failed to make a temporary data directory")?;
        let account = Account::choose(None)?;
        let ready = prepare(&settings, folder.path(), account)?;
        let log = log::start(&settings)?;
        let runtime = crate::wire::runtime()?;
        let held = runtime.block_on(self.show(&settings, folder.path(), ready));
        log.flush();
        Ok(ExitCode::from(u8::from(!held?)))
    }

    async fn show(
        &self,
        settings: &Settings,
        folder: &std::path::Path,
        ready: Ready,
    ) -> anyhow::Result<bool> {
        let Ready { listeners, profiles, actions, loaded, .. } = ready;
        let address = listeners.address;
        let gateway = Gateway::open(settings, folder, profiles, &actions, loaded).await?;
        let key = keys::public_key(&keys::public_path(folder))?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = gateway.serve(listeners, settings.connections, async {
            // The sender says stop, or is gone; both mean the same.
            drop(stopped.await);
        });
        let showing = async {
            terminal::line(format_args!("a gateway of its own on http://{address}"));
            let held = Steps::new(address, key).await?.all().await;
            if self.stay {
                terminal::line(format_args!(
                    "the gateway stays up on http://{address}; its public key is {}; Ctrl-C ends it",
                    keys::public_path(folder).display()
                ));
                stop_signal()?.await;
            }
            drop(stop);
            held
        };
        let (served, held) = tokio::join!(serving, showing);
        gateway.close().await;
        served?;
        held
    }
}
