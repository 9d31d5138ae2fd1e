//! `execgate grant create`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use execgate_flow::administer::{label, role, text, wallet};
use execgate_model::{Role, TenantId};
use serde_json::json;

use super::command::Place;
use super::rules::OwnArgs;
use super::words;
use crate::office::{Signs, with_desk};
use crate::wire;

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Whose it is, in your words
    #[arg(long, value_name = "TEXT", value_parser = text)]
    name: String,
    /// The tenant of its holder [default: `identity.tenant` of the configuration]
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantId>,
    /// What its holder may do, several times: caller, auditor, approver, policy-manager, admin
    #[arg(long = "role", value_name = "ROLE", value_parser = role, default_value = "caller")]
    roles: Vec<Role>,
    /// What rules and people can tell it by, several times
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Its holder does not pay
    #[arg(long)]
    internal: bool,
    /// What its sessions may share; kept, and heeded by nothing yet: every run is alone
    #[arg(long, value_name = "DOMAIN", value_parser = text)]
    isolation: Option<String>,
    /// A wallet that its holder pays from (CAIP-10), several times; kept, and heeded by nothing yet
    #[arg(long = "wallet", value_name = "ACCOUNT", value_parser = wallet)]
    wallets: Vec<String>,
    /// When it ends, such as 90d or 2027-01-31T00:00:00Z [default: never]
    #[arg(long, value_name = "END", value_parser = words::end_text)]
    expires: Option<String>,
    #[command(flatten)]
    own: OwnArgs,
    #[command(flatten)]
    place: Place,
}

impl Create {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        // Without a configuration of its own this command means the tenant of whoever does it.
        let tenant = match (self.tenant, &self.place.common.config) {
            (Some(tenant), _) => Some(tenant),
            (None, Some(_)) => Some(wire::record_settings(&self.place.common)?.tenant),
            (None, None) => None,
        };
        let body = json!({
            "name": self.name,
            "tenant": tenant,
            "roles": self.roles,
            "labels": self.labels.into_iter().collect::<BTreeMap<_, _>>(),
            "internal": self.internal,
            "isolation": self.isolation,
            "wallets": self.wallets,
            "expires": self.expires,
            "policy": self.own.text()?,
        });
        with_desk(&self.place.data, &self.place.common, Signs::Nothing, async |desk| {
            let keyed = desk.post("/grants", &body).await?.json()?;
            words::tell_key(&keyed, self.place.json)?;
            Ok(ExitCode::SUCCESS)
        })
    }
}
