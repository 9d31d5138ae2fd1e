//! What a run may reach, as the operator writes it; checked once, and again by the proxy that keeps it.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::address::{Cidr, Special, special};
use super::name::{Host, Pattern};
use crate::config::EgressMeans;

/// The most lines of each kind: each is looked at for each connection.
const DOMAINS_MAX: usize = 256;
const CIDRS_MAX: usize = 64;
const PORTS_MAX: usize = 16;

/// The most connections at once: each costs the proxy three descriptors and 32 KiB.
const CONNECTIONS_MAX: u32 = 256;

/// The most connections of one run: each may ask name servers twice, and a server once.
const CONNECTIONS_TOTAL_MAX: u32 = 1 << 20;

/// The most bytes that can be counted exactly wherever a receipt is read.
const BYTES_MAX: u64 = 1 << 50;

/// The longest that may be waited for anything.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// What a run may reach. Nothing is, beside what is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EgressRules {
    /// Names: `example.org`, or `*.example.org` for all below it and not it itself.
    pub domains: Vec<String>,
    /// Addresses that may be asked for by number: `93.184.216.0/24`, `2606:4700::/32`, or one address.
    pub cidrs: Vec<String>,
    /// The ports that may be dialled.
    pub ports: Vec<u16>,
    /// Whether a private address (RFC 1918, `fc00::/7`) may be dialled that `cidrs` names. No other address is ever,
    /// that is not anybody's on the internet.
    pub allow_private: bool,
    /// How many bytes the run may send.
    pub bytes_up: u64,
    /// How many bytes the run may be sent.
    pub bytes_down: u64,
    /// How many connections it may have at once.
    pub connections: u32,
    /// How many it may ask for in all; what is refused counts too.
    pub connections_total: u32,
    /// How long one address may take to answer.
    pub dial: Duration,
    /// How long a connection may be silent.
    pub idle: Duration,
    /// The name servers that are asked for it, of those of [`EgressMeans::name_servers`]; none of them means those of the
    /// host's `/etc/resolv.conf`. Left out: what the means say for whoever says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_servers: Option<Box<[IpAddr]>>,
}

impl Default for EgressRules {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            cidrs: Vec::new(),
            ports: vec![80, 443],
            allow_private: false,
            bytes_up: 64 << 20,
            bytes_down: 256 << 20,
            connections: 32,
            connections_total: 4096,
            dial: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            name_servers: None,
        }
    }
}

/// Why rules cannot be kept. The text is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadRule {
    /// No name.
    #[error(
        "`{0}` is no domain: write `example.org`, or `*.example.org` for all below it; other alphabets as `xn--…`"
    )]
    Domain(String),
    /// No network.
    #[error(
        "`{0}` is no network: write `93.184.216.0/24`, with no bit set behind its prefix, or one address"
    )]
    Cidr(String),
    /// A name server that the host does not have for runs.
    #[error("`{0}` is none of the name servers that this host has for runs")]
    NameServer(IpAddr),
    /// Port 0.
    #[error("0 is no port")]
    Port,
    /// Nothing could be reached.
    #[error("egress without a domain or a network reaches nothing: name one, or use the profile `loopback`")]
    Nothing,
    /// Too much of something.
    #[error("{what} must be between {min} and {max}")]
    Bound {
        /// Of what.
        what: &'static str,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
}

/// What a host says, whatever the rules are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Ground {
    /// Where they may open private addresses.
    private: Box<[Cidr]>,
    /// What nothing opens.
    denied: Box<[Cidr]>,
}

/// Rules that can be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "EgressRules", into = "EgressRules")]
pub struct Egress {
    rules: EgressRules,
    domains: Vec<Pattern>,
    cidrs: Box<[Cidr]>,
    /// Not theirs to say.
    ground: Box<Ground>,
}

impl TryFrom<EgressRules> for Egress {
    type Error = BadRule;

