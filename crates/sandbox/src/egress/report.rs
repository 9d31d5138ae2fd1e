//! What a proxy has decided: told record by record into a memory file of the client's, so that what was told counts even
//! when the proxy is killed. Whoever reads treats every byte as hostile: the proxy reads what guests send.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use execgate_forkpoint::wire::write_at;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use serde::{Deserialize, Serialize};

/// How many different decisions are told.
pub(super) const DECISIONS_MAX: usize = 64;

/// How many of them are of connections that were not made: asking for what is refused costs a guest nothing, and must
/// not leave what was reached without room.
const OTHERS_MAX: usize = 16;

/// The room of one, in bytes: a name, a rule and an address of the greatest length fit.
const ROOM: usize = 1024;

/// Numbers from here on are not the same to every reader of a receipt.
const EXACT: u64 = 1 << 53;

/// All of them, and the sums before them.
const LEDGER_BYTES: u64 = (DECISIONS_MAX as u64 + 1) * ROOM as u64;

/// What became of connections to one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// A rule allowed them, names were asked for and addresses dialled; the run ended before more was known.
    Asked,
    /// They were made.
    Allowed,
    /// A rule was against them.
    Refused,
    /// They were allowed, and nobody answered.
    Failed,
}

/// One decision, and how often it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The name or address that was asked for; empty where it was none.
    pub host: String,
    /// The port that was asked for; 0 where none was.
    pub port: u16,
    /// What became of it.
    pub outcome: Outcome,
    /// The rule that allowed it, or what was against it.
    pub why: String,
    /// The address that was dialled, or that was against it.
    pub address: Option<IpAddr>,
    /// How many connections.
    pub connections: u64,
    /// Bytes from the guest.
    pub bytes_up: u64,
    /// Bytes to the guest.
    pub bytes_down: u64,
}

/// What the proxy of a run has decided.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NetworkReport {
    /// Every different decision, in the order of their first.
    pub decisions: Vec<Decision>,
    /// Connections whose decisions found no room.
    pub left_out: u64,
    /// Connections that were made, with and without room.
    pub allowed: u64,
    /// Bytes from the guest, of all connections.
    pub bytes_up: u64,
    /// Bytes to the guest, of all connections.
    pub bytes_down: u64,
    /// Whether all that was told could be read.
    pub is_whole: bool,
}

/// What is told whatever has room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sums {
    left_out: u64,
    allowed: u64,
    bytes_up: u64,
    bytes_down: u64,
}

/// The client's memory file for one report.
pub(crate) struct Ledger(OwnedFd);

impl Ledger {
    /// An empty one, whose size nobody can change.
    pub(crate) fn new() -> io::Result<Self> {
        let file = memfd_create("network", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, LEDGER_BYTES)?;
        fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW)?;
        Ok(Self(file))
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Reads it: all of it only when the helper has said that the run has ended.
    pub(crate) fn read(&self) -> NetworkReport {
        let mut bytes = vec![0; usize::try_from(LEDGER_BYTES).unwrap_or_default()];
        match rustix::io::pread(&self.0, bytes.as_mut_slice(), 0) {
            Ok(got) if got == bytes.len() => parse(&bytes),
            Ok(_) | Err(_) => NetworkReport::default(),
        }
    }
}

/// A look at what the proxy of a run has decided so far, for whoever cannot wait for the end of the run. Clones see the same.
#[derive(Clone, Default)]
pub struct NetworkSight(Arc<OnceLock<Arc<Ledger>>>);

impl NetworkSight {
    /// As far as it was told by now; a record that is being written may be torn, and [`NetworkReport::is_whole`] says so.
    /// None before the run has begun, and of a run without a proxy.
    #[must_use]
    pub fn report(&self) -> Option<NetworkReport> {
        self.0.get().map(|ledger| ledger.read())
    }

    pub(crate) fn show(&self, ledger: &Arc<Ledger>) {
        self.0.get_or_init(|| Arc::clone(ledger));
    }
}

impl fmt::Debug for NetworkSight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkSight").field("has_begun", &self.0.get().is_some()).finish()
    }
}

