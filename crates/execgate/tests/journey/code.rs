//! The code surfaces of a real process: every way in which code can end, strange code, strange output, live output.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::server::{Data, Reply, Server, post_bytes, reply, run, signal};

/// How long to look for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// What `/api/code-run` keeps of all output, in bytes.
const KEPT: usize = 256 << 10;

const FULL: &str = "code execution is at capacity - retry shortly";

fn code_run(server: &Server, body: &Value) -> Reply {
    server.post("/api/code-run", body)
}

/// The envelope of a run that has one.
#[track_caller]
fn envelope(server: &Server, body: &Value) -> Value {
    let reply = code_run(server, body);
    assert_eq!(reply.status, 200, "{body}: {}", reply.json());
    reply.json()
}

/// A request with more headers.
fn with(path: &str, headers: &str, body: &Value) -> Vec<u8> {
    let request = String::from_utf8(post_bytes(path, body)).unwrap();
    request.replacen("Connection: close\r\n", &format!("Connection: close\r\n{headers}\r\n"), 1).into_bytes()
}

/// A request for events. HTTP/1.0 has no chunks to be put together.
fn live(headers: &str, body: &Value) -> Vec<u8> {
    let headers = format!("Accept: text/event-stream{headers}");
    let request = String::from_utf8(with("/api/code-run", &headers, body)).unwrap();
    request.replacen("HTTP/1.1", "HTTP/1.0", 1).into_bytes()
}

/// The events of an answer, by name.
fn events(reply: &Reply) -> Vec<(String, Value)> {
    assert!(reply.head.contains("content-type: text/event-stream"), "{}", reply.head);
    let text = String::from_utf8(reply.body.clone()).unwrap();
    let events = text.split_terminator("\n\n").filter(|event| !event.starts_with(':'));
    let read = |event: &str| {
        let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        (name.to_owned(), serde_json::from_str(data).unwrap())
    };
    events.map(read).collect()
}

/// What the events of one name say, put together.
fn said(events: &[(String, Value)], wanted: &str) -> String {
    events.iter().filter(|(name, _)| name == wanted).map(|(_, told)| told["text"].as_str().unwrap()).collect()
}

fn runs(data: &Data) -> Vec<Value> {
    let listed = run(&["runs", "list", "--json", "--data-dir", data.path().to_str().unwrap()], "");
    serde_json::from_slice(&listed.stdout).unwrap_or_default()
}

/// Waits until the newest run is like that.
fn until_the_run(data: &Data, like: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        if let Some(run) = runs(data).into_iter().find(&like) {
            return run;
        }
        assert!(start.elapsed() < PATIENCE, "{:?}", runs(data));
    }
}

/// A gateway with a configuration file.
fn configured(data: &Data, text: &str) -> Server {
    let file = data.path().with_file_name("execgate.toml");
    fs::write(&file, text).unwrap();
    Server::start_with(&data.path(), &["--config", file.to_str().unwrap()], &[])
}

#[test]
fn every_end_of_a_program_is_answered_as_the_contract_says() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let ends = [
        ("python", "x = 6\nx * 7", None, Some("42")),
        ("javascript", "const x = 6\nx * 7", None, Some("42")),
        ("r", "x <- 6\nx * 7", None, Some("[1] 42")),
        ("bash", "true", None, None),
        ("python", "1 / 0", Some("ZeroDivisionError"), None),
        ("javascript", "null.x", Some("TypeError"), None),
        ("python", "import sys; sys.exit(3)", Some("SystemExit"), None),
        ("javascript", "process.exit(3)", Some("SystemExit"), None),
        ("r", "quit(status = 3)", Some("SystemExit"), None),
        ("bash", "exit 3", Some("ExitCode"), None),
        ("python", "b = []\nwhile True: b.append(bytearray(16 << 20))", Some("OutOfMemory"), None),
        ("bash", "kill -9 $$", Some("Killed"), None),
        ("bash", "head -c 300000000 /dev/zero | tr '\\0' x", Some("OutputLimit"), None),
        (
            "python",
            "f = open('/tmp/big', 'wb')\nwhile True: f.write(bytes(1 << 20)); f.flush()",
            Some("DiskFull"),
            None,
        ),
    ];
    for (language, code, error, result) in ends {
        let told = envelope(&server, &json!({"language": language, "code": code}));
        assert_eq!(told["error"]["name"].as_str(), error, "{code}: {told}");
        assert_eq!(told["result"].as_str(), result, "{code}: {told}");
        if matches!(error, Some("SystemExit" | "ExitCode")) {
            assert_eq!(told["error"]["message"], "3", "{code}");
        }
        let mut names: Vec<_> = told.as_object().unwrap().keys().map(String::as_str).collect();
        names.retain(|name| *name != "truncated");
        assert_eq!(names, ["error", "language", "result", "stderr", "stdout"], "{code}");
    }
    let late = code_run(&server, &json!({"code": "while True: pass", "timeout": 1}));
    assert_eq!((late.status, late.json()), (504, json!({"error": "Execution timed out after 1s"})));
    assert!(
        late.head.contains("execgate-run: ") && late.head.contains("execgate-receipt: "),
        "{}",
        late.head
    );
}

