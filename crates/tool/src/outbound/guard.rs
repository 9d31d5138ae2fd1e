//! Which addresses may be dialled, and who finds them.

use core::future::ready;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _, UdpSocket};
use std::sync::Arc;

use execgate_model::BoxFuture;
use execgate_sandbox::{Special, special};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::target::{Host, Target};
use crate::compute::Raised;

/// The most addresses of a name that are looked at; a name with more is refused.
const ADDRESSES_MAX: usize = 32;

/// Finds the addresses of a name.
pub(crate) trait Resolve: Send + Sync {
    /// Every address that the name has.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// Names that are looked up at the same time. Each has a thread for as long as its name servers are silent; others need
/// threads too.
const LOOKUPS_MAX: usize = 16;

/// The resolver of the host, with places of its own.
pub(crate) struct HostResolver(Arc<Semaphore>);

impl HostResolver {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(LOOKUPS_MAX)))
    }
}

impl Resolve for HostResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let place = Arc::clone(&self.0).acquire_owned().await.map_err(io::Error::other)?;
            let name = name.to_owned();
            let looked_up = spawn_blocking(move || {
                let found: io::Result<Vec<IpAddr>> =
                    (name.as_str(), 0).to_socket_addrs().map(|all| all.map(|address| address.ip()).collect());
                // Here, and not when the caller goes: the C library cannot be told to stop.
                drop(place);
                found
            });
            looked_up.await.map_err(io::Error::other)?
        })
    }
}

/// Why an address may not be dialled, if so.
pub(crate) type Judge = fn(IpAddr) -> Option<&'static str>;

/// Everything that is not anybody's on the internet is refused, and so is this host itself.
pub(crate) fn judge(address: IpAddr) -> Option<&'static str> {
    special(address).map(|special| special.text()).or_else(|| is_own(address))
}

/// The same for a host that the operator has named and said to be private: private networks and this host may be
/// reached too. What hands out credentials, and whatever else is nobody's, may not.
pub(crate) fn judge_private(address: IpAddr) -> Option<&'static str> {
    match special(address) {
        None | Some(Special::Private) => None,
        Some(Special::Reserved) if address.is_loopback() => None,
        Some(special) => Some(special.text()),
    }
}

/// The same where nothing may leave the private network: a secret that is not sent by TLS.
pub(crate) fn judge_within(address: IpAddr) -> Option<&'static str> {
    match special(address) {
        None => Some("the address is of the internet, where no secret goes in the clear"),
        Some(_) => judge_private(address),
    }
}

/// An address is this host's own where a socket can be bound to it.
fn is_own(address: IpAddr) -> Option<&'static str> {
    match UdpSocket::bind((address, 0)) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => None,
        // A family that the host does not have has no address of its own either; dialling will say so.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) => None,
        Ok(_) | Err(_) => Some("the address is the gateway's own"),
    }
}

/// The addresses of a target, each of them judged. One that may not be dialled refuses them all.
pub(crate) async fn checked(
    target: &Target,
    resolver: &dyn Resolve,
    judge: Judge,
) -> Result<Vec<IpAddr>, Raised> {
    let found = match &target.host {
        Host::Address(address) => ready(Ok(vec![*address])).await,
        Host::Name(name) => resolver.resolve(name).await,
    };
    let addresses = found.unwrap_or_default();
    let usable = (1..=ADDRESSES_MAX).contains(&addresses.len());
    let why = if usable { addresses.iter().find_map(|address| judge(*address)) } else { Some("not found") };
    let Some(why) = why else { return Ok(addresses) };
    match &target.host {
        Host::Address(_) => {
            Err(Raised::new("AddressRefused", format!("`{target}` may not be reached: {why}")))
        }
        // The same whether the name is not there or leads inside: which names there are inside is nobody's business.
        Host::Name(_) => {
            tracing::debug!(%target, why, "a name may not be reached");
            let told = format!("`{target}` may not be reached: the name has no address that may be dialled");
            Err(Raised::new("AddressRefused", told))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::{judge, judge_private};

    #[test]
    fn what_is_not_anybodys_on_the_internet_is_refused() {
        for address in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001:0:1::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "100::1",
        ] {
            assert!(judge(address.parse().unwrap()).is_some(), "{address}");
        }
        for address in ["8.8.8.8", "93.184.216.34", "2606:4700::1111"] {
            assert_eq!(judge(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn what_an_operator_calls_private_is_reached_and_what_hands_out_credentials_never() {
        for address in ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "fd12::1", "8.8.8.8"] {
            assert_eq!(judge_private(address.parse().unwrap()), None, "{address}");
        }
        for address in [
            "169.254.169.254",
            "168.63.129.16",
            "fd00:ec2::254",
            "169.254.1.1",
            "fe80::1",
            "0.0.0.0",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "224.0.0.1",
        ] {
            assert!(judge_private(address.parse().unwrap()).is_some(), "{address}");
        }
    }

    #[test]
    fn the_hosts_own_addresses_are_refused_whatever_they_are() {
        // Which of its addresses a host would speak from needs no packet to be sent.
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        if socket.connect("8.8.8.8:53").is_ok() {
            let own = socket.local_addr().unwrap().ip();
            assert!(super::is_own(own).is_some(), "{own}");
        }
        assert!(super::is_own("127.0.0.1".parse().unwrap()).is_some());
    }
}