/// Reads a ledger.
pub(super) fn parse(bytes: &[u8]) -> NetworkReport {
    let (rooms, _) = bytes.as_chunks::<ROOM>();
    let mut is_whole = true;
    let mut sums = Sums::default();
    let mut decisions = Vec::new();
    for (at, room) in rooms.iter().take(DECISIONS_MAX + 1).enumerate() {
        let [a, b, text @ ..] = room.as_slice() else { continue };
        let length = usize::from(u16::from_le_bytes([*a, *b]));
        let text = text.get(..length);
        match (at, length) {
            // The sums are there as soon as the proxy is.
            (0, _) => {
                match text.and_then(|text| serde_json::from_slice::<Sums>(text).ok()).filter(is_exact) {
                    Some(told) => sums = told,
                    None => is_whole = false,
                }
            }
            (_, 0) => {}
            _ => match text.and_then(|text| serde_json::from_slice::<Decision>(text).ok()).filter(is_plain) {
                Some(decision) => decisions.push(decision),
                None => is_whole = false,
            },
        }
    }
    let Sums { left_out, allowed, bytes_up, bytes_down } = sums;
    NetworkReport { decisions, left_out, allowed, bytes_up, bytes_down, is_whole }
}

fn is_exact(sums: &Sums) -> bool {
    let Sums { left_out, allowed, bytes_up, bytes_down } = sums;
    [left_out, allowed, bytes_up, bytes_down].iter().all(|n| **n < EXACT)
}

/// Whether a record says what a proxy would: texts of plain letters, and numbers that every reader reads alike.
fn is_plain(decision: &Decision) -> bool {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    let Decision { connections, bytes_up, bytes_down, .. } = decision;
    plain(&decision.host)
        && plain(&decision.why)
        && [connections, bytes_up, bytes_down].iter().all(|n| **n < EXACT)
}

/// What is to be noted of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) outcome: Outcome,
    pub(super) why: &'a str,
    pub(super) address: Option<IpAddr>,
}

impl Said<'_> {
    /// The first of its like, before it is counted.
    fn first(self) -> Decision {
        let Said { host, port, outcome, why, address } = self;
        let (host, why) = (host.to_owned(), why.to_owned());
        Decision { host, port, outcome, why, address, connections: 0, bytes_up: 0, bytes_down: 0 }
    }
}

/// In which room a connection stands; in none where there was none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(Option<usize>);

/// The proxy's end.
pub(super) struct Book {
    file: OwnedFd,
    decisions: Vec<Decision>,
    sums: Sums,
}

impl Book {
    pub(super) fn new(file: OwnedFd) -> io::Result<Self> {
        let book = Self { file, decisions: Vec::new(), sums: Sums::default() };
        book.write(0, &book.sums)?;
        Ok(book)
    }

    /// Notes one connection.
    pub(super) fn note(&mut self, said: Said<'_>) -> io::Result<Place> {
        let place = match self.alike(said) {
            None if self.may_stand(said.outcome) => self.make_room(said),
            alike => alike,
        };
        match place.and_then(|at| self.decisions.get_mut(at)) {
            Some(one) => one.connections += 1,
            None => self.sums.left_out += 1,
        }
        self.sums.allowed += u64::from(said.outcome == Outcome::Allowed);
        self.write(0, &self.sums)?;
        self.write_one(place).map(|()| Place(place))
    }

    /// Notes what has become of one that was noted. It is never under no word: in its own room where nothing else is
    /// there and nothing like it elsewhere, or under the new word before the old one is taken away.
    pub(super) fn turn(&mut self, before: Place, said: Said<'_>) -> io::Result<Place> {
        let stays = self.alike(said).is_none() && self.may_stand(said.outcome);
        if let Some(one) = before.0.and_then(|at| self.decisions.get_mut(at))
            && one.connections == 1
            && stays
        {
            *one = Decision { connections: 1, ..said.first() };
            self.sums.allowed += u64::from(said.outcome == Outcome::Allowed);
            self.write(0, &self.sums)?;
            return self.write_one(before.0).map(|()| before);
        }
        let place = self.note(said)?;
        match before.0.and_then(|at| self.decisions.get_mut(at)) {
            Some(one) => one.connections -= 1,
            None => self.sums.left_out -= 1,
        }
        self.write(0, &self.sums)?;
        self.write_one(before.0).map(|()| place)
    }

