//! Looking a name up: both kinds of addresses are asked of one name server after the other, by UDP. Each question has a
//! socket of its own, so that only who was asked can answer.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, connect, send, socket_with};
use rustix::rand::{GetRandomFlags, getrandom};

use super::super::dns::{self, Kind};
use super::connection::Against;

/// Where name servers listen.
const PORT: u16 = 53;

/// How long one may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// The longest name.
const NAME_BYTES_MAX: usize = 255;

/// How often one is asked.
const TRIES_MAX: usize = 3;

const KINDS: [Kind; 2] = [Kind::V4, Kind::V6];

/// What is next.
pub(super) enum Turn<W, D> {
    Wait(W),
    Done(D),
}

/// A name that is looked up.
pub(super) struct Resolving {
    name: String,
    servers: Vec<IpAddr>,
    tries: usize,
    socket: Option<OwnedFd>,
    ids: [u16; 2],
    found: [Option<Vec<IpAddr>>; 2],
    deadline: Instant,
}

type Found = Result<Vec<IpAddr>, Against>;

impl Resolving {
    pub(super) fn start(name: &str, servers: &[IpAddr]) -> Turn<Self, Found> {
        let resolving = Self {
            name: name.to_owned(),
            servers: servers.to_vec(),
            tries: 0,
            socket: None,
            ids: [0; 2],
            found: [None, None],
            deadline: Instant::now(),
        };
        resolving.ask()
    }

    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(|socket| socket.as_fd())
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The name in letters that only who is asked can know: sixteen bits of an id are few to guess.
    fn disguised(&self) -> rustix::io::Result<String> {
        let mut random = [0; NAME_BYTES_MAX];
        getrandom(&mut random, GetRandomFlags::empty())?;
        let either = |(letter, chance): (char, u8)| {
            if chance & 1 == 1 { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
        };
        Ok(self.name.chars().zip(random).map(either).collect())
    }

    /// Asks the next server that can be asked.
    fn ask(mut self) -> Turn<Self, Found> {
        while self.tries < TRIES_MAX && !self.servers.is_empty() {
            let server = self.servers.get(self.tries % self.servers.len()).copied();
            self.tries += 1;
            self.deadline = Instant::now() + ANSWERED_WITHIN;
            let disguised = self.disguised().ok();
            if let Some((asked, name)) =
                server.zip(disguised).and_then(|(server, name)| Some((asked(server, &name).ok()?, name)))
            {
                (self.socket, self.ids) = (Some(asked.0), asked.1);
                self.name = name;
                return Turn::Wait(self);
            }
        }
        Turn::Done(Err(Against::failure(502, "the name cannot be resolved", None)))
    }

    /// Takes what has come.
    pub(super) fn step(mut self, now: Instant) -> Turn<Self, Found> {
        let mut packet = [0; dns::ANSWER_BYTES_MAX];
        let Some(socket) = &self.socket else { return self.ask() };
        loop {
            match rustix::io::read(socket, &mut packet) {
                Ok(got) => {
                    let packet = packet.get(..got).unwrap_or_default();
                    for ((kind, id), found) in KINDS.into_iter().zip(self.ids).zip(&mut self.found) {
                        if let Some(addresses) = dns::answer(packet, id, &self.name, kind) {
                            found.get_or_insert(addresses);
                        }
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => break,
                // Nobody listens there.
                Err(_) => return self.ask(),
            }
        }
        let is_late = now >= self.deadline;
        let all: Vec<IpAddr> = self.found.iter().flatten().flatten().copied().collect();
        match self.found.iter().all(Option::is_some) {
            true if all.is_empty() => Turn::Done(Err(Against::failure(502, "the name has no address", None))),
            true => Turn::Done(Ok(all)),
            false if is_late && !all.is_empty() => Turn::Done(Ok(all)),
            false if is_late => self.ask(),
            false => Turn::Wait(self),
        }
    }
}

/// Sends both questions.
fn asked(server: IpAddr, name: &str) -> rustix::io::Result<(OwnedFd, [u16; 2])> {
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::DGRAM, flags, None)?;
    connect(&socket, &SocketAddr::new(server, PORT))?;
    let mut random = [0; 4];
    getrandom(&mut random, GetRandomFlags::empty())?;
    let [a, b, c, d] = random;
    let ids = [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])];
    for (kind, id) in KINDS.into_iter().zip(ids) {
        send(&socket, &dns::question(id, name, kind), SendFlags::NOSIGNAL)?;
    }
    Ok((socket, ids))
}
