//! A question to a name server and its answer (RFC 1035): the addresses of one name, and no more of DNS than that.
//! Answers come from outside; what they say beside the addresses of the name that was asked for is not looked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    V4,
    V6,
}

impl Kind {
    fn number(self) -> u16 {
        match self {
            Self::V4 => 1,
            Self::V6 => 28,
        }
    }
}

/// The longest answer that is taken; what servers send without asking further (RFC 9715).
pub(super) const ANSWER_BYTES_MAX: usize = 1232;

const ALIAS: u16 = 5;
const OPTIONS: u16 = 41;
const INTERNET: u16 = 1;
const RECURSION_DESIRED: u16 = 0x0100;

/// Aliases of a name that are followed.
const ALIASES_MAX: usize = 8;

/// Jumps within one name; each part has one byte at least.
const JUMPS_MAX: usize = 16;

/// The most addresses that are taken from one answer.
const ADDRESSES_MAX: usize = 16;

/// A question.
pub(super) fn question(id: u16, name: &str, kind: Kind) -> Vec<u8> {
    let mut packet = Vec::new();
    for field in [id, RECURSION_DESIRED, 1, 0, 0, 1] {
        packet.extend(field.to_be_bytes());
    }
    packet.extend(encoded(name));
    for field in [kind.number(), INTERNET] {
        packet.extend(field.to_be_bytes());
    }
    // That longer answers than 512 bytes are taken (RFC 6891).
    packet.push(0);
    packet.extend(OPTIONS.to_be_bytes());
    packet.extend(u16::try_from(ANSWER_BYTES_MAX).unwrap_or(512).to_be_bytes());
    packet.extend([0; 6]);
    packet
}

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = name
        .split('.')
        .flat_map(|label| u8::try_from(label.len()).into_iter().chain(label.bytes()))
        .collect();
    bytes.push(0);
    bytes
}

/// The addresses that an answer gives; `None` where it is no answer to this question.
pub(super) fn answer(packet: &[u8], id: u16, name: &str, kind: Kind) -> Option<Vec<IpAddr>> {
    let mut from = Reader { packet, at: 0 };
    let got_id = from.u16()?;
    let flags = from.u16()?;
    let (questions, answers) = (from.u16()?, from.u16()?);
    from.take(4)?;
    // An answer, to a plain question, of which there was one.
    if got_id != id || flags & 0xF800 != 0x8000 || questions != 1 {
        return None;
    }
    // In the very letters of the question: who has not seen it does not know which are capital.
    if from.name()? != name || from.u16()? != kind.number() || from.u16()? != INTERNET {
        return None;
    }
    let mut aliases = Vec::new();
    let mut addresses = Vec::new();
    // Cut short, or an error: what is there counts, and it may be nothing.
    for _ in 0..answers {
        let Some((owner, found)) = record(&mut from) else { break };
        match found {
            Found::Alias(target) => aliases.push((owner, target)),
            Found::Address(address) if address.is_ipv4() == (kind == Kind::V4) => {
                addresses.push((owner, address))
            }
            Found::Address(_) | Found::Other => {}
        }
    }
    let mut wanted = name.to_owned();
    for _ in 0..ALIASES_MAX {
        let Some((_, target)) = aliases.iter().find(|(owner, _)| owner.eq_ignore_ascii_case(&wanted)) else {
            break;
        };
        wanted.clone_from(target);
    }
    let own = addresses.into_iter().filter(|(owner, _)| owner.eq_ignore_ascii_case(&wanted));
    Some(own.map(|(_, address)| address).take(ADDRESSES_MAX).collect())
}

enum Found {
    Alias(String),
    Address(IpAddr),
    Other,
}

fn record(from: &mut Reader<'_>) -> Option<(String, Found)> {
    let owner = from.name()?;
    let (kind, class) = (from.u16()?, from.u16()?);
    from.take(4)?;
    let length = usize::from(from.u16()?);
    let end = from.at.checked_add(length)?;
    let found = match (class, kind, length) {
        (INTERNET, 1, 4) => Found::Address(Ipv4Addr::from(*from.take(4)?.first_chunk::<4>()?).into()),
        (INTERNET, 28, 16) => Found::Address(Ipv6Addr::from(*from.take(16)?.first_chunk::<16>()?).into()),
        (INTERNET, ALIAS, _) => Found::Alias(from.name()?),
        _ => Found::Other,
    };
    from.at = end;
    (end <= from.packet.len()).then_some((owner, found))
}

