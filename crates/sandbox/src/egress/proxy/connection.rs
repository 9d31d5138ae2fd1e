//! One connection of a guest: what it asks, whether it may, and where it is on its way. Whatever it sends is hostile.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{SendFlags, Shutdown, send, shutdown};

use super::super::head::{self, Asked, Reading, Way};
use super::super::hello::{self, Hello};
use super::super::name::{Host, plain_name};
use super::super::report::{Outcome, Place, Said};
use super::desk::{self, Shared};
use super::dialling::Dialling;
use super::relay::{Moved, Relay};
use super::resolving::{Resolving, Turn};

/// How long a head, or a hello, may take to come.
const SPOKEN_WITHIN: Duration = Duration::from_secs(10);

/// How long what a refused client still sends is read, so that it reads its answer.
const PARTED_WITHIN: Duration = Duration::from_secs(2);

/// And how much of it.
const PARTING_BYTES: usize = 1 << 20;

/// The alert of TLS that a name is not served: fatal, `unrecognized_name`.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

const USED_UP: &str = "the run has used up its bytes";

const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// A request that a rule allows. It is noted before anybody is asked for it.
pub(super) struct Ticket {
    pub(super) asked: Asked,
    pub(super) rule: String,
    place: Place,
    /// What has come behind the head.
    pub(super) rest: Vec<u8>,
}

/// Where a connection is on its way.
enum Stage {
    /// Its head comes.
    Head(Vec<u8>),
    /// Its name is looked up.
    Resolving(Ticket, Resolving),
    /// An address is dialled.
    Dialling(Ticket, Dialling),
    /// The client is to say by name whom it wants.
    Hello(Ticket, OwnedFd, IpAddr, Vec<u8>),
    Relaying(Ticket, Relay),
    /// It has been refused, and so many bytes of it are still read.
    Parting(usize),
}

/// One connection of a guest.
pub(super) struct Connection {
    guest: OwnedFd,
    stage: Stage,
    deadline: Instant,
}

/// What is against a connection.
pub(super) struct Against {
    pub(super) status: u16,
    pub(super) outcome: Outcome,
    pub(super) why: &'static str,
    pub(super) address: Option<IpAddr>,
}

impl Against {
    fn said<'a>(&self, host: &'a str, port: u16) -> Said<'a> {
        Said { host, port, outcome: self.outcome, why: self.why, address: self.address }
    }

    pub(super) fn rule(why: &'static str) -> Self {
        Self { status: 403, outcome: Outcome::Refused, why, address: None }
    }

    pub(super) fn address(why: &'static str, address: IpAddr) -> Self {
        Self { address: Some(address), ..Self::rule(why) }
    }

    pub(super) fn unheard(address: IpAddr) -> Self {
        Self::failure(400, "the client had gone", Some(address))
    }

    pub(super) fn failure(status: u16, why: &'static str, address: Option<IpAddr>) -> Self {
        Self { status, outcome: Outcome::Failed, why, address }
    }
}

impl Ticket {
    /// Notes what has become of it.
    fn turn(
        &self,
        outcome: Outcome,
        why: &str,
        address: Option<IpAddr>,
        shared: &mut Shared,
    ) -> io::Result<Place> {
        let host = self.asked.host.text();
        let said = Said { host: &host, port: self.asked.port, outcome, why, address };
        shared.book.turn(self.place, said)
    }

    /// Notes what was against it.
    fn close(&self, against: &Against, shared: &mut Shared) -> io::Result<Place> {
        self.turn(against.outcome, against.why, against.address, shared)
    }
}

/// What is next; an `Err` is the book's, and the proxy's end.
type Next = io::Result<Option<Connection>>;

impl Connection {
    pub(super) fn new(guest: OwnedFd) -> Self {
        // Small records must not wait for each other. Where this cannot be, they do.
        let _slower = set_tcp_nodelay(&guest, true);
        Self { guest, stage: Stage::Head(Vec::new()), deadline: Instant::now() + SPOKEN_WITHIN }
    }

    /// When it is late.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What it waits for.
    pub(super) fn wants(&self) -> Vec<(BorrowedFd<'_>, PollFlags)> {
        match &self.stage {
            Stage::Head(_) | Stage::Hello(..) | Stage::Parting(_) => {
                vec![(self.guest.as_fd(), PollFlags::IN)]
            }
            Stage::Resolving(_, resolving) => {
                resolving.socket().map(|fd| (fd, PollFlags::IN)).into_iter().collect()
            }
            Stage::Dialling(_, dialling) => vec![(dialling.socket(), PollFlags::OUT)],
            Stage::Relaying(_, relay) => relay.wants(self.guest.as_fd()),
        }
    }

