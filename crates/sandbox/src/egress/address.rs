//! Which addresses are anybody's on the internet, by the special-purpose registries of IANA (IPv4: RFC 6890 and its
//! successors; IPv6 the same). What is not known to be global is not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is not dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// Of private networks: the only kind that an operator can open.
    Private,
    /// The services of clouds that hand out credentials, and what is like them.
    Metadata,
    /// Any other that is not anybody's on the internet.
    Reserved,
}

impl Special {
    /// The reason, in words for the caller.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Private => "the address is private",
            Self::Metadata => "the address is of a metadata service",
            Self::Reserved => "the address is not globally routable",
        }
    }
}

/// Networks of IPv4 that are not global: the first address, the length of the prefix.
const RESERVED_V4: [([u8; 4], u32); 16] = [
    // "This network", shared by providers, loopback, link-local.
    ([0, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    // Protocol assignments, documentation, AS112, AMT, the relays of 6to4.
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 31, 196, 0], 24),
    ([192, 52, 193, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 175, 48, 0], 24),
    // Benchmarks, documentation.
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    // Multicast, reserved, broadcast.
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
    ([255, 255, 255, 255], 32),
];

const PRIVATE_V4: [([u8; 4], u32); 3] = [([10, 0, 0, 0], 8), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16)];

/// Azure's and Alibaba's and Oracle's; those of the others are link-local.
const METADATA_V4: [[u8; 4]; 4] =
    [[168, 63, 129, 16], [169, 254, 169, 254], [100, 100, 100, 200], [192, 0, 0, 192]];

/// Networks inside of `2000::/3` that are not global: protocol assignments (with Teredo, benchmarks, ORCHID),
/// documentation, 6to4, AS112, documentation.
const RESERVED_V6: [(Ipv6Addr, u32); 5] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x2620, 0x4F, 0x8000, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x3FFF, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// All that is global. Mapped, translated (NAT64) and tunnelled addresses lie outside.
const GLOBAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
const PRIVATE_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0xFC00, 0, 0, 0, 0, 0, 0, 0), 7);
/// What clouds serve credentials by: Amazon's, Google's, Oracle's, Scaleway's, Akamai's, Alibaba's. They lie in the
/// private range, so that a network that is opened could hold them.
const METADATA_V6: [(Ipv6Addr, u32); 6] = [
    (Ipv6Addr::new(0xFD00, 0xEC2, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0xFD20, 0xCE, 0, 0, 0, 0, 0, 0x254), 128),
    (Ipv6Addr::new(0xFD00, 0xC1, 0, 0, 0, 0, 0xA9FE, 0xA9FE), 128),
    (Ipv6Addr::new(0xFD00, 0x42, 0, 0, 0, 0, 0, 0x42), 128),
    (Ipv6Addr::new(0xFD00, 0xA9FE, 0xA9FE, 0, 0, 0, 0, 1), 128),
    (Ipv6Addr::new(0xFD00, 0x100, 0, 0, 0, 0, 0x100, 0x200), 128),
];

/// Why an address is not anybody's on the internet; `None` for one that is.
#[must_use]
pub fn special(address: IpAddr) -> Option<Special> {
    match address {
        IpAddr::V4(v4) => {
            let bits = v4.to_bits();
            let is_in =
                |(net, length): &([u8; 4], u32)| share_v4(bits, Ipv4Addr::from(*net).to_bits(), *length);
            if METADATA_V4.contains(&v4.octets()) {
                Some(Special::Metadata)
            } else if PRIVATE_V4.iter().any(is_in) {
                Some(Special::Private)
            } else {
                RESERVED_V4.iter().any(is_in).then_some(Special::Reserved)
            }
        }
        IpAddr::V6(v6) => {
            let is_in = |(net, length): &(Ipv6Addr, u32)| share_v6(v6.to_bits(), net.to_bits(), *length);
            if METADATA_V6.iter().any(is_in) {
                Some(Special::Metadata)
            } else if is_in(&PRIVATE_V6) {
                Some(Special::Private)
            } else {
                (!is_in(&GLOBAL_V6) || RESERVED_V6.iter().any(is_in)).then_some(Special::Reserved)
            }
        }
    }
}

fn share_v4(a: u32, b: u32, length: u32) -> bool {
    (a ^ b).checked_shr(32 - length.min(32)).unwrap_or(0) == 0
}