/// Text that editors, terminals and other systems put around code.
#[test]
fn strange_code_runs_or_is_told_to_be_wrong() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let stdout = |language: &str, code: &str| {
        let told = envelope(&server, &json!({"language": language, "code": code}));
        assert_eq!(told["error"], Value::Null, "{code:?}: {told}");
        told["stdout"].as_str().unwrap().to_owned()
    };
    assert_eq!(stdout("python", "if True:\r\n\tprint('a\tb')\r\n"), "a\tb\n");
    assert_eq!(stdout("javascript", "if (1) {\r\n\tconsole.log('a\tb')\r\n}\r\n"), "a\tb\n");
    assert_eq!(stdout("r", "if (TRUE) {\r\n\tcat('a\tb')\r\n}\r\n"), "a\tb");
    assert_eq!(stdout("python", "\u{feff}print(1)"), "1\n");
    assert_eq!(stdout("javascript", "\u{feff}console.log(1)"), "1\n");
    assert_eq!(stdout("r", "\u{feff}cat(1)"), "1");
    assert_eq!(stdout("bash", "echo '\u{1f600}\u{e9}'\t\t# so\n"), "\u{1f600}\u{e9}\n");

    let wrong = [
        ("python", "print(1)\n\0".to_owned()),
        ("javascript", "console.log(1)\n\0".to_owned()),
        ("r", "cat(1)\n\0".to_owned()),
        ("python", format!("{}1{}", "(".repeat(4000), ")".repeat(4000))),
        ("javascript", format!("{}1{}", "(".repeat(4000), ")".repeat(4000))),
        ("r", format!("{}1{}", "(".repeat(4000), ")".repeat(4000))),
        ("python", format!("{}1", "-".repeat(9000))),
    ];
    for (language, code) in wrong {
        let told = envelope(&server, &json!({"language": language, "code": code}));
        assert!(told["error"]["name"].is_string(), "{language} {code:?}: {told}");
        assert_eq!((&told["stdout"], &told["result"]), (&json!(""), &json!(null)), "{language} {code:?}");
    }
    assert_eq!(envelope(&server, &json!({"code": "1"}))["result"], "1");
}

#[test]
fn strange_output_is_json_all_the_same() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let bytes = "a\u{fffd}\u{fffd}\0b\u{fffd}";
    let told = envelope(
        &server,
        &json!({"code": "import sys\nfor out in sys.stdout, sys.stderr: out.buffer.write(b'a\\xff\\xfe\\0b\\xc3')"}),
    );
    assert_eq!((&told["stdout"], &told["stderr"]), (&json!(bytes), &json!(bytes)));
    let told = envelope(&server, &json!({"language": "sh", "code": "printf 'a\\377\\376\\0b\\303'"}));
    assert_eq!(told["stdout"], bytes);
    let write = "process.stdout.write(Buffer.from([97, 255, 254, 0, 98, 195])); undefined";
    assert_eq!(envelope(&server, &json!({"language": "js", "code": write}))["stdout"], bytes);

    let ansi = "\u{1b}[31mred\u{1b}[0m\u{7}\r\n";
    let told = envelope(
        &server,
        &json!({"code": format!("print({ansi:?}, end='')").replace("\\u{1b}", "\\x1b").replace("\\u{7}", "\\x07")}),
    );
    assert_eq!(told["stdout"], ansi);
    let told = envelope(&server, &json!({"code": "raise ValueError('a\\0b\\x1b\\ud800')"}));
    assert_eq!(told["error"]["name"], "ValueError");
    assert!(told["error"]["message"].as_str().unwrap().starts_with("a\0b\u{1b}"), "{told}");
    let told =
        envelope(&server, &json!({"code": "raise type('E' * 100_000, (Exception,), {})('x' * 5_000_000)"}));
    assert!(told.to_string().len() < 2 * KEPT, "an error is cut too");
}

