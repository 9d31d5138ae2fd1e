//! Names of hosts and addresses, as requests and rules write them. A text that could be read in two ways is none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::rules::BadRule;

/// The longest name and the longest part of one, in bytes (RFC 1035).
pub(super) const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Whom a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// In lower case, without a dot at its end.
    Name(String),
    Address(IpAddr),
}

impl Host {
    /// A name or an address; that of IPv6 stands in brackets.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(inside) = text.strip_prefix('[') {
            let v6: Ipv6Addr = inside.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Address(v6.into()));
        }
        // Four plain decimal numbers; every other way to write a number is no name either.
        match text.parse::<Ipv4Addr>() {
            Ok(v4) => Some(Self::Address(v4.into())),
            Err(_) => plain_name(text).map(Self::Name),
        }
    }

    /// A host and a port, if there is one.
    pub(super) fn parse_with_port(text: &str) -> Option<(Self, Option<u16>)> {
        let end = text.rfind(']').map_or(0, |end| end + 1);
        let Some(colon) = text.get(end..)?.find(':').map(|at| end + at) else {
            return Some((Self::parse(text)?, None));
        };
        let digits = text.get(colon + 1..)?;
        if digits.is_empty() || digits.len() > 5 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let port = digits.parse().ok().filter(|port| *port != 0)?;
        Some((Self::parse(text.get(..colon)?)?, Some(port)))
    }

    /// As it is written in reports and in a `Host` header.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Address(IpAddr::V4(v4)) => v4.to_string(),
            Self::Address(IpAddr::V6(v6)) => format!("[{v6}]"),
        }
    }
}

/// A name of at least two parts, in its one form. Names of other alphabets come as `xn--…`.
pub(super) fn plain_name(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.len() > NAME_BYTES_MAX {
        return None;
    }
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let (_, last) = text.rsplit_once('.')?;
    // Elsewhere, what ends in a number is read as an address.
    let ends_in_letters = last.starts_with(|first: char| first.is_ascii_alphabetic()) && !last.contains('_');
    (ends_in_letters && text.split('.').all(is_label)).then(|| text.to_ascii_lowercase())
}

/// Which names a rule allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    /// This one.
    Exactly(String),
    /// All below this one, and not it itself.
    Below(String),
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, BadRule> {
        let wrong = || BadRule::Domain(text.to_owned());
        match text.strip_prefix("*.") {
            // A whole top-level domain is nobody's own.
            Some(apex) => plain_name(apex).map(Self::Below).ok_or_else(wrong),
            None => plain_name(text).map(Self::Exactly).ok_or_else(wrong),
        }
    }

    /// Whether a name in its plain form is meant.
    pub(super) fn allows(&self, name: &str) -> bool {
        match self {
            Self::Exactly(one) => name == one,
            Self::Below(apex) => {
                name.strip_suffix(apex.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Exactly(name) => name.clone(),
            Self::Below(apex) => format!("*.{apex}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::{Host, Pattern, plain_name};

    #[test]
    fn a_name_has_one_form() {
        assert_eq!(plain_name("Example.ORG.").as_deref(), Some("example.org"));
        assert_eq!(plain_name("xn--bcher-kva.example").as_deref(), Some("xn--bcher-kva.example"));
        let long = format!("{}.org", "a".repeat(64));
        for wrong in [
            "",
            ".",
            "org",
            "localhost",
            "example..org",
            ".example.org",
            "example.org..",
            "-a.org",
            "a-.org",
            "b\u{fc}cher.example",
            "a b.org",
            "a.org\0",
            "a.1",
            "1.2.3",
            "1.2.3.4.5",
            "0x7f.1",
            "127.1",
            "0177.0.0.01",
            "a.0x1",
            "a/b.org",
            "a@b.org",
            "a:b.org",
            "exampl\u{212a}.org",
            "a%2eb.org",
            long.as_str(),
        ] {
            assert_eq!(plain_name(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_number_is_an_address_in_one_form_only() {
        let parse = |text: &str| Host::parse(text).map(|host| host.text());
        assert_eq!(parse("127.0.0.1").as_deref(), Some("127.0.0.1"));
        assert_eq!(parse("[::1]").as_deref(), Some("[::1]"));
        for wrong in [
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "127.1",
            "127.0.0.01",
            "127.0.0.1.",
            "::1",
            "[::1",
            "::1]",
            "[fe80::1%lo]",
            "[127.0.0.1]",
            "1.2.3.4.5",
            "\u{ff11}27.0.0.1",
        ] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
        let port = |text: &str| Host::parse_with_port(text).map(|(host, port)| (host.text(), port));
        assert_eq!(port("a.org:443"), Some(("a.org".to_owned(), Some(443))));
        assert_eq!(port("[::1]:80"), Some(("[::1]".to_owned(), Some(80))));
        assert_eq!(port("a.org"), Some(("a.org".to_owned(), None)));
        for wrong in [
            "a.org:",
            "a.org:0",
            "a.org:65536",
            "a.org:+80",
            "a.org:80:80",
            "::1:80",
            "a.org: 80",
            ":80",
            "a.org:000080",
        ] {
            assert_eq!(port(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_wildcard_is_for_what_is_below_and_nothing_else() {
        let below = Pattern::parse("*.Example.org.").unwrap();
        for (name, allowed) in [
            ("a.example.org", true),
            ("a.b.example.org", true),
            ("example.org", false),
            ("badexample.org", false),
            ("example.org.evil.com", false),
            ("a.example.org.evil.com", false),
            (".example.org", false),
        ] {
            assert_eq!(below.allows(name), allowed, "{name}");
        }
        let one = Pattern::parse("example.org").unwrap();
        assert!(one.allows("example.org") && !one.allows("a.example.org"));
        for wrong in [
            "*",
            "*.",
            "*.org",
            "*.*.org",
            "a.*.org",
            "*a.org",
            "**.a.org",
            "*.1.2",
            "b\u{fc}cher.de",
            "http://a.org",
            "a.org:443",
        ] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_name_that_is_plain_stays_as_it_is(text in "[a-zA-Z0-9._-]{0,40}") {
            if let Some(name) = plain_name(&text) {
                assert_eq!(plain_name(&name), Some(name));
            }
        }
    }
}
