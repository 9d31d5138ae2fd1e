//! What holds of what the proxy reads, whatever the bytes. Read on in [`crate::fuzz`].

use super::dns::{self, Kind};
use super::head::{self, Reading, Way};
use super::hello::{self, Hello};
use super::name::Host;
use super::report;

/// A hello that is read says the same whatever follows it, and was waited for until it was whole.
pub fn client_hello(bytes: &[u8]) {
    let said = hello::read(bytes);
    if bytes.len() >= hello::HELLO_BYTES_MAX {
        return;
    }
    if said != Hello::More {
        assert_eq!(hello::read(&[bytes, &[22]].concat()), said);
    }
    if let Hello::Name(name) = &said {
        assert!(!name.is_empty() && name.is_ascii());
        let end = (0..bytes.len()).rev().find(|end| hello::read(&bytes[..*end]) == Hello::More);
        assert!(end.is_some_and(|end| hello::read(&bytes[..=end]) == said));
    }
}

/// A head that is taken names one host, goes on with that host and one length, and what goes on is read alike.
pub fn proxy_head(bytes: &[u8]) {
    let Reading::Whole(asked, length) = head::read(bytes) else { return };
    assert!(length <= bytes.len() && asked.port != 0);
    assert_eq!(Host::parse(&asked.host.text()).as_ref(), Some(&asked.host));
    let Way::Plain { head, body_bytes } = asked.way else { return };
    let mut headers = [httparse::EMPTY_HEADER; 80];
    let mut request = httparse::Request::new(&mut headers);
    assert!(matches!(request.parse(&head), Ok(httparse::Status::Complete(whole)) if whole == head.len()));
    let named = |name: &str| request.headers.iter().filter(|one| one.name.eq_ignore_ascii_case(name)).count();
    assert_eq!((named("host"), named("transfer-encoding"), named("connection")), (1, 0, 1));
    assert!(named("content-length") == 1 || body_bytes == 0);
    assert!(request.path.is_some_and(|path| path.starts_with('/')));
}

/// An answer gives addresses of the kind that was asked for, and a bounded number.
pub fn dns_answer(bytes: &[u8]) {
    for kind in [Kind::V4, Kind::V6] {
        let addresses = dns::answer(bytes, 7, "a.org", kind).unwrap_or_default();
        assert!(addresses.len() <= 16 && addresses.iter().all(|one| one.is_ipv4() == (kind == Kind::V4)));
    }
}

/// A report keeps its bounds, and no text of it can speak to a terminal.
pub fn network_report(bytes: &[u8]) {
    let told = report::parse(bytes);
    assert!(told.decisions.len() <= 64);
    let quiet = |text: &str| !text.chars().any(char::is_control);
    assert!(told.decisions.iter().all(|one| quiet(&one.host) && quiet(&one.why)));
}

#[cfg(test)]
mod tests {
    use super::{client_hello, dns_answer, network_report, proxy_head};
    use crate::fuzz::near;

    #[test]
    fn a_hello_says_the_same_whatever_follows() {
        near::holds("client_hello", client_hello);
    }

    #[test]
    fn a_head_that_is_taken_goes_on_as_one() {
        near::holds("proxy_head", proxy_head);
    }

    #[test]
    fn an_answer_is_of_the_kind_that_was_asked_for() {
        near::holds("dns_answer", dns_answer);
    }

    #[test]
    fn a_report_keeps_its_bounds() {
        near::holds("network_report", network_report);
    }
}
