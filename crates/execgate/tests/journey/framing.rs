//! What is no HTTP, and what could be read as two different requests, over a real socket.
//!
//! The HTTP library refuses these by itself: a bare 4xx without a body, in which nothing can leak.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::bad_input::{By, Gate, SURFACES, call, chunked, head, sized, typed};
use super::server::reply;

/// How long the head of a request may take, and a margin for a slow machine.
const HEAD_TIME: Duration = Duration::from_secs(10);
const HEAD_TIME_MAX: Duration = Duration::from_secs(20);

/// Less than the rest of a body is waited for (5 s).
const PROMPT: Duration = Duration::from_secs(4);

#[test]
fn what_is_no_http_is_refused_without_a_word() {
    let gate = Gate::start();
    let long = "a".repeat(1 << 20);
    let many: String = (0..1000).map(|at| format!("X{at}: a\r\n")).collect();
    let cases = [
        ("a handshake of TLS", "\x16\x03\x01 rubbish\r\n\r\n".to_owned(), 400),
        ("HTTP 0.9", "GET /\r\n\r\n".to_owned(), 400),
        ("HTTP 9.9", "GET / HTTP/9.9\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        ("a raw byte in the path", "GET /\u{e9}\u{0} HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        ("a raw NUL in a header", "GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n".to_owned(), 400),
        ("a folded header", "GET / HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n".to_owned(), 400),
        ("a space before the colon", "GET / HTTP/1.1\r\nHost : localhost\r\n\r\n".to_owned(), 400),
        ("a giant header", format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n"), 431),
        ("too many headers", format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"), 431),
        ("a giant path", format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"), 431),
    ];
    for (what, request, status) in cases {
        gate.assert_refused(what, "/", request.as_bytes(), By::Library, status);
    }
    // The preface of HTTP/2 is hung up on.
    assert_eq!(gate.server.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), b"");
    gate.assert_unharmed();
}

#[test]
fn lengths_that_can_be_read_in_two_ways_are_refused() {
    let gate = Gate::start();
    for path in SURFACES {
        let body = call(path, &json!({})).to_string();
        let with = |headers: &str| (typed(path, headers) + &body).into_bytes();
        let length = body.len();
        let cases = [
            ("two lengths", format!("Content-Length: {length}\r\nContent-Length: 5\r\n"), 400),
            ("a list of lengths", format!("Content-Length: {length}, 5\r\n"), 400),
            ("a signed length", format!("Content-Length: +{length}\r\n"), 400),
            ("a negative length", "Content-Length: -1\r\n".to_owned(), 400),
            ("a length beyond numbers", "Content-Length: 99999999999999999999999\r\n".to_owned(), 400),
            ("no coding", "Transfer-Encoding: identity\r\n".to_owned(), 400),
            ("an unknown coding", "Transfer-Encoding: xchunked\r\n".to_owned(), 400),
            ("chunks within a coding", "Transfer-Encoding: chunked, gzip\r\n".to_owned(), 400),
        ];
        for (what, headers, status) in cases {
            gate.assert_refused(what, path, &with(&headers), By::Library, status);
        }
        let old = typed(path, "Transfer-Encoding: chunked\r\n").replacen("HTTP/1.1", "HTTP/1.0", 1);
        gate.assert_refused("chunks of HTTP/1.0", path, old.as_bytes(), By::Library, 400);

        let chunks = [
            ("a size that is no number", format!("zz\r\n{body}\r\n0\r\n\r\n")),
            ("a size beyond numbers", format!("ffffffffffffffffff\r\n{body}\r\n0\r\n\r\n")),
            ("a size that is too small", format!("{:x}\r\n{body}\r\n0\r\n\r\n", length - 1)),
            ("a giant extension", format!("{length:x};x={}\r\n{body}\r\n0\r\n\r\n", "y".repeat(100_000))),
        ];
        for (what, chunks) in chunks {
            gate.assert_refused(what, path, &chunked(path, "", &chunks), By::Surface, 400);
        }
    }
    gate.assert_unharmed();
}

/// RFC 9112, 6.3: chunks stand above a length. Nobody is in between who could read it otherwise: free mode refuses
/// what came through a proxy.
#[test]
fn chunks_stand_above_a_length() {
    let gate = Gate::start();
    let body = call("/api/code-run", &json!({})).to_string();
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let answer = reply(&gate.server.raw(&chunked("/api/code-run", "Content-Length: 5\r\n", &chunks)));
    assert_eq!((answer.status, &answer.json()["result"]), (200, &json!("42")));
    // Trailers are read and mean nothing.
    let chunks = format!("{:x}\r\n{body}\r\n0\r\nHost: evil.example\r\n\r\n", body.len());
    assert_eq!(reply(&gate.server.raw(&chunked("/api/code-run", "", &chunks))).status, 200);
}

#[test]
fn older_and_stranger_but_honest_requests_are_served() {
    let gate = Gate::start();
    let body = call("/api/code-run", &json!({})).to_string();
    let ordinary = String::from_utf8(sized("/api/code-run", body.as_bytes())).unwrap();
    let cases = [
        ("HTTP/1.0", ordinary.replacen("HTTP/1.1", "HTTP/1.0", 1)),
        ("an absolute target", ordinary.replacen("/api", "http://localhost/api", 1)),
        (
            "its host counts",
            ordinary.replacen("/api", "http://localhost/api", 1).replacen("Host: localhost", "Host: x", 1),
        ),
        ("one length twice", ordinary.replacen("Content-Length", "Content-Length: 14\r\nContent-Length", 1)),
        ("bare line feeds", ordinary.replace("\r\n", "\n")),
        ("an expectation", ordinary.replacen("Content-Length", "Expect: 100-continue\r\nContent-Length", 1)),
    ];
    assert_eq!(body.len(), 14);
    for (what, request) in cases {
        let answer = String::from_utf8(gate.server.raw(request.as_bytes())).unwrap();
        assert!(answer.contains(" 200 OK\r\n") && answer.contains(r#""result":"42""#), "{what}: {answer}");
        assert_eq!(answer.starts_with("HTTP/1.1 100 Continue\r\n"), what == "an expectation", "{answer}");
    }
}

/// Whoever is refused anyway is not told to go on.
#[test]
fn an_expectation_that_cannot_be_met_is_refused_before_the_body() {
    let gate = Gate::start();
    for path in SURFACES {
        let asks = head(path, "Expect: 100-continue\r\nContent-Length: 14\r\n");
        gate.assert_refused("an expectation of no type", path, asks.as_bytes(), By::Surface, 415);
        let asked = Instant::now();
        let heard = String::from_utf8(gate.server.raw(asks.as_bytes())).unwrap();
        assert!(!heard.contains("100 Continue"), "{heard}");
        assert!(asked.elapsed() < PROMPT, "nobody waits for a body that will not come");
    }
    gate.assert_unharmed();
}

#[test]
fn rubbish_behind_a_good_request_is_refused_and_the_good_one_is_answered() {
    let gate = Gate::start();
    let good = "GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for rubbish in
        ["\x16\x03\x01 rubbish\r\n\r\n", "{\"code\": \"1\"}\r\n\r\n", "POST /execute HTTP/9.9\r\n\r\n"]
    {
        let answers = String::from_utf8(gate.server.raw(format!("{good}{rubbish}").as_bytes())).unwrap();
        let statuses: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        assert_eq!(statuses, ["200", "400"], "{rubbish:?}: {answers}");
        assert!(answers.ends_with("\r\n\r\n"), "the library says nothing: {answers}");
    }
    gate.assert_unharmed();
}

#[test]
fn a_head_that_does_not_come_is_hung_up_on_and_holds_nobody_up() {
    let gate = Gate::start();
    let started = Instant::now();
    let streams: Vec<_> = ["", "GET /health HTTP/1.1\r\nHost: local", "P"]
        .into_iter()
        .map(|begun| {
            let mut stream = TcpStream::connect(gate.server.address()).unwrap();
            stream.set_read_timeout(Some(HEAD_TIME_MAX)).unwrap();
            stream.write_all(begun.as_bytes()).unwrap();
            stream
        })
        .collect();
    assert_eq!(gate.server.get("/health").status, 200);
    assert!(started.elapsed() < HEAD_TIME, "others wait");
    for mut stream in streams {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"");
    }
    assert!((HEAD_TIME..HEAD_TIME_MAX).contains(&started.elapsed()), "{:?}", started.elapsed());
    gate.assert_unharmed();
}
