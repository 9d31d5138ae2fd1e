//! The address of a service, checked once. It may hold a token in its path or query: it is shown without both.

use core::fmt;
use std::net::{IpAddr, Ipv4Addr};

use hyper::Uri;

/// Why a text cannot be the address of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is no URL.
    #[error("the address is no URL such as https://service.example/path")]
    Form,
    /// Questions and answers could be read and changed on the way.
    #[error("the address must be https, or http on this machine itself")]
    Plain,
    /// A password would stand in it.
    #[error("the address must not hold a name and password")]
    Password,
}

/// The address of a service of the operator's.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceUrl {
    pub(crate) secure: bool,
    /// The name, without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Name and port as a `Host` header has them.
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) target: String,
}

impl ServiceUrl {
    /// Checks an address: `https://…`, or `http://…` where the host is this machine's loopback.
    ///
    /// # Errors
    /// [`UrlError`] says which rule it breaks; never the address.
    pub fn new(text: &str) -> Result<Self, UrlError> {
        let uri: Uri = text.parse().map_err(|_| UrlError::Form)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(UrlError::Form);
        };
        if authority.as_str().contains('@') {
            return Err(UrlError::Password);
        }
        let secure = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(UrlError::Form),
        };
        let rest = authority.as_str().strip_prefix(authority.host()).ok_or(UrlError::Form)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        // A port that is none reads like no port at all.
        if host.is_empty() || rest.is_empty() != authority.port_u16().is_none() {
            return Err(UrlError::Form);
        }
        if !secure && loopback(&host).is_none() {
            return Err(UrlError::Plain);
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        Ok(Self {
            secure,
            host,
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            target,
        })
    }

    /// Scheme, name and port, where it has neither path nor query: `https://gate.example`.
    #[must_use]
    pub fn origin(&self) -> Option<String> {
        let scheme = if self.secure { "https" } else { "http" };
        (self.target == "/").then(|| format!("{scheme}://{}", self.authority.to_ascii_lowercase()))
    }

    /// The name, without its port and the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Where to dial without asking a name server: an address, or this machine itself.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        loopback(&self.host).or_else(|| self.host.parse().ok())
    }
}

/// The loopback address that a host is, whatever a name server says of `localhost`.
fn loopback(host: &str) -> Option<IpAddr> {
    if host.eq_ignore_ascii_case("localhost") {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    host.parse::<IpAddr>().ok().filter(IpAddr::is_loopback)
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}/…", self.authority)
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::{ServiceUrl, UrlError};

    #[test]
    fn plain_http_stays_on_this_machine() {
        for good in [
            "https://guard.example/ep/validate",
            "https://10.0.0.1:8443",
            "http://127.0.0.1:9/x",
            "http://127.9.9.9",
            "http://[::1]:9/x",
            "http://LOCALHOST:9",
        ] {
            assert!(ServiceUrl::new(good).is_ok(), "{good}");
        }
        for plain in ["http://guard.example", "http://10.0.0.1", "http://localhost.example", "http://0.0.0.0"]
        {
            assert_eq!(ServiceUrl::new(plain), Err(UrlError::Plain), "{plain}");
        }
        for bad in ["", "guard.example", "ftp://127.0.0.1", "/ep/validate", "https://", "https://g:99999/"] {
            assert_eq!(ServiceUrl::new(bad), Err(UrlError::Form), "{bad}");
        }
        assert_eq!(ServiceUrl::new("https://a:b@guard.example"), Err(UrlError::Password));
    }

    #[test]
    fn an_address_is_shown_without_what_could_be_a_token() {
        let url = ServiceUrl::new("https://guard.example:444/secret?token=secret").unwrap();
        assert_eq!((url.to_string(), url.port), ("https://guard.example:444/…".to_owned(), 444));
        assert!(!format!("{url:?}").contains("secret"));
        assert_eq!(url.target, "/secret?token=secret");
        let v6 = ServiceUrl::new("http://[::1]").unwrap();
        assert_eq!((v6.host.as_str(), v6.authority.as_str(), v6.port), ("::1", "[::1]", 80));
    }
}
