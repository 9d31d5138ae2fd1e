//! `execgate grant create`.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use execgate_flow::authorise::GrantKey;
use execgate_model::{Clock as _, Entropy as _, GrantId, Role, TenantId};
use execgate_store::{GRANTS_MAX, Grant, Granted};

use super::command::Place;
use super::words::{self, End};
use crate::ports::{SystemClock, SystemEntropy};
use crate::wire;

/// Labels, wallets, of one grant at the most.
const LIST_MAX: usize = 16;

/// Random bytes of an id, in hexadecimal.
const ID_BYTES: usize = 8;

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Whose it is, in your words
    #[arg(long, value_name = "TEXT", value_parser = words::text)]
    name: String,
    /// The tenant of its holder [default: `identity.tenant` of the configuration]
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantId>,
    /// What its holder may do, several times: caller, auditor, approver, policy-manager, admin
    #[arg(long = "role", value_name = "ROLE", value_parser = words::role, default_value = "caller")]
    roles: Vec<Role>,
    /// What rules and people can tell it by, several times
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = words::label)]
    labels: Vec<(String, String)>,
    /// Its holder does not pay
    #[arg(long)]
    internal: bool,
    /// What its sessions may share; kept, and heeded by nothing yet: every run is alone
    #[arg(long, value_name = "DOMAIN", value_parser = words::text)]
    isolation: Option<String>,
    /// A wallet that its holder pays from (CAIP-10), several times; kept, and heeded by nothing yet
    #[arg(long = "wallet", value_name = "ACCOUNT", value_parser = words::wallet)]
    wallets: Vec<String>,
    /// When it ends, such as 90d or 2027-01-31T00:00:00Z [default: never]
    #[arg(long, value_name = "END", value_parser = words::end)]
    expires: Option<End>,
    #[command(flatten)]
    place: Place,
}

impl Create {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let now = SystemClock::new().now();
        let expires = self.expires.map(|end| end.moment(now));
        if expires.is_some_and(|expires| expires <= now) {
            bail!("--expires is not in the future");
        }
        if self.labels.len() > LIST_MAX || self.wallets.len() > LIST_MAX {
            bail!("a grant has at most {LIST_MAX} labels and {LIST_MAX} wallets");
        }
        let tenant = match self.tenant {
            Some(tenant) => tenant,
            None => wire::record_settings(&self.place.common)?.tenant,
        };
        let key = GrantKey::mint(new_id()?, &SystemEntropy);
        let grant = Grant {
            id: key.id().clone(),
            name: self.name,
            tenant,
            labels: self.labels.into_iter().collect(),
            roles: self.roles.into_iter().collect::<BTreeSet<_>>(),
            internal: self.internal,
            isolation: self.isolation,
            wallets: self.wallets,
            expires,
            created: now,
            revoked: None,
            key: key.digest(),
            old_key: None,
            last_used: None,
        };
        wire::with_record(&self.place.data, &self.place.common, async |store| {
            match store.add_grant(grant.clone()).await? {
                Granted::Made => words::tell_key(&grant, &key, now, self.place.json)?,
                Granted::Taken => bail!("the id {} is taken; try again", grant.id),
                Granted::Full => bail!("there are {GRANTS_MAX} grants already; revoke some"),
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

fn new_id() -> anyhow::Result<GrantId> {
    use core::fmt::Write as _;
    let mut bytes = [0; ID_BYTES];
    SystemEntropy.fill(&mut bytes);
    let mut id = String::from("g");
    for byte in bytes {
        write!(id, "{byte:02x}")?;
    }
    Ok(GrantId::new(id)?)
}