    /// Goes as far as it can go now.
    pub(super) fn step(self, shared: &mut Shared, now: Instant) -> Next {
        let is_late = now >= self.deadline;
        let Self { guest, stage, deadline } = self;
        match stage {
            Stage::Head(buffer) => Self::hear_head(guest, buffer, deadline, shared, is_late),
            Stage::Resolving(ticket, resolving) => match resolving.step(now) {
                Turn::Wait(resolving) => Ok(Some(Self::resolving(guest, ticket, resolving))),
                Turn::Done(found) => Self::found(guest, ticket, found, shared),
            },
            Stage::Dialling(ticket, dialling) => match dialling.step(now) {
                Turn::Wait(dialling) => Ok(Some(Self::dialling(guest, ticket, dialling))),
                Turn::Done(Ok((server, address))) => Self::connected(guest, ticket, server, address, shared),
                Turn::Done(Err(against)) => Self::refuse(guest, &ticket, &against, shared),
            },
            Stage::Hello(ticket, server, address, buffer) => {
                let told = if is_late { None } else { Some(buffer) };
                Self::hear_hello(guest, ticket, (server, address), told, deadline, shared)
            }
            Stage::Relaying(ticket, relay) => Self::relay(guest, ticket, relay, shared, now, deadline),
            Stage::Parting(left) => Ok(Self::part(guest, left, deadline, is_late)),
        }
    }

    fn hear_head(
        guest: OwnedFd,
        mut buffer: Vec<u8>,
        deadline: Instant,
        shared: &mut Shared,
        is_late: bool,
    ) -> Next {
        let before = buffer.len();
        let heard = hear(&guest, &mut buffer, head::HEAD_BYTES_MAX);
        // What has been read once is not read again until more has come.
        let reading = if buffer.len() > before { head::read(&buffer) } else { Reading::More };
        match reading {
            Reading::More if is_late || heard == Heard::End => Ok(None),
            Reading::More => Ok(Some(Self { guest, stage: Stage::Head(buffer), deadline })),
            Reading::Wrong(wrong) => {
                let (status, why) = wrong.answer();
                let outcome = Outcome::Refused;
                shared.book.note(Said { host: "", port: 0, outcome, why, address: None })?;
                Ok(Self::answer(guest, status, why))
            }
            Reading::Whole(asked, length) => {
                let rest = buffer.split_off(length);
                Self::decide(guest, asked, rest, shared)
            }
        }
    }

    /// The rules, before anything is asked of anyone.
    fn decide(guest: OwnedFd, asked: Asked, rest: Vec<u8>, shared: &mut Shared) -> Next {
        let follows = u64::try_from(rest.len()).unwrap_or(u64::MAX);
        let too_early = match &asked.way {
            Way::Tunnel => follows > 0,
            Way::Plain { body_bytes, .. } => follows > *body_bytes,
        };
        if too_early {
            let against =
                Against { status: 400, ..Against::rule("bytes follow the request before its answer") };
            return Self::turn_away(guest, &asked, &against, shared);
        }
        let Some(left) = shared.connections_left.checked_sub(1) else {
            let against = Against::rule("the run has used up its connections");
            return Self::turn_away(guest, &asked, &against, shared);
        };
        shared.connections_left = left;
        if shared.is_used_up() {
            return Self::turn_away(guest, &asked, &Against::rule(USED_UP), shared);
        }
        let rule = match shared.egress.allows(&asked.host, asked.port) {
            Ok(rule) => rule,
            Err(why) => return Self::turn_away(guest, &asked, &Against::rule(why), shared),
        };
        let (host, port) = (asked.host.text(), asked.port);
        let said = Said { host: &host, port, outcome: Outcome::Asked, why: &rule, address: None };
        let place = shared.book.note(said)?;
        let ticket = Ticket { asked, rule, place, rest };
        match &ticket.asked.host {
            Host::Address(address) => {
                let found = Ok(vec![*address]);
                Self::found(guest, ticket, found, shared)
            }
            Host::Name(name) => match Resolving::start(name, &shared.servers) {
                Turn::Wait(resolving) => Ok(Some(Self::resolving(guest, ticket, resolving))),
                Turn::Done(found) => Self::found(guest, ticket, found, shared),
            },
        }
    }