#[test]
fn a_value_that_is_longer_than_the_largest_cap_says_that_it_was_cut() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let values = [
        ("python", "'x' * 2_000_000"),
        ("javascript", "'x'.repeat(2e6)"),
        ("javascript", "'\u{1f600}'.repeat(1e6)"),
        ("r", "strrep('x', 2e6)"),
    ];
    for (language, code) in values {
        let told = server.post("/api/code-run-pro", &json!({"language": language, "code": code})).json();
        let result = told["result"].as_str().unwrap();
        assert!(
            result.ends_with("[output truncated at 1048576 bytes]"),
            "{language} {code}: {}",
            result.len()
        );
        assert_eq!(told["truncated"], true, "{language} {code}");
    }
}

/// Kept up to the cap, thrown away up to 64 MiB more, then killed (CONTRACTS 3).
#[test]
fn output_is_kept_then_thrown_away_then_too_much() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let writes =
        |bytes: usize| json!({"language": "bash", "code": format!("head -c {bytes} /dev/zero | tr '\\0' x")});
    let whole = envelope(&server, &writes(KEPT));
    assert_eq!((whole["stdout"].as_str().unwrap().len(), &whole["truncated"]), (KEPT, &Value::Null));
    for (bytes, error) in [
        (KEPT + 1, None),
        (64 << 20, None),
        (KEPT + (65 << 20), Some("OutputLimit")),
        (300_000_000, Some("OutputLimit")),
    ] {
        let told = envelope(&server, &writes(bytes));
        assert_eq!((told["error"]["name"].as_str(), &told["truncated"]), (error, &json!(true)), "{bytes}");
        let kept = told["stdout"].as_str().unwrap();
        let mark = format!("\n…[output truncated at {KEPT} bytes]");
        assert!(kept == format!("{}{mark}", "x".repeat(KEPT)), "{bytes}: {}", kept.len());
    }
    let told = events(&reply(&server.raw(&live("", &writes(300_000_000)))));
    let live = said(&told, "stdout").len();
    assert!((KEPT..=KEPT + 4).contains(&live), "{live}: no more is told live than is kept, and a character");
    assert_eq!(told.last().unwrap().1["error"]["name"], "OutputLimit");
    assert_eq!(envelope(&server, &json!({"code": "1"}))["result"], "1");
}

#[test]
fn output_is_told_in_its_order_and_whole_characters() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let code = "import sys, time\n\
                for byte in 'é😀'.encode():\n    \
                    sys.stdout.buffer.write(bytes([byte])); sys.stdout.flush(); time.sleep(0.05)\n\
                sys.stderr.write('warned')\n\
                'ends'";
    let told = events(&reply(&server.raw(&live("\r\nIdempotency-Key: k", &json!({"code": code})))));
    assert_eq!(said(&told, "stdout"), "é😀");
    assert_eq!(said(&told, "stderr"), "warned");
    let names: Vec<_> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.iter().filter(|name| **name == "stdout").count() >= 2, "it came in pieces: {names:?}");
    assert_eq!(names[names.len() - 3..], ["stderr", "receipt", "result"]);
    assert_eq!(told.last().unwrap().1["stdout"], "é😀");
    let plain = reply(&server.raw(&with("/api/code-run", "Idempotency-Key: k", &json!({"code": code}))));
    assert_eq!((plain.status, &plain.json()), (200, &told.last().unwrap().1));
    assert!(plain.head.contains("execgate-replayed: true"), "{}", plain.head);

    let late = json!({"code": "print('so far', flush=True)\nwhile True: pass", "timeout": 1});
    let told = events(&reply(&server.raw(&live("", &late))));
    assert_eq!(told[0], ("stdout".to_owned(), json!({"text": "so far\n"})));
    let end = ("error".to_owned(), json!({"error": "Execution timed out after 1s", "status": 504}));
    assert_eq!(told.last(), Some(&end));
}

/// Sends a request, reads until its run has said something, and hangs up.
fn hang_up_amid_output(server: &Server, request: &[u8]) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut lines = BufReader::new(stream).lines();
    assert!(lines.any(|line| line.unwrap() == "event: stdout"), "nothing was said");
}

#[test]
fn who_hangs_up_amid_the_events_ends_the_program_unless_a_key_names_it() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let bare = json!({"code": "print('on', flush=True)\nimport time; time.sleep(25)\n'ended'"});
    hang_up_amid_output(&server, &live("", &bare));
    let asked = Instant::now();
    let ended = until_the_run(&data, |run| !run["outcome"].is_null());
    assert_eq!(ended["outcome"], "limit:Killed");
    assert!(asked.elapsed() < PATIENCE);

    let named = json!({"code": "print('on', flush=True)\nimport time; time.sleep(2)\n'ended'"});
    hang_up_amid_output(&server, &live("\r\nIdempotency-Key: k", &named));
    let heard = reply(&server.raw(&with("/api/code-run", "Idempotency-Key: k", &named)));
    assert_eq!(heard.json()["result"], "'ended'");
    assert!(heard.head.contains("execgate-replayed: true"), "{}", heard.head);
    assert_eq!(runs(&data).len(), 2);
}