    fn alike(&self, said: Said<'_>) -> Option<usize> {
        let Said { host, port, outcome, why, address } = said;
        self.decisions.iter().position(|one| {
            one.host == host
                && one.port == port
                && one.outcome == outcome
                && one.why == why
                && one.address == address
        })
    }

    /// Whether there may be one more of an outcome.
    fn may_stand(&self, outcome: Outcome) -> bool {
        let has_reached = |outcome| matches!(outcome, Outcome::Asked | Outcome::Allowed);
        let is_other = |one: &&Decision| one.connections > 0 && !has_reached(one.outcome);
        has_reached(outcome) || self.decisions.iter().filter(is_other).count() < OTHERS_MAX
    }

    /// A room of its own, where there is one.
    fn make_room(&mut self, said: Said<'_>) -> Option<usize> {
        let free = self.decisions.iter().position(|one| one.connections == 0);
        if free.is_none() && self.decisions.len() < DECISIONS_MAX {
            self.decisions.push(said.first());
            return Some(self.decisions.len() - 1);
        }
        *self.decisions.get_mut(free?)? = said.first();
        free
    }

    /// Counts bytes.
    pub(super) fn count(&mut self, place: Place, up: u64, down: u64) -> io::Result<()> {
        self.sums.bytes_up += up;
        self.sums.bytes_down += down;
        self.write(0, &self.sums)?;
        if let Some(one) = place.0.and_then(|at| self.decisions.get_mut(at)) {
            one.bytes_up += up;
            one.bytes_down += down;
        }
        self.write_one(place.0)
    }

    /// One that no connection stands in is told as an empty room.
    fn write_one(&self, at: Option<usize>) -> io::Result<()> {
        match at.and_then(|at| Some((at, self.decisions.get(at)?))) {
            Some((at, one)) if one.connections > 0 => self.write(at + 1, one),
            Some((at, _)) => self.write_bytes(at + 1, &[0, 0]),
            None => Ok(()),
        }
    }

    /// Fills one room. Within one page, so that a kill leaves the old text or the new.
    fn write(&self, room: usize, what: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec(what)?;
        let length = u16::try_from(text.len()).map_err(io::Error::other)?;
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(text);
        self.write_bytes(room, &bytes)
    }

    fn write_bytes(&self, room: usize, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > ROOM {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let at = u64::try_from(room * ROOM).map_err(io::Error::other)?;
        write_at(&self.file, bytes, at).map(|_end| ())
    }
}

#[cfg(test)]
mod tests {
    use super::{Book, Decision, Ledger, NetworkReport, Outcome, Said, parse};

    fn said<'a>(host: &'a str, port: u16, outcome: Outcome, why: &'a str) -> Said<'a> {
        Said { host, port, outcome, why, address: None }
    }

    #[test]
    fn what_was_noted_is_read_and_what_is_alike_is_one() {
        let ledger = Ledger::new().unwrap();
        assert!(!ledger.read().is_whole, "no proxy was there");
        let mut book = Book::new(ledger.0.try_clone().unwrap()).unwrap();
        assert_eq!(ledger.read(), NetworkReport { is_whole: true, ..NetworkReport::default() });
        let address = Some("1.2.3.4".parse().unwrap());
        for _ in 0..2 {
            let said = Said { host: "a.org", port: 443, outcome: Outcome::Allowed, why: "*.org", address };
            let place = book.note(said).unwrap();
            book.count(place, 3, 4).unwrap();
        }
        let one = Decision {
            host: "a.org".into(),
            port: 443,
            outcome: Outcome::Allowed,
            why: "*.org".into(),
            address,
            connections: 2,
            bytes_up: 6,
            bytes_down: 8,
        };
        let expected = NetworkReport {
            decisions: vec![one],
            left_out: 0,
            allowed: 2,
            bytes_up: 6,
            bytes_down: 8,
            is_whole: true,
        };
        assert_eq!(ledger.read(), expected);
    }

