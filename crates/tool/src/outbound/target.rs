//! What a URL asks for: only what a fetch may ask for at all.

use core::fmt;
use std::net::IpAddr;

use url::{Host as UrlHost, Url};

/// The longest URL, in bytes.
pub(crate) const URL_BYTES_MAX: usize = 2048;

/// Ports of services that speak something else lie below.
const FIRST_FREE_PORT: u16 = 1024;

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Name(String),
    Address(IpAddr),
}

/// Where a request goes, and what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) is_tls: bool,
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) url: Url,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority())
    }
}

impl Target {
    /// The target of a URL, or the rule that it breaks.
    pub(crate) fn of(text: &str) -> Result<Self, String> {
        if text.len() > URL_BYTES_MAX {
            return Err(format!("may have {URL_BYTES_MAX} bytes"));
        }
        let url = Url::parse(text).map_err(|error| format!("is no absolute URL: {error}"))?;
        let normal = url.to_string();
        let target = Self::of_url(url)?;
        // Rules judge the text; what is fetched must be what they have read.
        if text == normal || normal.strip_suffix('/') == Some(text) {
            Ok(target)
        } else {
            Err(format!("must be written in its normal form: {normal}"))
        }
    }

    /// The target of a redirect.
    pub(crate) fn join(&self, location: &str) -> Result<Self, String> {
        let url = self.url.join(location).map_err(|error| format!("leads to no URL: {error}"))?;
        if url.as_str().len() > URL_BYTES_MAX {
            return Err("leads to a URL that is too long".to_owned());
        }
        Self::of_url(url)
    }

    fn of_url(mut url: Url) -> Result<Self, String> {
        let is_tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err("must be http or https".to_owned()),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must hold no user name and no password; send an Authorization header".to_owned());
        }
        let host = match url.host() {
            Some(UrlHost::Ipv4(address)) => Host::Address(address.into()),
            Some(UrlHost::Ipv6(address)) => Host::Address(address.into()),
            Some(UrlHost::Domain(name)) if !name.is_empty() => Host::Name(name.to_owned()),
            Some(UrlHost::Domain(_)) | None => return Err("must have a host".to_owned()),
        };
        let port = url.port_or_known_default().unwrap_or_default();
        if !matches!(port, 80 | 443) && port < FIRST_FREE_PORT {
            return Err(format!("must have the port 80 or 443, or one from {FIRST_FREE_PORT} on"));
        }
        url.set_fragment(None);
        Ok(Self { is_tls, host, port, url })
    }

    /// Host and port, as the `Host` header has them.
    pub(crate) fn authority(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Path and query, as the request line has them.
    pub(crate) fn path(&self) -> String {
        let query = self.url.query().map(|query| format!("?{query}"));
        format!("{}{}", self.url.path(), query.unwrap_or_default())
    }

    /// Whether another target is of the same origin, so that what is meant for this one may go there.
    pub(crate) fn is_same_origin(&self, other: &Self) -> bool {
        (self.is_tls, &self.host, self.port) == (other.is_tls, &other.host, other.port)
    }
}

#[cfg(test)]
mod tests {
    use proptest::proptest;

    use super::{Host, Target, Url};

    #[test]
    fn every_spelling_of_an_address_is_that_address() {
        for (url, address) in [
            ("http://127.0.0.1/", "127.0.0.1"),
            ("http://2130706433/", "127.0.0.1"),
            ("http://0x7f000001/", "127.0.0.1"),
            ("http://0177.0.0.1/", "127.0.0.1"),
            ("http://0x7f.1/", "127.0.0.1"),
            ("http://127.1/", "127.0.0.1"),
            ("http://127.0.0.1./", "127.0.0.1"),
            ("http://%31%32%37.0.0.1/", "127.0.0.1"),
            ("http://１２７.0.0.1/", "127.0.0.1"),
            ("http://[::1]/", "::1"),
            ("http://[::ffff:7f00:1]/", "::ffff:127.0.0.1"),
            ("http://[0:0:0:0:0:ffff:127.0.0.1]/", "::ffff:127.0.0.1"),
            ("http://2852039166/", "169.254.169.254"),
        ] {
            let target = Target::of_url(Url::parse(url).unwrap()).unwrap();
            assert_eq!(target.host, Host::Address(address.parse().unwrap()), "{url}");
            // It is taken in the one form in which rules can know it.
            assert_eq!(Target::of(url).is_ok(), target.url.as_str() == url, "{url}");
        }
    }

    #[test]
    fn what_may_not_be_fetched_at_all_is_told() {
        for url in [
            "ftp://example.com/",
            "file:///etc/passwd",
            "gopher://example.com/",
            "data:text/plain,hi",
            "javascript:alert(1)",
            "unix:/var/run/docker.sock",
            "//example.com/",
            "example.com",
            "http://",
            "http://user@example.com/",
            "http://user:secret@example.com/",
            "http://example.com:22/",
            "http://example.com:25/",
            "http://example.com:0/",
            "http://[::1%25eth0]/",
            "http://256.1.1.1/",
            "",
        ] {
            assert!(Target::of(url).is_err(), "{url}");
        }
        assert!(Target::of(&format!("http://example.com/{}", "x".repeat(3000))).is_err());
        for url in ["http://user:secret@a.com/", "HTTP://user:secret@a.com"] {
            assert!(!Target::of(url).unwrap_err().contains("secret@"));
        }
        assert!(Target::of("https://example.com").is_ok() && Target::of("https://ev%69l.example/").is_err());
    }

    #[test]
    fn a_redirect_is_judged_like_a_url() {
        let target = Target::of("https://example.com/a/b?c#d").unwrap();
        assert_eq!(target.path(), "/a/b?c");
        assert_eq!(target.join("../x").unwrap().url.as_str(), "https://example.com/x");
        assert!(target.join("file:///etc/passwd").is_err());
        assert!(target.join("//user@example.com").is_err());
        let address = target.join("//0x7f.1/").unwrap().host;
        assert_eq!(address, Host::Address("127.0.0.1".parse().unwrap()));
        assert!(!target.is_same_origin(&target.join("http://example.com/").unwrap()));
        assert!(target.is_same_origin(&target.join("/other").unwrap()));
        assert_eq!(Target::of("http://example.com:8080/").unwrap().authority(), "example.com:8080");
    }

    proptest! {
        #[test]
        fn no_text_is_a_fault(text in ".{0,60}", host in "[0-9a-fx.:%\\[\\]@]{0,20}") {
            drop(Target::of(&text));
            drop(Target::of(&format!("http://{host}/")));
        }
    }
}
