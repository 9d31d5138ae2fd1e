//! The proxies of runs with egress: each is asked for before its run's jail, killed with its run, and waited for before
//! the run's slot is used again.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};

use execgate_forkpoint::jail::{At as _, Step, StepError};
use execgate_forkpoint::wire::{Message as _, NetworkProfile, Received, pair, receive, send, text_memfd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};

use super::broker::Broker;
use super::house::House;
use super::live::{Asked, Phase};
use crate::egress::Means;
use crate::limits::Limits;
use crate::wire::{FromBroker, ToBroker};

/// Where hosts name their name servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// As many name servers are asked, as the C library has it.
const SERVERS_MAX: usize = 3;

/// A proxy may use a second of a processor for so many that its run may take: a hundred times what moves the bytes of a
/// run by the usual rules, and half of what a busy one could take.
const WALL_OF_CPU: u64 = 2;

/// And so many for the shortest run.
const CPU_SECONDS_MIN: u64 = 2;

/// The proxy of a run.
pub(super) enum Proxy {
    /// The run has none.
    None,
    /// The broker has been asked for one, and has not said anything.
    Asked,
    /// Its process descriptor.
    Running(OwnedFd),
    /// It never was, or its end was seen.
    Gone,
}

impl Proxy {
    pub(super) fn kill(&self) {
        if let Self::Running(proxy) = self
            && let Err(error) = pidfd_send_signal(proxy, Signal::KILL)
        {
            tracing::debug!(%error, "a proxy had ended before it was killed");
        }
    }

    /// By what its end can be waited for.
    pub(super) fn pidfd(&self) -> Option<&OwnedFd> {
        match self {
            Self::Running(proxy) => Some(proxy),
            Self::None | Self::Asked | Self::Gone => None,
        }
    }

    /// Whether nothing of it lives.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::None | Self::Gone => true,
            Self::Asked => false,
            Self::Running(proxy) => {
                let now = Timespec { tv_sec: 0, tv_nsec: 0 };
                poll(&mut [PollFd::new(proxy, PollFlags::IN)], Some(&now)) == Ok(1)
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.kill();
    }
}

impl House {
    /// Asks for the proxy of a run, if it is to have one, and refuses a network that cannot be bounded; gives the socket by which its init and its proxy meet.
    pub(super) fn ask_for_proxy(
        &self,
        run: u64,
        asked: Option<&Asked>,
    ) -> Result<Option<OwnedFd>, StepError> {
        let has_network = asked.is_some_and(|asked| asked.network != NetworkProfile::None);
        if has_network && !self.cgroups.bounds_sockets() {
            tracing::error!("no run has a network: this kernel does not count the memory of its sockets");
            return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)).at(Step::ArmCgroup);
        }
        let Some((rules, ledger)) = asked.and_then(|asked| asked.egress.as_ref()) else { return Ok(None) };
        let Some(broker) = &self.broker else {
            return Err(io::Error::from_raw_os_error(libc::ECONNREFUSED)).at(Step::StartProxy);
        };
        let (host, own) = (self.means.clone(), of_host());
        let wall = asked.map_or(0, |asked| asked.limits.wall.min(Limits::WALL_MAX).as_secs());
        let cpu_seconds = (wall / WALL_OF_CPU).max(CPU_SECONDS_MIN);
        let means = Means { host, own, cpu_seconds };
        let means = serde_json::to_vec(&means).map_err(io::Error::other).at(Step::StartProxy)?;
        let means = text_memfd("means", &means).at(Step::StartProxy)?;
        let (ours, theirs) = pair().at(Step::StartProxy)?;
        let descriptors = [theirs.as_fd(), rules.as_fd(), means.as_fd(), ledger.as_fd()];
        send(&broker.control, &ToBroker::Start { run }.pack(), &descriptors).at(Step::StartProxy)?;
        Ok(Some(ours))
    }

    pub(super) fn hear_broker(&mut self) {
        let Some(broker) = &self.broker else { return };
        let (message, fds) = match receive(&broker.control) {
            Ok(Received::Packet(bytes, fds)) => (FromBroker::unpack(&bytes), fds),
            Ok(Received::Nothing) => return,
            Ok(Received::End) | Err(_) => return self.lose_broker(),
        };
        let (run, proxy) = match (message, fds.into_iter().next()) {
            (Ok(FromBroker::Started { run }), Some(proxy)) if Broker::is_proxy(&proxy) => {
                (run, Proxy::Running(proxy))
            }
            (Ok(FromBroker::NotStarted { run, errno }), None) => {
                tracing::warn!(errno, "a proxy could not be made");
                (run, Proxy::Gone)
            }
            _ => return self.lose_broker(),
        };
        // That of a run that is over is killed by being dropped.
        let Some(live) = self.runs.get_mut(&run) else { return };
        live.proxy = proxy;
        if matches!(live.phase, Phase::Dying { .. }) {
            live.proxy.kill();
        }
    }

    /// It is dead, and with it every proxy. The helper cannot make another: it has left the network.
    fn lose_broker(&mut self) {
        tracing::error!("what makes proxies is gone; no run has egress any more");
        self.broker = None;
        for live in self.runs.values_mut() {
            if matches!(live.proxy, Proxy::Asked | Proxy::Running(_)) {
                live.proxy = Proxy::Gone;
            }
        }
    }
}

/// The name servers of the host, as they are now.
fn of_host() -> Vec<IpAddr> {
    servers_in(&fs::read_to_string(RESOLV_CONF).unwrap_or_default())
}

fn servers_in(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| *word == "nameserver").and_then(|_| words.next()?.parse().ok())
    };
    text.lines().filter_map(server).take(SERVERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::servers_in;

    #[test]
    fn the_name_servers_of_a_host_are_read() {
        let text = "# nameserver 9.9.9.9\nsearch a.org\nnameserver 127.0.0.53\n nameserver  ::1 # x\nnameserver fe80::1%eth0\n\
                    nameserver 1.1.1.1\nnameserver 8.8.8.8\n";
        let expected: Vec<std::net::IpAddr> =
            ["127.0.0.53", "::1", "1.1.1.1"].map(|one| one.parse().unwrap()).into();
        assert_eq!(servers_in(text), expected);
    }
}
