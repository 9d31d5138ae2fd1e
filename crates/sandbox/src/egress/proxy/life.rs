//! How a process becomes the proxy of one run: it takes the guest's listener, puts the last layers on, and serves until
//! it is killed. It has the network of the host, and no file, no right, no environment and no secret.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use execgate_forkpoint::jail::{Kernel, Real};
use execgate_forkpoint::sys::SockFilter;
use execgate_forkpoint::wire::{FromProxy, Message as _, Received, ToProxy, receive, send, text_of};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Resource, nice};
use serde::{Deserialize, Serialize};

use super::super::report::Book;
use super::super::rules::Egress;
use super::desk::Desk;
use crate::config::EgressMeans;

/// What a proxy is given: the socket to the run's init, the rules, the means, the ledger.
pub(crate) const PROXY_DESCRIPTORS: usize = 4;

/// What it may hold in memory: two buffers for each connection are an eighth of it.
const DATA_BYTES: u64 = 64 << 20;

/// More than a ledger has.
const FILE_BYTES: u64 = 1 << 20;

/// Descriptors beside those of connections.
const DESCRIPTORS: u64 = 16;

/// And of each: the guest's, the server's, a name server's.
const DESCRIPTORS_OF_A_CONNECTION: u64 = 3;

/// How far it stands back behind everybody else on its processor: what a guest makes it do is not of the host's concern.
const NICE: i32 = 10;

/// What the helper says to the proxy of one run; rules are the client's.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Means {
    /// With the name servers that it has for runs.
    pub(crate) host: EgressMeans,
    /// Its own name servers.
    pub(crate) own: Vec<IpAddr>,
    /// How many seconds of a processor's time it may use.
    pub(crate) cpu_seconds: u64,
}

/// The whole life of a proxy. Called in a process that was made for it and has given up its rights.
pub(crate) fn live(descriptors: Vec<OwnedFd>, filter: &[SockFilter]) -> io::Result<()> {
    let given: [OwnedFd; PROXY_DESCRIPTORS] =
        descriptors.try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let [init, rules, means, ledger] = given;
    let egress: Egress = serde_json::from_slice(&text_of(rules)?)?;
    // Rules are the client's, means the helper's, which has had them before the first run.
    let Means { host, own, cpu_seconds } = serde_json::from_slice(&text_of(means)?)?;
    let egress = egress.within(&host).map_err(io::Error::other)?;
    let name_servers = egress.name_servers(&host, own).map_err(io::Error::other)?;
    let book = Book::new(ledger)?;
    let Some(listener) = take_listener(&init)? else { return Ok(()) };
    seal(&Real, &egress, cpu_seconds, filter)?;
    // The guest begins after this.
    send(&init, &FromProxy::Ready.pack(), &[])?;
    drop(init);
    Desk::new(listener, egress, name_servers, book).serve()
}

/// The guest's listener; `None` where the init is gone.
fn take_listener(init: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    loop {
        match poll(&mut [PollFd::new(init, PollFlags::IN)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        match receive(init)? {
            Received::Packet(bytes, mut fds) => {
                let ToProxy::Listen = ToProxy::unpack(&bytes).map_err(io::Error::other)?;
                let one = fds.pop().filter(|_| fds.is_empty());
                return one.map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into());
            }
            Received::Nothing => {}
            Received::End => return Ok(None),
        }
    }
}

fn seal<K: Kernel>(kernel: &K, egress: &Egress, cpu_seconds: u64, filter: &[SockFilter]) -> io::Result<()> {
    nice(NICE)?;
    kernel.limit(Resource::Cpu, cpu_seconds)?;
    let connections = u64::from(egress.rules().connections);
    kernel.limit(Resource::Nofile, connections * DESCRIPTORS_OF_A_CONNECTION + DESCRIPTORS)?;
    kernel.limit(Resource::Data, DATA_BYTES)?;
    kernel.limit(Resource::Fsize, FILE_BYTES)?;
    kernel.seccomp(filter)
}