    #[test]
    fn there_is_an_end_to_what_is_told_and_it_is_counted() {
        let ledger = Ledger::new().unwrap();
        let mut book = Book::new(ledger.0.try_clone().unwrap()).unwrap();
        for port in 0..70 {
            let (host, why) = ("a".repeat(253), "w".repeat(260));
            book.note(said(&host, port, Outcome::Refused, &why)).unwrap();
        }
        let report = ledger.read();
        assert_eq!((report.decisions.len(), report.left_out, report.is_whole), (16, 54, true));
        // What was refused takes nothing from what was reached.
        for port in 0..50 {
            let place = book.note(said("a.org", port, Outcome::Allowed, "a.org")).unwrap();
            book.count(place, 3, 4).unwrap();
        }
        let report = ledger.read();
        assert_eq!((report.decisions.len(), report.left_out, report.is_whole), (64, 56, true));
        assert_eq!((report.allowed, report.bytes_up, report.bytes_down), (50, 150, 200));
    }

    #[test]
    fn what_was_asked_stands_there_until_it_is_known_what_became_of_it() {
        let ledger = Ledger::new().unwrap();
        let mut book = Book::new(ledger.0.try_clone().unwrap()).unwrap();
        let told = || {
            let report = ledger.read();
            assert!(report.is_whole);
            let words = report.decisions.iter().map(|one| (one.port, one.outcome, one.connections));
            (words.collect::<Vec<_>>(), report.left_out, report.allowed)
        };
        let rule = |port, outcome| said("a.org", port, outcome, "*.org");
        let first = book.note(rule(1, Outcome::Asked)).unwrap();
        let second = book.note(rule(1, Outcome::Asked)).unwrap();
        assert_eq!(told(), (vec![(1, Outcome::Asked, 2)], 0, 0));
        book.turn(first, rule(1, Outcome::Allowed)).unwrap();
        assert_eq!(told(), (vec![(1, Outcome::Asked, 1), (1, Outcome::Allowed, 1)], 0, 1));
        let address = Some("1.2.3.4".parse().unwrap());
        let second = book.turn(second, Said { address, ..rule(1, Outcome::Asked) }).unwrap();
        assert_eq!(ledger.read().decisions[0].address, address);
        book.turn(second, Said { address, ..rule(1, Outcome::Failed) }).unwrap();
        assert_eq!(told(), (vec![(1, Outcome::Failed, 1), (1, Outcome::Allowed, 1)], 0, 1));
        // The room that is free is used again, and one that found no room is counted once.
        let places: Vec<_> = (0..70).map(|port| book.note(rule(port, Outcome::Asked)).unwrap()).collect();
        assert_eq!((told().0.len(), told().1), (64, 8), "two rooms were taken");
        for (port, place) in (0..70).zip(places) {
            book.turn(place, rule(port, Outcome::Failed)).unwrap();
        }
        assert_eq!((told().0.len(), told().1, told().2), (17, 55, 1), "16 of what was not reached");
    }

    #[test]
    fn what_no_proxy_would_tell_is_not_believed() {
        let text = |text: &str| {
            let length = u16::try_from(text.len()).unwrap().to_le_bytes();
            let mut room = [&length[..], text.as_bytes()].concat();
            room.resize(1024, 0);
            room
        };
        let one = |host: &str, bytes: &str| {
            format!(
                r#"{{"host":"{host}","port":1,"outcome":"allowed","why":"","address":null,"connections":1,"bytes_up":{bytes},"bytes_down":0}}"#
            )
        };
        let sums = r#"{"left_out":0,"allowed":0,"bytes_up":0,"bytes_down":0}"#;
        let read = |told: &str| parse(&[text(sums), text(told)].concat());
        assert!(!parse(&text(&sums.replace(":0,", ":9007199254740992,"))).is_whole);
        assert!(read(&one("a.org", "1")).is_whole);
        for told in
            [one("a\\u001b[1m", "1"), one("a.org", "9007199254740992"), one("a.org", "1.5"), "{}".to_owned()]
        {
            assert_eq!(read(&told), NetworkReport::default(), "{told}");
        }
    }
}