    fn try_from(rules: EgressRules) -> Result<Self, BadRule> {
        Self::new(rules)
    }
}

impl From<Egress> for EgressRules {
    fn from(egress: Egress) -> Self {
        egress.rules
    }
}

impl Egress {
    /// Checks every line.
    ///
    /// # Errors
    /// [`BadRule`] names the first line that is wrong.
    pub fn new(rules: EgressRules) -> Result<Self, BadRule> {
        let domains: Vec<_> =
            rules.domains.iter().map(|text| Pattern::parse(text)).collect::<Result<_, _>>()?;
        let cidrs = networks(&rules.cidrs)?;
        if rules.ports.contains(&0) {
            return Err(BadRule::Port);
        }
        if domains.is_empty() && cidrs.is_empty() {
            return Err(BadRule::Nothing);
        }
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let millis = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        for (what, value, min, max) in [
            ("the number of domains", count(domains.len()), 0, count(DOMAINS_MAX)),
            ("the number of networks", count(cidrs.len()), 0, count(CIDRS_MAX)),
            ("the number of ports", count(rules.ports.len()), 1, count(PORTS_MAX)),
            ("connections at once", u64::from(rules.connections), 1, u64::from(CONNECTIONS_MAX)),
            ("connections in all", u64::from(rules.connections_total), 1, u64::from(CONNECTIONS_TOTAL_MAX)),
            ("bytes up", rules.bytes_up, 1, BYTES_MAX),
            ("bytes down", rules.bytes_down, 1, BYTES_MAX),
            ("milliseconds to dial", millis(rules.dial), 1, millis(WAIT_MAX)),
            ("milliseconds of silence", millis(rules.idle), 1, millis(WAIT_MAX)),
        ] {
            if value < min || value > max {
                return Err(BadRule::Bound { what, min, max });
            }
        }
        Ok(Self { rules, domains, cidrs, ground: Box::default() })
    }

    /// The same, where the host has its say.
    pub(super) fn within(self, host: &EgressMeans) -> Result<Self, BadRule> {
        let (private, denied) = (networks(&host.private_cidrs)?, networks(&host.denied_cidrs)?);
        Ok(Self { ground: Box::new(Ground { private, denied }), ..self })
    }

    /// The name servers that are asked: `host` has what it names for runs, `own` are its own.
    pub(super) fn name_servers(&self, host: &EgressMeans, own: Vec<IpAddr>) -> Result<Vec<IpAddr>, BadRule> {
        match &self.rules.name_servers {
            None if host.name_servers.is_empty() => Ok(own),
            None => Ok(host.name_servers.clone()),
            Some(named) if named.is_empty() => Ok(own),
            Some(named) => match named.iter().find(|server| !host.name_servers.contains(server)) {
                None => Ok(named.to_vec()),
                Some(other) => Err(BadRule::NameServer(*other)),
            },
        }
    }

    /// The rules as they were written.
    #[must_use]
    pub fn rules(&self) -> &EgressRules {
        &self.rules
    }

