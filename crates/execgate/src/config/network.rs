//! The network of runs of code: from the settings to the rules that the sandbox keeps.

use std::time::Duration;

use anyhow::{Context as _, bail};
use execgate_sandbox::{Egress, EgressMeans, EgressRules, Network};

use super::NetworkSetting;
use super::file::{EgressSection, SandboxSection};

/// Which network runs have, and what egress needs of the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Outward {
    pub(crate) network: Network,
    pub(crate) means: Option<EgressMeans>,
}

impl Outward {
    /// The setting with its rules. Rules without the setting, or the setting without rules, mean something else than
    /// they would do.
    pub(crate) fn resolve(
        setting: Option<NetworkSetting>,
        egress: Option<&EgressSection>,
    ) -> anyhow::Result<Self> {
        let network = match (setting.unwrap_or(NetworkSetting::None), egress) {
            (NetworkSetting::None, None) => Network::None,
            (NetworkSetting::Loopback, None) => Network::Loopback,
            (NetworkSetting::None | NetworkSetting::Loopback, Some(_)) => {
                bail!("there are rules of egress, and the network is not `egress`")
            }
            (NetworkSetting::Egress, None) => {
                bail!("the network is `egress`, and no rule says what may be reached")
            }
            (NetworkSetting::Egress, Some(section)) => {
                Network::Egress(Egress::new(rules(section)).context("a rule of egress cannot be kept")?)
            }
        };
        let means = egress.map(|section| EgressMeans {
            name_servers: section.name_servers.clone(),
            private_cidrs: if section.allow_private.unwrap_or_default() {
                section.cidrs.clone()
            } else {
                Vec::new()
            },
            denied_cidrs: section.denied_cidrs.clone(),
        });
        Ok(Self { network, means })
    }

    pub(super) fn of_file(section: &SandboxSection) -> anyhow::Result<Self> {
        Self::resolve(section.network, section.egress.as_ref()).context("the section [sandbox] is wrong")
    }
}

fn rules(section: &EgressSection) -> EgressRules {
    let usual = EgressRules::default();
    EgressRules {
        domains: section.domains.clone(),
        cidrs: section.cidrs.clone(),
        ports: section.ports.clone().unwrap_or(usual.ports),
        allow_private: section.allow_private.unwrap_or(usual.allow_private),
        bytes_up: section.bytes_up.unwrap_or(usual.bytes_up),
        bytes_down: section.bytes_down.unwrap_or(usual.bytes_down),
        connections: section.connections.unwrap_or(usual.connections),
        connections_total: section.connections_total.unwrap_or(usual.connections_total),
        dial: section.dial_seconds.map_or(usual.dial, Duration::from_secs),
        idle: section.idle_seconds.map_or(usual.idle, Duration::from_secs),
        // Those of others that share the sandbox are not asked.
        name_servers: Some(section.name_servers.clone().into()),
    }
}

#[cfg(test)]
mod tests {
    use execgate_sandbox::Network;

    use super::{EgressSection, NetworkSetting, Outward};

    #[test]
    fn rules_and_setting_come_together() {
        let section = EgressSection { domains: vec!["a.org".into()], ..EgressSection::default() };
        let of = |setting, section: Option<&EgressSection>| Outward::resolve(setting, section);
        assert_eq!(of(None, None).unwrap(), Outward::default());
        assert_eq!(of(Some(NetworkSetting::Loopback), None).unwrap().network, Network::Loopback);
        let egress = of(Some(NetworkSetting::Egress), Some(&section)).unwrap();
        assert!(matches!(egress.network, Network::Egress(_)) && egress.means.is_some());
        assert!(of(None, Some(&section)).is_err());
        assert!(of(Some(NetworkSetting::Loopback), Some(&section)).is_err());
        assert!(of(Some(NetworkSetting::Egress), None).is_err());
        let error = of(Some(NetworkSetting::Egress), Some(&EgressSection::default())).unwrap_err();
        assert!(format!("{error:#}").contains("reaches nothing"), "{error:#}");
    }
}