struct Reader<'a> {
    packet: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.packet.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().map(|two| u16::from_be_bytes(*two))
    }

    /// A name that may go on elsewhere, and goes backwards there.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut after = None;
        let mut jumps = 0;
        loop {
            let length = self.u8()?;
            match length {
                0 => break,
                1..=63 => {
                    let label = self.take(usize::from(length))?;
                    if !name.is_empty() {
                        name.push('.');
                    }
                    // A dot within a label would make one name of another.
                    if label.contains(&b'.') || !label.is_ascii() || name.len() + label.len() > 253 {
                        return None;
                    }
                    name.push_str(&String::from_utf8_lossy(label));
                }
                0xC0.. => {
                    let target = usize::from(length & 0x3F) << 8 | usize::from(self.u8()?);
                    after.get_or_insert(self.at);
                    jumps += 1;
                    if jumps > JUMPS_MAX {
                        return None;
                    }
                    self.at = target;
                }
                64..=0xBF => return None,
            }
        }
        self.at = after.unwrap_or(self.at);
        Some(name)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::IpAddr;

    use super::{Kind, answer, encoded, question};

    fn record(owner: &[u8], kind: u16, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap();
        [owner, &kind.to_be_bytes(), &[0, 1, 0, 0, 0, 9], &length.to_be_bytes(), content].concat()
    }

    fn answered(name: &str, kind: Kind, records: &[Vec<u8>]) -> Vec<u8> {
        let count = u16::try_from(records.len()).unwrap().to_be_bytes();
        let head = [&[0, 7, 0x81, 0x80, 0, 1][..], &count, &[0; 4]].concat();
        [head, encoded(name), kind.number().to_be_bytes().to_vec(), vec![0, 1], records.concat()].concat()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_question_is_what_servers_know() {
        let expected =
            b"\0\x07\x01\0\0\x01\0\0\0\0\0\x01\x01a\x03org\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0";
        assert_eq!(question(7, "a.org", Kind::V4), expected);
    }

    #[test]
    fn the_addresses_of_the_name_and_of_its_aliases_are_taken_and_no_others() {
        let at_question = [0xC0, 12];
        let packet = answered(
            "a.org",
            Kind::V4,
            &[
                record(&at_question, 5, &encoded("b.org")),
                record(&encoded("B.ORG"), 1, &[1, 2, 3, 4]),
                record(&encoded("b.org"), 1, &[1, 2, 3, 5]),
                record(&encoded("evil.org"), 1, &[6, 6, 6, 6]),
                record(&encoded("b.org"), 16, b"\x03txt"),
            ],
        );
        assert_eq!(answer(&packet, 7, "a.org", Kind::V4), Some(vec![ip("1.2.3.4"), ip("1.2.3.5")]));
        assert_eq!(answer(&packet, 8, "a.org", Kind::V4), None);
        assert_eq!(answer(&packet, 7, "c.org", Kind::V4), None);
        assert_eq!(answer(&packet, 7, "A.org", Kind::V4), None);
        assert_eq!(answer(&packet, 7, "a.org", Kind::V6), None);
        let six = answered("a.org", Kind::V6, &[record(&at_question, 28, &[0; 16])]);
        assert_eq!(answer(&six, 7, "a.org", Kind::V6), Some(vec![ip("::")]));
        for end in 0..packet.len() {
            let cut = answer(&packet[..end], 7, "a.org", Kind::V4).unwrap_or_default();
            assert!(cut.len() <= 2, "{end}");
        }
    }

    #[test]
    fn names_that_lead_in_circles_lead_nowhere() {
        let circle = answered("a.org", Kind::V4, &[record(&[0xC0, 23], 1, &[1, 2, 3, 4])]);
        assert_eq!(answer(&circle, 7, "a.org", Kind::V4), Some(vec![]));
        let own = answered("a.org", Kind::V4, &[record(&[0xC0, 12], 5, &encoded("a.org"))]);
        assert_eq!(answer(&own, 7, "a.org", Kind::V4), Some(vec![]));
    }
}
