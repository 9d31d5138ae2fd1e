//! The head of a request to the proxy (RFC 9112), and what goes on of it. It is written anew, so that the server reads
//! what was checked and nothing else.

use std::str;

use httparse::{EMPTY_HEADER, Header, Request, Status};

use super::name::Host;

/// The longest head, in bytes.
pub(super) const HEAD_BYTES_MAX: usize = 16 << 10;

/// The most lines of a head.
const HEADERS_MAX: usize = 64;

/// What is said between the client and the proxy, and goes no further.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "host",
];

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) way: Way,
}

/// How it wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    /// A connection for TLS.
    Tunnel,
    /// One request in plain text, of which this is the head, and so many bytes of body follow.
    Plain { head: Vec<u8>, body_bytes: u64 },
}

/// What there is of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reading {
    More,
    /// What is asked, and how long the head was.
    Whole(Asked, usize),
    Wrong(Wrong),
}

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    Malformed,
    Long,
    /// Neither `CONNECT host:port` nor `http://…`.
    Target,
    /// None, several, or another than the target's.
    Host,
    /// A body whose end is told in two ways, or in chunks.
    Length,
}

impl Wrong {
    /// The status and the text of the answer.
    pub(super) fn answer(self) -> (u16, &'static str) {
        match self {
            Self::Malformed => (400, "the request cannot be read"),
            Self::Long => (431, "the head of the request is too long"),
            Self::Target => (400, "a proxy is asked by CONNECT host:port or by http://host/"),
            Self::Host => (400, "the Host header is not the host that is asked for"),
            Self::Length => (411, "a request body needs one Content-Length and no Transfer-Encoding"),
        }
    }
}

/// Reads as much as there is.
pub(super) fn read(bytes: &[u8]) -> Reading {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(Status::Complete(length)) if length <= HEAD_BYTES_MAX => match asked(&request) {
            Ok(asked) => Reading::Whole(asked, length),
            Err(wrong) => Reading::Wrong(wrong),
        },
        Ok(Status::Partial) if bytes.len() < HEAD_BYTES_MAX => Reading::More,
        Ok(Status::Complete(_) | Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            Reading::Wrong(Wrong::Long)
        }
        Err(_) => Reading::Wrong(Wrong::Malformed),
    }
}

fn asked(request: &Request<'_, '_>) -> Result<Asked, Wrong> {
    let (Some(method), Some(target)) = (request.method, request.path) else { return Err(Wrong::Malformed) };
    let headers = &*request.headers;
    if method == "CONNECT" {
        let (host, port) = Host::parse_with_port(target).ok_or(Wrong::Target)?;
        let port = port.ok_or(Wrong::Target)?;
        // Some clients name none here, and some the proxy. It goes no further.
        if named(headers, "host").count() > 1 {
            return Err(Wrong::Host);
        }
        return Ok(Asked { host, port, way: Way::Tunnel });
    }
    let rest = target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
    let rest = rest.and(target.get(7..)).ok_or(Wrong::Target)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (host, port) = Host::parse_with_port(authority).ok_or(Wrong::Target)?;
    let port = port.unwrap_or(80);
    if path.contains('#') || !path.is_ascii() {
        return Err(Wrong::Target);
    }
    same_host(headers, &host, port, 80)?;
    let body_bytes = body_bytes(headers)?;
    let head = rewritten(method, &host, port, path, headers)?;
    Ok(Asked { host, port, way: Way::Plain { head, body_bytes } })
}