    fn resolving(guest: OwnedFd, ticket: Ticket, resolving: Resolving) -> Self {
        let deadline = resolving.deadline();
        Self { guest, stage: Stage::Resolving(ticket, resolving), deadline }
    }

    fn dialling(guest: OwnedFd, ticket: Ticket, dialling: Dialling) -> Self {
        let deadline = dialling.deadline();
        Self { guest, stage: Stage::Dialling(ticket, dialling), deadline }
    }

    /// Addresses are known. One that is forbidden is against all of them: whoever mixes those in means no good.
    fn found(
        guest: OwnedFd,
        ticket: Ticket,
        found: Result<Vec<IpAddr>, Against>,
        shared: &mut Shared,
    ) -> Next {
        let started = found.and_then(|addresses| {
            let forbidden = addresses.iter().find_map(|one| Some((shared.egress.forbids(*one)?, *one)));
            match forbidden {
                Some((why, address)) => Err(Against::address(why, address)),
                None => Dialling::start(addresses, ticket.asked.port, shared.egress.rules().dial),
            }
        });
        match started {
            Ok(dialling) => Ok(Some(Self::dialling(guest, ticket, dialling))),
            Err(against) => Self::refuse(guest, &ticket, &against, shared),
        }
    }

    fn connected(
        guest: OwnedFd,
        mut ticket: Ticket,
        server: OwnedFd,
        address: IpAddr,
        shared: &mut Shared,
    ) -> Next {
        ticket.place = ticket.turn(Outcome::Asked, &ticket.rule, Some(address), shared)?;
        match &ticket.asked.way {
            Way::Tunnel => {
                if !tell(&guest, ESTABLISHED) {
                    return ticket.close(&Against::unheard(address), shared).map(|_place| None);
                }
                let stage = Stage::Hello(ticket, server, address, Vec::new());
                Ok(Some(Self { guest, stage, deadline: Instant::now() + SPOKEN_WITHIN }))
            }
            Way::Plain { head, body_bytes } => {
                let first = [head.as_slice(), &ticket.rest].concat();
                let came = u64::try_from(ticket.rest.len()).unwrap_or(u64::MAX);
                let left = Some(body_bytes.saturating_sub(came));
                Self::begin(guest, ticket, (server, address), first, left, shared)
            }
        }
    }

    /// The name in the hello must be the one that was asked for, and allowed.
    fn hear_hello(
        guest: OwnedFd,
        ticket: Ticket,
        server: (OwnedFd, IpAddr),
        buffer: Option<Vec<u8>>,
        deadline: Instant,
        shared: &mut Shared,
    ) -> Next {
        let Some(mut buffer) = buffer else {
            return Self::hang_up(guest, &ticket, server.1, "the client said nothing", shared);
        };
        let before = buffer.len();
        let heard = hear(&guest, &mut buffer, hello::HELLO_BYTES_MAX);
        let hello = if buffer.len() > before { hello::read(&buffer) } else { Hello::More };
        let why = match (hello, &ticket.asked.host) {
            (Hello::More, _) if heard == Heard::End => "the client said nothing",
            (Hello::More, _) => {
                let stage = Stage::Hello(ticket, server.0, server.1, buffer);
                return Ok(Some(Self { guest, stage, deadline }));
            }
            (Hello::Name(name), Host::Name(asked)) if plain_name(&name).as_ref() == Some(asked) => {
                return Self::begin(guest, ticket, server, buffer, None, shared);
            }
            (Hello::Nameless, Host::Address(_)) => {
                return Self::begin(guest, ticket, server, buffer, None, shared);
            }
            (Hello::Name(_), _) => "TLS asks for another name",
            (Hello::Nameless, Host::Name(_)) => "TLS asks for no name",
            (Hello::Hidden, _) => "TLS hides the name",
            (Hello::NotTls, _) => "a tunnel is for TLS, and this is not",
        };
        Self::hang_up(guest, &ticket, server.1, why, shared)
    }

    fn hang_up(
        guest: OwnedFd,
        ticket: &Ticket,
        address: IpAddr,
        why: &'static str,
        shared: &mut Shared,
    ) -> Next {
        ticket.close(&Against::address(why, address), shared)?;
        tell(&guest, &UNRECOGNIZED_NAME);
        Ok(Self::parting(guest))
    }

