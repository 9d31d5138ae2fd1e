//! Bad input over a real socket: a clear 4xx of the surface's own shape, nothing told of what is inside, and whoever
//! comes next is served.
//!
//! Requests that are no HTTP are in `framing`.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::server::{Data, Server, reply, run};

/// One surface that tells problems (RFC 9457), one that tells `{"error"}`.
pub(super) const SURFACES: [&str; 2] = ["/execute", "/api/code-run"];

/// What the inside of the gateway is called, and must not be called to strangers.
const INNER_WORDS: [&str; 16] = [
    "panic",
    ".rs",
    "src/",
    "crates",
    "backtrace",
    "/home/",
    "/root",
    "/proc",
    "/dev/",
    "0.1.0",
    "serde",
    "tokio",
    "axum",
    "hyper",
    "sqlite",
    "execgate-journey",
];

/// Who refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The surface, in its own shape.
    Surface,
    /// The HTTP library, without a word.
    Library,
}

pub(super) fn head(path: &str, headers: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")
}

pub(super) fn typed(path: &str, headers: &str) -> String {
    head(path, &format!("Content-Type: application/json\r\n{headers}"))
}

/// A whole request with a body of known length.
pub(super) fn sized(path: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = typed(path, &format!("Content-Length: {}\r\n", body.len())).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub(super) fn chunked(path: &str, headers: &str, chunks: &str) -> Vec<u8> {
    (typed(path, &format!("{headers}Transfer-Encoding: chunked\r\n")) + chunks).into_bytes()
}

/// A good call of a surface, with some fields of the code's.
pub(super) fn call(path: &str, fields: &Value) -> Value {
    let mut code = json!({"code": "6*7"});
    for (name, value) in fields.as_object().unwrap() {
        code[name] = value.clone();
    }
    if path == "/execute" { json!({"action": "python", "payload": code, "nonce": "n"}) } else { code }
}

/// A gateway and its log.
pub(super) struct Gate {
    data: Data,
    pub(super) server: Server,
}

impl Gate {
    pub(super) fn start() -> Self {
        let data = Data::new();
        let log = data.path().with_file_name("log");
        // The server drops root before it opens its log.
        fs::write(&log, "").unwrap();
        fs::set_permissions(&log, Permissions::from_mode(0o666)).unwrap();
        let server = Server::start_with(&data.path(), &[], &[("LOG_FILE", log.to_str().unwrap())]);
        Self { data, server }
    }

    /// Sends bytes, and holds the answer against who refuses them with which status.
    #[track_caller]
    pub(super) fn assert_refused(&self, what: &str, path: &str, bytes: &[u8], by: By, status: u16) {
        let what = format!("{what} on {path}");
        let reply = reply(&self.server.raw(bytes));
        let text = String::from_utf8(reply.body.clone()).unwrap().to_lowercase();
        assert_eq!(reply.status, status, "{what}: {text}");
        // Where the guest is at home is known to everybody.
        let told = format!("{}{text}", reply.head).replace("/home/user", "");
        for word in INNER_WORDS {
            assert!(!told.contains(word), "{what} tells `{word}`: {told}");
        }
        assert!(!reply.head.contains("\r\nserver:"), "{what}: {}", reply.head);
        if by == By::Library {
            assert_eq!(text, "", "{what}");
        } else if path.starts_with("/api/") && !matches!(status, 403 | 421) {
            let body = reply.json();
            assert_eq!(body.as_object().unwrap().len(), 1, "{what}: {body}");
            assert!(body["error"].as_str().is_some_and(|error| !error.is_empty()), "{what}: {body}");
            assert!(reply.head.contains("content-type: application/json"), "{what}: {}", reply.head);
        } else {
            let body = reply.json();
            assert_eq!(
                (&body["status"], body["detail"].is_string()),
                (&json!(status), true),
                "{what}: {body}"
            );
            assert!(reply.head.contains("content-type: application/problem+json"), "{what}: {}", reply.head);
        }
        assert_eq!(self.server.get("/health").status, 200, "after {what}");
    }

    /// Nothing has run, nothing has failed inside, and a good call is served.
    #[track_caller]
    pub(super) fn assert_unharmed(&self) {
        let listed = run(&["runs", "list", "--json", "--data-dir", self.data.path().to_str().unwrap()], "");
        assert_eq!(serde_json::from_slice::<Value>(&listed.stdout).unwrap(), json!([]));
        let log = fs::read_to_string(self.data.path().with_file_name("log")).unwrap();
        assert!(!log.contains("ERROR") && !log.contains("panic"), "{log}");
        for path in SURFACES {
            assert_eq!(self.server.post(path, &call(path, &json!({}))).status, 200);
        }
    }
}

#[test]
fn bodies_that_are_no_calls_are_refused_by_the_surface() {
    let gate = Gate::start();
    let nested = |open: &str, close: &str| {
        format!("{{\"code\": {}1{}}}", open.repeat(10_000), close.repeat(10_000)).into_bytes()
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("malformed", b"{\"code\": \"1\"".to_vec()),
        ("a list", b"[]".to_vec()),
        ("null", b"null".to_vec()),
        ("a byte order mark", b"\xef\xbb\xbf{\"code\": \"1\"}".to_vec()),
        ("no UTF-8", b"{\"code\": \"\xff\"}".to_vec()),
        ("a raw NUL", b"{\"code\": \"\0\"}".to_vec()),
        ("NULs only", vec![0; 100]),
        ("half a surrogate pair", br#"{"code": "\ud800"}"#.to_vec()),
        ("a field twice", br#"{"code": "1", "code": "2"}"#.to_vec()),
        ("beyond doubles", br#"{"code": "1", "timeout": 1e999}"#.to_vec()),
        ("2^63", br#"{"code": "1", "timeout": 9223372036854775808}"#.to_vec()),
        ("10,000 lists", nested("[", "]")),
        ("10,000 objects", nested("{\"a\":", "}")),
        ("no field at all", b"{}".to_vec()),
    ];
    for path in SURFACES {
        for (what, body) in &cases {
            gate.assert_refused(what, path, &sized(path, body), By::Surface, 400);
        }
    }
    gate.assert_unharmed();
}

/// Files that cannot be placed.
fn wrong_files() -> Vec<Value> {
    let file = |file: Value| json!([file]);
    vec![
        json!(true),
        json!("x"),
        json!({}),
        file(json!(null)),
        file(json!({"path": "x"})),
        file(json!({"content": "x"})),
        file(json!({"path": 5, "content": "x"})),
        file(json!({"path": "../x", "content": "x"})),
        file(json!({"path": "/etc/passwd", "content": "x"})),
        file(json!({"path": "a\u{0}b", "content": "x"})),
        file(json!({"path": "", "content": "x"})),
        file(json!({"path": "x".repeat(5000), "content": "x"})),
        file(json!({"path": "x", "content": 5})),
        file(json!({"path": "x", "content_base64": "*"})),
        file(json!({"path": "x", "content": "", "content_base64": ""})),
        file(json!({"path": "x", "content": "", "mode": "0777"})),
        json!([{"path": "x", "content": ""}, {"path": "./x", "content": ""}]),
        json!(vec![json!({"path": "x", "content": ""}); 65]),
    ]
}

/// For each field of a call of code values that it must not have.
fn wrong_fields() -> Vec<(&'static str, Vec<Value>)> {
    let long = "x".repeat(1 << 20);
    let all = [json!(true), json!(7), json!("x"), json!([7]), json!({"a": 1})];
    let but = |right: usize, more: &[Value]| {
        let mut wrong = all.to_vec();
        wrong.remove(right);
        wrong.extend_from_slice(more);
        wrong
    };
    vec![
        ("code", but(2, &[json!(null), json!(""), json!(" \n\t"), json!("1".repeat(60_000))])),
        (
            "timeout",
            but(
                1,
                &[
                    json!(-1),
                    json!(0),
                    json!(-0.0),
                    json!(0.5),
                    json!(301),
                    json!(1e300),
                    json!(1e-300),
                    json!("9"),
                ],
            ),
        ),
        ("stdin", but(2, &[json!(long)])),
        (
            "args",
            vec![
                json!(true),
                json!(7),
                json!("x"),
                json!([7]),
                json!(["a\u{0}"]),
                json!(vec!["x"; 65]),
                json!([long]),
            ],
        ),
        ("files", wrong_files()),
        (
            "collect",
            vec![json!(true), json!("*"), json!({}), json!([7]), json!(["a["]), json!(vec!["*"; 17])],
        ),
        ("rich", but(0, &[])),
        ("profile", but(2, &[json!("x"), json!(""), json!("../x")])),
        ("tier", but(2, &[json!("x"), json!(""), json!("vm")])),
        ("dialect", but(2, &[json!("x")])),
        ("surprise", vec![json!(1), json!(null)]),
    ]
}

#[test]
fn fields_of_a_wrong_kind_are_refused_by_the_surface_and_named() {
    let gate = Gate::start();
    for path in SURFACES {
        for (field, values) in wrong_fields() {
            for value in values {
                let body = call(path, &json!({ (field): value })).to_string();
                let what = format!("{field}: {value:.60}");
                gate.assert_refused(&what, path, &sized(path, body.as_bytes()), By::Surface, 400);
                let told = String::from_utf8(gate.server.raw(&sized(path, body.as_bytes()))).unwrap();
                let too_long = field == "code" && told.contains("Code too long");
                assert!(told.contains(field) || too_long, "{what} on {path}: {told}");
            }
        }
    }
    gate.assert_unharmed();
}

#[test]
fn ten_mebibytes_are_refused_however_they_come_and_the_answer_is_heard() {
    let gate = Gate::start();
    let large = vec![b' '; 10 << 20];
    let chunk = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
    for path in SURFACES {
        gate.assert_refused("a large body", path, &sized(path, &large), By::Surface, 413);
        let chunks = chunk.repeat(10) + "0\r\n\r\n";
        gate.assert_refused("large chunks", path, &chunked(path, "", &chunks), By::Surface, 413);
        let promise = typed(path, "Content-Length: 20000000000\r\nExpect: 100-continue\r\n");
        gate.assert_refused("a promise", path, promise.as_bytes(), By::Surface, 413);
        // Whoever is refused for another reason hears of it too, though nobody reads what it sends.
        let untyped =
            [head(path, &format!("Content-Length: {}\r\n", large.len())).as_bytes(), &large].concat();
        gate.assert_refused("a large body of no type", path, &untyped, By::Surface, 415);
    }
    gate.assert_unharmed();
}

#[test]
fn a_connection_goes_on_after_a_body_that_was_refused() {
    let gate = Gate::start();
    let mut bytes = Vec::new();
    for _ in 0..2 {
        let large = String::from_utf8(sized("/api/code-run", &vec![b' '; 9 << 20])).unwrap();
        bytes.extend_from_slice(large.replace("Connection: close\r\n", "").as_bytes());
    }
    bytes.extend_from_slice(b"GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answers = String::from_utf8(gate.server.raw(&bytes)).unwrap();
    let statuses: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["413", "413", "200"]);
    gate.assert_unharmed();
}

#[test]
fn requests_that_must_not_come_in_are_refused_in_the_shape_of_the_surface() {
    let gate = Gate::start();
    for path in SURFACES {
        let body = call(path, &json!({})).to_string();
        let with = |headers: &str| {
            let head =
                format!("POST {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
            format!("{head}{headers}\r\n{body}").into_bytes()
        };
        let json = "Content-Type: application/json\r\n";
        let cases = [
            ("no type", "Host: localhost\r\n".to_owned(), 415),
            ("another type", "Host: localhost\r\nContent-Type: text/plain\r\n".to_owned(), 415),
            ("a type that is no text", "Host: localhost\r\nContent-Type: \u{e9}\r\n".to_owned(), 415),
            ("no host", json.to_owned(), 400),
            ("two hosts", format!("{json}Host: localhost\r\nHost: localhost\r\n"), 400),
            ("a foreign host", format!("{json}Host: evil.example\r\n"), 421),
            ("a user within the host", format!("{json}Host: me@localhost\r\n"), 421),
            ("half an address", format!("{json}Host: [::1\r\n"), 421),
            ("a foreign page", format!("{json}Host: localhost\r\nOrigin: https://evil.example\r\n"), 403),
            (
                "a page on another port",
                format!("{json}Host: localhost\r\nOrigin: http://localhost:1\r\n"),
                403,
            ),
            ("a proxy", format!("{json}Host: localhost\r\nForwarded: for=10.0.0.1\r\n"), 403),
        ];
        for (what, headers, status) in cases {
            gate.assert_refused(what, path, &with(&headers), By::Surface, status);
        }
        let elsewhere = String::from_utf8(with(&format!("{json}Host: localhost\r\n"))).unwrap();
        let elsewhere = elsewhere.replacen(path, &format!("http://evil.example{path}"), 1);
        gate.assert_refused("a target elsewhere", path, elsewhere.as_bytes(), By::Surface, 421);
        for method in ["GET", "PUT", "DELETE", "OPTIONS", "BREW"] {
            let other = String::from_utf8(with(&format!("{json}Host: localhost\r\n"))).unwrap();
            let other = other.replacen("POST", method, 1);
            gate.assert_refused(method, path, other.as_bytes(), By::Surface, 405);
        }
    }
    gate.assert_refused("a path of no text", "/runs/", &get("/runs/%ff%fe"), By::Surface, 400);
    gate.assert_refused("a path that is not there", "/api/", &get("/api/%00"), By::Surface, 404);
    gate.assert_unharmed();
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").into_bytes()
}

#[test]
fn an_upload_that_is_broken_off_runs_nothing() {
    let gate = Gate::start();
    for path in SURFACES {
        let body = call(path, &json!({})).to_string();
        let promised = typed(path, &format!("Content-Length: {}\r\n", body.len() + 1)) + &body;
        // Half closed: whoever did it can still hear.
        let mut stream = TcpStream::connect(gate.server.address()).unwrap();
        stream.write_all(promised.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(reply(&answer).status, 400, "{}", String::from_utf8_lossy(&answer));
        // Gone.
        let mut stream = TcpStream::connect(gate.server.address()).unwrap();
        stream.write_all(promised.as_bytes()).unwrap();
        drop(stream);
    }
    gate.assert_unharmed();
}