#[test]
fn who_hangs_up_while_it_waits_ends_the_program_unless_a_key_names_it() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let hang_up = |request: &[u8]| {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(request).unwrap();
        until_the_run(&data, |run| run["stage"] == "execute");
    };
    hang_up(&post_bytes("/api/code-run", &json!({"code": "import time; time.sleep(25)"})));
    let ended = until_the_run(&data, |run| !run["outcome"].is_null());
    assert_eq!(ended["outcome"], "limit:Killed");
    let named =
        with("/api/code-run", "Idempotency-Key: k", &json!({"code": "import time; time.sleep(2); 'ended'"}));
    hang_up(&named);
    assert_eq!(reply(&server.raw(&named)).json()["result"], "'ended'");
    assert_eq!(runs(&data).len(), 2);
}

#[test]
fn a_full_house_says_so_before_anything_is_claimed() {
    let data = Data::new();
    let server = configured(&data, "[sandbox]\nslots = 1\n");
    let long = json!({"code": "import time; time.sleep(3)"});
    let first = server.background(post_bytes("/api/code-run", &long));
    until_the_run(&data, |run| run["stage"] == "execute");
    let second = with("/api/code-run-pro", "Idempotency-Key: k", &json!({"code": "1"}));
    let full = reply(&server.raw(&second));
    assert_eq!((full.status, full.json()), (503, json!({ "error": FULL })));
    assert!(full.head.contains("\r\nretry-after: 1"), "{}", full.head);
    // Who asks for something wrong is told that, full or not.
    assert_eq!(code_run(&server, &json!({"language": "ruby", "code": "1"})).status, 400);
    assert_eq!(code_run(&server, &json!({})).status, 400);
    assert_eq!(runs(&data).len(), 1);
    assert_eq!(first.join().unwrap().status, 200);
    let start = Instant::now();
    let later = loop {
        let later = reply(&server.raw(&second));
        if later.status != 503 || start.elapsed() > PATIENCE {
            break later;
        }
    };
    assert_eq!((later.status, &later.json()["result"]), (200, &json!("1")));
}

#[test]
fn where_code_is_off_the_surfaces_say_so_after_they_have_read_the_call() {
    let data = Data::new();
    let server = configured(&data, "[surfaces]\ncode = \"off\"\n");
    for path in ["/api/code-run", "/api/code-run-pro", "/api/code/run"] {
        let off = server.post(path, &json!({"code": "1"}));
        let told = json!({"error": "code execution is switched off on this gateway (surfaces.code)"});
        assert_eq!((off.status, off.json()), (503, told));
        assert_eq!(server.post(path, &json!([])).status, 400);
        assert_eq!(server.get(path).status, 405);
    }
    assert_eq!(server.execute("echo", json!({}), "n").status, 200);
}

#[test]
fn where_tools_are_off_the_routes_say_so_and_the_rest_is_served() {
    let data = Data::new();
    let server = configured(&data, "[surfaces]\ncode = \"off\"\ntools = \"off\"\n");
    for path in ["/exec/tool", "/exec/simulate", "/exec/batch"] {
        let off = server.post(path, &json!({"tool": {"name": "hash_generate"}}));
        let told = off.json();
        assert_eq!(
            (off.status, &told["error"]["code"], &told["status"]),
            (503, &json!("tools-off"), &json!("failed"))
        );
        assert!(told["proofHash"].as_str().unwrap().starts_with("0x"));
    }
    assert_eq!(server.get("/exec/tools").status, 503);
    assert_eq!(server.execute("echo", json!({}), "n").status, 200);
}

#[test]
fn a_gateway_without_its_sandbox_tells_nothing_of_the_inside() {
    let data = Data::new();
    let server = Server::start(&data.path());
    for parent in server.children() {
        signal(parent, Signal::KILL);
    }
    let start = Instant::now();
    while server.get("/ready").status == 200 {
        assert!(start.elapsed() < PATIENCE, "the loss was not noticed");
    }
    for body in [json!({"code": "1"}), json!({"code": "1", "language": "bash"})] {
        let refused = code_run(&server, &body);
        assert!(matches!(refused.status, 502 | 503), "{}", refused.json());
        let text = refused.json().to_string();
        for inner in ["helper", "socket", "os error", "/", "slot"] {
            assert!(!text.contains(inner), "{inner}: {text}");
        }
        assert_eq!(refused.json().as_object().unwrap().len(), 1, "{text}");
    }
    assert_eq!(code_run(&server, &json!({})).status, 400);
    assert_eq!(runs(&data), Vec::<Value>::new());
}