    /// Which rule allows a host on a port, before anything is asked of anyone; or why none does.
    pub(super) fn allows(&self, host: &Host, port: u16) -> Result<String, &'static str> {
        let rule = match host {
            Host::Name(name) => self.domains.iter().find(|domain| domain.allows(name)).map(Pattern::text),
            Host::Address(address) => self.named(*address),
        };
        let rule = rule.ok_or("not on the allow-list")?;
        if self.rules.ports.contains(&port) { Ok(rule) } else { Err("the port is not on the allow-list") }
    }

    fn named(&self, address: IpAddr) -> Option<String> {
        self.cidrs
            .iter()
            .zip(&self.rules.cidrs)
            .find(|(cidr, _)| cidr.holds(address))
            .map(|(_, text)| text.clone())
    }

    /// Whether every address of a family may be asked for by number. The text is of that line.
    #[must_use]
    pub fn whole_family(&self) -> Option<&str> {
        let all = |(cidr, _): &(&Cidr, &String)| cidr.is_everything();
        self.cidrs.iter().zip(&self.rules.cidrs).find(all).map(|(_, text)| text.as_str())
    }

    fn opens(&self, address: IpAddr) -> bool {
        let is_private = self.ground.private.iter().any(|cidr| cidr.holds(address));
        is_private && self.rules.allow_private && self.named(address).is_some()
    }

    /// Why an address is not dialled, whatever name led to it; `None` where it may be.
    pub(super) fn forbids(&self, address: IpAddr) -> Option<&'static str> {
        if self.ground.denied.iter().any(|cidr| cidr.holds(address)) {
            return Some("the address is of a network that this host denies");
        }
        match special(address)? {
            Special::Private if self.opens(address) => None,
            why @ (Special::Private | Special::Metadata | Special::Reserved) => Some(why.text()),
        }
    }
}