    /// Bytes go both ways from here on.
    fn begin(
        guest: OwnedFd,
        ticket: Ticket,
        (server, address): (OwnedFd, IpAddr),
        first: Vec<u8>,
        left: Option<u64>,
        shared: &mut Shared,
    ) -> Next {
        let bytes = u64::try_from(first.len()).unwrap_or(u64::MAX);
        if shared.down_left == 0 || bytes > shared.up_left {
            let against = Against::address(USED_UP, address);
            return match ticket.asked.way {
                Way::Tunnel => Self::hang_up(guest, &ticket, address, USED_UP, shared),
                Way::Plain { .. } => Self::refuse(guest, &ticket, &against, shared),
            };
        }
        let place = ticket.turn(Outcome::Allowed, &ticket.rule, Some(address), shared)?;
        shared.spend(desk::Way::Up, bytes, place)?;
        let relay = Relay::new(server, address, place, first, left);
        let deadline = Instant::now() + shared.egress.rules().idle;
        Ok(Some(Self { guest, stage: Stage::Relaying(ticket, relay), deadline }))
    }

    fn relay(
        guest: OwnedFd,
        ticket: Ticket,
        mut relay: Relay,
        shared: &mut Shared,
        now: Instant,
        deadline: Instant,
    ) -> Next {
        let is_late = now >= deadline;
        let before = (shared.up_left, shared.down_left);
        let moved = relay.step(&guest, shared)?;
        let has_moved = before != (shared.up_left, shared.down_left);
        match moved {
            Moved::Open if is_late && !has_moved => Ok(None),
            Moved::Open => {
                let deadline = if has_moved { now + shared.egress.rules().idle } else { deadline };
                Ok(Some(Self { guest, stage: Stage::Relaying(ticket, relay), deadline }))
            }
            Moved::Ended => Ok(None),
            Moved::UsedUp => {
                let against = Against::address(USED_UP, relay.address());
                shared.book.note(against.said(&ticket.asked.host.text(), ticket.asked.port))?;
                Ok(None)
            }
        }
    }

    /// Notes what was against one that nobody was asked for, and tells the client.
    fn turn_away(guest: OwnedFd, asked: &Asked, against: &Against, shared: &mut Shared) -> Next {
        shared.book.note(against.said(&asked.host.text(), asked.port))?;
        Ok(Self::answer(guest, against.status, against.why))
    }

    /// Notes what was against one that a rule allows, and tells the client.
    fn refuse(guest: OwnedFd, ticket: &Ticket, against: &Against, shared: &mut Shared) -> Next {
        ticket.close(against, shared)?;
        Ok(Self::answer(guest, against.status, against.why))
    }

    fn answer(guest: OwnedFd, status: u16, why: &str) -> Option<Self> {
        let body = format!("execgate: {why}\n");
        let answer = format!(
            "HTTP/1.1 {status} {why}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        tell(&guest, answer.as_bytes()).then(|| Self::parting(guest)).flatten()
    }

    /// A socket that is closed with bytes unread takes back what was answered; so they are read.
    fn parting(guest: OwnedFd) -> Option<Self> {
        shutdown(&guest, Shutdown::Write).ok()?;
        let deadline = Instant::now() + PARTED_WITHIN;
        Some(Self { guest, stage: Stage::Parting(PARTING_BYTES), deadline })
    }

    fn part(guest: OwnedFd, left: usize, deadline: Instant, is_late: bool) -> Option<Self> {
        let mut waste = Vec::new();
        let heard = hear(&guest, &mut waste, left);
        let left = left.saturating_sub(waste.len());
        let goes_on = heard == Heard::Some && left > 0 && !is_late;
        goes_on.then_some(Self { guest, stage: Stage::Parting(left), deadline })
    }
}

/// Whether more may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Some,
    End,
}

/// Reads what there is, up to a bound on all of it.
fn hear(guest: &OwnedFd, buffer: &mut Vec<u8>, max: usize) -> Heard {
    const PIECE: usize = 4 << 10;
    let mut piece = [0; PIECE];
    while buffer.len() < max {
        let room = piece.len().min(max - buffer.len());
        match rustix::io::read(guest, piece.get_mut(..room).unwrap_or_default()) {
            Ok(0) => return Heard::End,
            Ok(got) => buffer.extend_from_slice(piece.get(..got).unwrap_or_default()),
            Err(rustix::io::Errno::AGAIN) => return Heard::Some,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return Heard::End,
        }
    }
    Heard::Some
}

/// Sends a few bytes to a client that has been sent none before, and whose socket has room for them therefore.
fn tell(guest: &OwnedFd, bytes: &[u8]) -> bool {
    send(guest, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) == Ok(bytes.len())
}