fn share_v6(a: u128, b: u128, length: u32) -> bool {
    (a ^ b).checked_shr(128 - length.min(128)).unwrap_or(0) == 0
}

/// A network of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cidr {
    net: IpAddr,
    length: u32,
}

impl Cidr {
    /// `address/length`, or one address. No bit may be set behind the prefix.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (net, length) = text.split_once('/').map_or((text, None), |(net, length)| (net, Some(length)));
        let net: IpAddr = net.parse().ok()?;
        let longest = if net.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => longest,
            Some(digits) if (1..=3).contains(&digits.len()) && digits.bytes().all(|d| d.is_ascii_digit()) => {
                digits.parse().ok().filter(|length| *length <= longest)?
            }
            Some(_) => return None,
        };
        let rest = match net {
            IpAddr::V4(v4) => u128::from(v4.to_bits()) & !(u128::MAX << (32 - length)),
            IpAddr::V6(v6) => v6.to_bits() & !u128::MAX.checked_shl(128 - length).unwrap_or(0),
        };
        (rest == 0).then_some(Self { net, length })
    }

    /// Whether it holds every address of its family.
    pub(super) fn is_everything(&self) -> bool {
        self.length == 0
    }

    pub(super) fn holds(&self, address: IpAddr) -> bool {
        match (self.net, address) {
            (IpAddr::V4(net), IpAddr::V4(one)) => share_v4(net.to_bits(), one.to_bits(), self.length),
            (IpAddr::V6(net), IpAddr::V6(one)) => share_v6(net.to_bits(), one.to_bits(), self.length),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::{any, proptest};

    use super::{Cidr, Special, special};

    fn of(text: &str) -> Option<Special> {
        special(text.parse().unwrap())
    }

    #[test]
    fn what_is_nobodys_on_the_internet_is_refused() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.0.1",
            "192.0.0.9",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:1.1.1.1",
            "::ffff:127.0.0.1",
            "::1.1.1.1",
            "64:ff9b::101:101",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:1ff:ffff::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ] {
            assert_eq!(of(text), Some(Special::Reserved), "{text}");
        }
        for text in ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1"] {
            assert_eq!(of(text), Some(Special::Private), "{text}");
        }
        for text in [
            "169.254.169.254",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            "fd00:42::42",
            "fd00:a9fe:a9fe::1",
            "fd00:100::100:200",
        ] {
            assert_eq!(of(text), Some(Special::Metadata), "{text}");
        }
    }

    #[test]
    fn what_is_anybodys_is_not() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "93.184.216.34",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:200::1",
            "2a00::1",
            "2003::1",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn a_network_is_written_in_one_way() {
        let holds = |net: &str, one: &str| Cidr::parse(net).map(|net| net.holds(one.parse().unwrap()));
        assert_eq!(holds("93.184.216.0/24", "93.184.216.255"), Some(true));
        assert_eq!(holds("93.184.216.0/24", "93.184.217.0"), Some(false));
        assert_eq!(holds("93.184.216.34", "93.184.216.34"), Some(true));
        assert_eq!(holds("0.0.0.0/0", "255.1.2.3"), Some(true));
        assert_eq!(holds("0.0.0.0/0", "::1"), Some(false));
        assert_eq!(holds("::/0", "1:2::3"), Some(true));
        assert_eq!(holds("2606:4700::/32", "2606:4700:1::"), Some(true));
        for wrong in [
            "93.184.216.1/24",
            "1.2.3/8",
            "1.2.3.4/33",
            "1.2.3.4/",
            "1.2.3.4/+8",
            "01.2.3.4",
            "::/129",
            "1::1/64",
            "x",
        ] {
            assert_eq!(Cidr::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_the_library_knows_to_be_special_is_special(v4: u32, v6 in any::<u128>()) {
            let (v4, v6) = (std::net::Ipv4Addr::from_bits(v4), std::net::Ipv6Addr::from_bits(v6));
            let known = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
                || v4.is_broadcast() || v4.is_documentation() || v4.is_unspecified();
            assert!(!known || special(IpAddr::V4(v4)).is_some(), "{v4}");
            let known = v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || v6.is_unique_local()
                || v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some();
            assert!(!known || special(IpAddr::V6(v6)).is_some(), "{v6}");
        }
    }
}