/// Networks, if each can be read.
pub(crate) fn networks(texts: &[String]) -> Result<Box<[Cidr]>, BadRule> {
    let parse = |text: &String| Cidr::parse(text).ok_or_else(|| BadRule::Cidr(text.clone()));
    texts.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::{BadRule, Egress, EgressMeans, EgressRules, Host};

    fn rules(domains: &[&str], cidrs: &[&str]) -> EgressRules {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        EgressRules { domains: own(domains), cidrs: own(cidrs), ..EgressRules::default() }
    }

    #[test]
    fn a_rule_that_cannot_be_kept_is_named() {
        let why = |rules| Egress::new(rules).unwrap_err();
        assert_eq!(why(rules(&["a.org", "*.org"], &[])), BadRule::Domain("*.org".into()));
        assert_eq!(why(rules(&[], &["10.0.0.1/8"])), BadRule::Cidr("10.0.0.1/8".into()));
        assert_eq!(why(rules(&[], &[])), BadRule::Nothing);
        assert_eq!(why(EgressRules { ports: vec![0], ..rules(&["a.org"], &[]) }), BadRule::Port);
        let none = EgressRules { connections: 0, ..rules(&["a.org"], &[]) };
        assert_eq!(why(none), BadRule::Bound { what: "connections at once", min: 1, max: 256 });
        let many = EgressRules { domains: vec!["a.org".into(); 257], ..EgressRules::default() };
        assert!(matches!(why(many), BadRule::Bound { what: "the number of domains", .. }));
    }

    #[test]
    fn name_servers_of_one_are_not_asked_for_another() {
        let [first, second, own] = ["10.0.0.1", "10.0.0.2", "192.0.2.1"].map(|text| text.parse().unwrap());
        let asked = |host: &[_], named: Option<&[_]>| {
            let rules = EgressRules { name_servers: named.map(Into::into), ..rules(&["a.org"], &[]) };
            let host = EgressMeans { name_servers: host.to_vec(), ..EgressMeans::default() };
            Egress::new(rules).unwrap().name_servers(&host, vec![own])
        };
        assert_eq!(asked(&[], None), Ok(vec![own]));
        assert_eq!(asked(&[first, second], None), Ok(vec![first, second]));
        assert_eq!(asked(&[first, second], Some(&[second])), Ok(vec![second]));
        assert_eq!(asked(&[first], Some(&[])), Ok(vec![own]));
        assert_eq!(asked(&[first], Some(&[second])), Err(BadRule::NameServer(second)));
    }

    #[test]
    fn a_private_address_needs_the_switch_and_its_network() {
        let within = |operators: &[&str], allow_private, cidrs: &[&str], address: &str| {
            let rules = EgressRules { allow_private, ..rules(&["a.org"], cidrs) };
            let private_cidrs = operators.iter().map(|text| (*text).to_owned()).collect();
            let host = EgressMeans { private_cidrs, ..EgressMeans::default() };
            let egress = Egress::new(rules).unwrap().within(&host).unwrap();
            egress.forbids(address.parse().unwrap()).is_some()
        };
        // Rules open no more than the operator has, and nothing where that says nothing.
        assert!(within(&[], true, &["10.0.0.0/8"], "10.1.2.3"));
        assert!(within(&["10.9.0.0/16"], true, &["10.0.0.0/8"], "10.1.2.3"));
        assert!(!within(&["10.1.0.0/16"], true, &["10.0.0.0/8"], "10.1.2.3"));
        let forbids = |allow_private, cidrs: &[&str], address: &str| {
            within(&["0.0.0.0/0", "::/0"], allow_private, cidrs, address)
        };
        assert!(forbids(false, &["10.0.0.0/8"], "10.1.2.3"));
        assert!(forbids(true, &["10.0.0.0/16"], "10.1.2.3"));
        assert!(!forbids(true, &["10.0.0.0/8"], "10.1.2.3"));
        for never in ["127.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254", "::ffff:10.1.2.3", "0.0.0.0"] {
            assert!(forbids(true, &["0.0.0.0/0", "::/0"], never), "{never}");
        }
    }

    #[test]
    fn what_the_host_denies_no_rule_opens() {
        let rules =
            EgressRules { allow_private: true, ..rules(&["*.org"; 0], &["93.184.216.0/24", "10.1.0.0/16"]) };
        let own = |text: &str| vec![text.to_owned()];
        let host = |denied_cidrs| EgressMeans {
            private_cidrs: own("10.0.0.0/8"),
            denied_cidrs,
            ..EgressMeans::default()
        };
        let forbids = |denied, address: &str| {
            let egress = Egress::new(rules.clone()).unwrap().within(&host(denied)).unwrap();
            egress.forbids(address.parse().unwrap()).is_some()
        };
        assert!(!forbids(Vec::new(), "93.184.216.34") && !forbids(Vec::new(), "10.1.2.3"));
        assert!(forbids(own("93.184.216.32/28"), "93.184.216.34") && forbids(own("10.1.2.0/24"), "10.1.2.3"));
        assert!(!forbids(own("93.184.216.32/28"), "93.184.216.3"));
    }

    #[test]
    fn a_network_of_everything_is_known_as_one() {
        let whole =
            |cidrs: &[&str]| Egress::new(rules(&["a.org"], cidrs)).unwrap().whole_family().map(str::to_owned);
        assert_eq!(whole(&["93.184.216.0/24", "0.0.0.0/0"]).as_deref(), Some("0.0.0.0/0"));
        assert_eq!(whole(&["::/0"]).as_deref(), Some("::/0"));
        assert_eq!(whole(&["128.0.0.0/1"]), None);
    }

    #[test]
    fn names_and_numbers_have_rules_of_their_own() {
        let egress = Egress::new(rules(&["*.a.org"], &["93.184.216.0/24"])).unwrap();
        let allows = |host: &str, port| egress.allows(&Host::parse(host).unwrap(), port);
        assert_eq!(allows("x.a.org", 443).as_deref(), Ok("*.a.org"));
        assert_eq!(allows("93.184.216.9", 80).as_deref(), Ok("93.184.216.0/24"));
        assert_eq!(allows("a.org", 443), Err("not on the allow-list"));
        assert_eq!(allows("93.184.217.9", 80), Err("not on the allow-list"));
        assert_eq!(allows("x.a.org", 22), Err("the port is not on the allow-list"));
    }

    #[test]
    fn rules_come_back_checked() {
        let egress = Egress::new(rules(&["a.org"], &["1.1.1.1"])).unwrap();
        let text = serde_json::to_string(&egress).unwrap();
        assert_eq!(serde_json::from_str::<Egress>(&text).unwrap(), egress);
        assert!(serde_json::from_str::<Egress>(&text.replace("a.org", "*.org")).is_err());
    }
}