fn named<'a>(headers: &'a [Header<'a>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// Exactly one `Host`, which names what the target names.
fn same_host(headers: &[Header<'_>], host: &Host, port: u16, default: u16) -> Result<(), Wrong> {
    let mut all = named(headers, "host");
    let (Some(one), None) = (all.next(), all.next()) else { return Err(Wrong::Host) };
    let one = str::from_utf8(one).map_err(|_| Wrong::Host)?;
    let (named, named_port) = Host::parse_with_port(one).ok_or(Wrong::Host)?;
    if named == *host && named_port.unwrap_or(default) == port { Ok(()) } else { Err(Wrong::Host) }
}

/// How long the body is; nobody behind us may see another end of it.
fn body_bytes(headers: &[Header<'_>]) -> Result<u64, Wrong> {
    if named(headers, "transfer-encoding").next().is_some() {
        return Err(Wrong::Length);
    }
    let mut lengths = named(headers, "content-length");
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(0),
        (Some(one), None) if (1..=15).contains(&one.len()) && one.iter().all(u8::is_ascii_digit) => {
            str::from_utf8(one).ok().and_then(|digits| digits.parse().ok()).ok_or(Wrong::Length)
        }
        (Some(_), _) => Err(Wrong::Length),
    }
}

/// The head in origin form, for one request on one connection.
fn rewritten(
    method: &str,
    host: &Host,
    port: u16,
    path: &str,
    headers: &[Header<'_>],
) -> Result<Vec<u8>, Wrong> {
    let listed: Vec<&str> = named(headers, "connection")
        .map(|value| str::from_utf8(value).map_err(|_| Wrong::Malformed))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    if listed.iter().any(|name| ["host", "content-length"].iter().any(|kept| name.eq_ignore_ascii_case(kept)))
    {
        return Err(Wrong::Malformed);
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    let port = if port == 80 { String::new() } else { format!(":{port}") };
    let mut head = format!("{method} {slash}{path} HTTP/1.1\r\nHost: {}{port}\r\n", host.text()).into_bytes();
    for header in headers {
        if HOP_BY_HOP.iter().chain(&listed).any(|name| header.name.eq_ignore_ascii_case(name)) {
            continue;
        }
        for piece in [header.name.as_bytes(), b": ", header.value, b"\r\n"] {
            head.extend_from_slice(piece);
        }
    }
    head.extend_from_slice(b"Connection: close\r\n\r\n");
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::{Asked, Host, Reading, Way, Wrong, read};

    fn whole(text: &str) -> Asked {
        match read(text.as_bytes()) {
            Reading::Whole(asked, length) => {
                assert_eq!(length, text.find("\r\n\r\n").unwrap() + 4);
                asked
            }
            other @ (Reading::More | Reading::Wrong(_)) => panic!("{text:?}: {other:?}"),
        }
    }

    fn wrong(text: &str) -> Wrong {
        match read(text.as_bytes()) {
            Reading::Wrong(wrong) => wrong,
            other @ (Reading::More | Reading::Whole(..)) => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn a_tunnel_names_host_and_port() {
        let name = Host::Name("a.org".into());
        let expected = Asked { host: name, port: 443, way: Way::Tunnel };
        for text in [
            "CONNECT A.org:443 HTTP/1.0\r\n\r\n",
            "CONNECT a.org:443 HTTP/1.1\r\nHost: a.org:443\r\nUser-Agent: x\r\n\r\n",
            "CONNECT a.org.:443 HTTP/1.1\r\nHost: 127.0.0.1:3128\r\n\r\nearly",
        ] {
            assert_eq!(whole(text), expected);
        }
        for target in [
            "a.org",
            "http://a.org:443",
            "a.org:443/",
            "x@a.org:443",
            "2130706433:443",
            "0x7f.1:443",
            "127.1:443",
            "::1:443",
            "/",
        ] {
            assert_eq!(wrong(&format!("CONNECT {target} HTTP/1.1\r\n\r\n")), Wrong::Target, "{target}");
        }
        assert_eq!(wrong("CONNECT a.org:443 HTTP/1.1\r\nHost: a.org\r\nHost: a.org\r\n\r\n"), Wrong::Host);
    }

    #[test]
    fn a_plain_request_is_written_anew() {
        let text = "POST http://A.org/x?y=1 HTTP/1.1\r\nhost:  a.org\r\nContent-Length: 3\r\nProxy-Connection: keep-alive\r\n\
                    Connection: x-own, close\r\nX-Own: 1\r\nAccept: */*\r\n\r\nabc";
        let head = "POST /x?y=1 HTTP/1.1\r\nHost: a.org\r\nContent-Length: 3\r\nAccept: */*\r\nConnection: close\r\n\r\n";
        let way = Way::Plain { head: head.into(), body_bytes: 3 };
        assert_eq!(whole(text), Asked { host: Host::Name("a.org".into()), port: 80, way });
        let bare = whole("GET http://a.org:8080 HTTP/1.1\r\nHost: a.org:8080\r\n\r\n");
        let head = b"GET / HTTP/1.1\r\nHost: a.org:8080\r\nConnection: close\r\n\r\n".to_vec();
        assert_eq!(bare.way, Way::Plain { head, body_bytes: 0 });
    }

    #[test]
    fn what_two_could_read_in_two_ways_is_refused() {
        let get = |headers: &str| wrong(&format!("GET http://a.org/ HTTP/1.1\r\n{headers}\r\n"));
        assert_eq!(get(""), Wrong::Host);
        assert_eq!(get("Host: a.org\r\nHost: a.org\r\n"), Wrong::Host);
        assert_eq!(get("Host: b.org\r\n"), Wrong::Host);
        assert_eq!(get("Host: a.org:81\r\n"), Wrong::Host);
        assert_eq!(get("Host: a.org, b.org\r\n"), Wrong::Host);
        for length in [
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: \r\n",
            "Transfer-Encoding: chunked\r\n",
            "Content-Length: 0\r\nTransfer-Encoding: identity\r\n",
        ] {
            assert_eq!(get(&format!("Host: a.org\r\n{length}")), Wrong::Length, "{length}");
        }
        for head in [
            "Host: a.org\r\nConnection: content-length\r\nContent-Length: 1\r\n",
            "Host: a.org\r\nConnection: Host\r\n",
            "Host : a.org\r\n",
            "Host: a.org\r\n folded\r\n",
        ] {
            assert_eq!(get(head), Wrong::Malformed, "{head}");
        }
        for target in [
            "/",
            "*",
            "https://a.org/",
            "ftp://a.org/",
            "http://",
            "http:///",
            "http://x:y@a.org/",
            "http://a.org#b",
            "http://127.1/",
            "http://0x7f000001/",
            "http://a.org:/",
            "http://[::1/",
        ] {
            assert_eq!(
                wrong(&format!("GET {target} HTTP/1.1\r\nHost: a.org\r\n\r\n")),
                Wrong::Target,
                "{target}"
            );
        }
    }

    #[test]
    fn a_head_has_a_bound() {
        let long = format!("GET http://a.org/ HTTP/1.1\r\nHost: a.org\r\nX: {}", "x".repeat(16 << 10));
        assert_eq!(wrong(&long), Wrong::Long);
        let many = format!("GET http://a.org/ HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(65));
        assert_eq!(wrong(&many), Wrong::Long);
        assert_eq!(read(b"GET http://a.org/ HTTP/1.1\r\nHost"), Reading::More);
        assert_eq!(read(b""), Reading::More);
    }
}
