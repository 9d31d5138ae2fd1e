//! Hostile clients of the Model Context Protocol, over a pipe and by HTTP: too long, too deep, interleaved, without an end.
//! Each is refused or passed over, and the next call is answered.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;

use serde_json::{Value, json};

use super::mcp::{Pipe, call, outcomes};
use super::server::{Data, Server, post_bytes, reply};

/// How deep the deepest goes.
const DEPTH: usize = 20_000;

/// How much comes without an end, in bytes, and in what pieces.
const ENDLESS: usize = 96 << 20;
const PIECE: usize = 1 << 20;

/// By how much the process may have grown for it, in KiB: a line is 9 MiB at the most, held once as it is read.
const GROWN_KIB: u64 = 48 << 10;

fn begin(pipe: &mut Pipe) {
    let client = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    pipe.say(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": client}).to_string());
    assert_eq!(pipe.hear()["result"]["protocolVersion"], "2025-11-25");
    pipe.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
}

fn ask(pipe: &mut Pipe, id: &Value, name: &str, arguments: &Value) {
    let params = json!({"name": name, "arguments": arguments});
    pipe.say(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string());
}

/// The answer to a request; what comes before it says that something was wrong, or of another request.
fn answer(pipe: &mut Pipe, id: &Value) -> Value {
    loop {
        let answer = pipe.hear();
        if answer["id"] == *id {
            return answer;
        }
    }
}

fn computes(pipe: &mut Pipe, id: i64) {
    ask(pipe, &json!(id), "math_compute", &json!({"expression": "6*7"}));
    let told = answer(pipe, &json!(id));
    assert_eq!(told["result"]["structuredContent"]["output"]["value"], 42, "{told}");
}

/// The most that a process has held, in KiB.
fn peak_kib(pipe: &Pipe) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", pipe.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn deep() -> String {
    let data = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"json_parse","arguments":{{"data":{data}}}}}}}"#
    )
}

#[test]
fn a_pipe_outlives_what_is_too_deep_too_long_or_never_ends() {
    let data = Data::new();
    let mut pipe = Pipe::open(&data.path());
    begin(&mut pipe);
    computes(&mut pipe, 1);
    pipe.say(&deep());
    computes(&mut pipe, 2);
    // Bytes that are no text, a batch, and messages that are none.
    pipe.input.write_all(b"\xff\xfe{\"jsonrpc\"\n").unwrap();
    for nonsense in ["[]", "[1]", "null", "{}", r#"{"jsonrpc":"1.0","id":9,"method":"tools/list"}"#] {
        pipe.say(nonsense);
    }
    computes(&mut pipe, 3);
    let before = peak_kib(&pipe);
    let piece = vec![b'x'; PIECE];
    for _ in 0..ENDLESS / PIECE {
        pipe.input.write_all(&piece).unwrap();
    }
    pipe.say("");
    computes(&mut pipe, 4);
    let grown = peak_kib(&pipe) - before;
    assert!(grown < GROWN_KIB, "the process grew by {grown} KiB");
    // It goes in the middle of a message.
    pipe.input.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":5,\"meth").unwrap();
    drop(pipe.input);
    assert_eq!(pipe.child.wait().unwrap().code(), Some(0));
}

#[test]
fn calls_that_are_interleaved_over_a_pipe_are_answered_each_by_its_own_name() {
    let data = Data::new();
    let mut pipe = Pipe::open(&data.path());
    begin(&mut pipe);
    let slow = json!({"code": "import time\ntime.sleep(60)"});
    ask(&mut pipe, &json!("slow"), "execute_code", &slow);
    // While it runs: a name that is a number and a text at once is two names.
    for id in [json!(7), json!("7")] {
        ask(&mut pipe, &id, "hash_generate", &json!({"data": id.to_string()}));
    }
    let (mut told, mut seen) = (Vec::new(), 0);
    while seen < 2 {
        let answer = pipe.hear();
        assert_ne!(answer["id"], "slow", "{answer}");
        told.push((answer["id"].clone(), answer["result"]["structuredContent"]["output"]["hash"].clone()));
        seen += 1;
    }
    let hash = |id: &Value| told.iter().find(|(name, _)| name == id).map(|(_, hash)| hash.clone()).unwrap();
    assert_ne!(hash(&json!(7)), hash(&json!("7")));
    pipe.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"slow"}}"#);
    computes(&mut pipe, 8);
    drop(pipe.input);
    assert_eq!(pipe.child.wait().unwrap().code(), Some(0));
    assert!(outcomes(&data.path()).contains(&"limit:Killed".to_owned()));
}

#[test]
fn the_door_refuses_what_is_too_deep_too_long_or_twice_and_stays_open() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let sent = |body: &str| {
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            server.address(),
            body.len()
        );
        reply(&server.raw(format!("{head}{body}").as_bytes())).status
    };
    assert_eq!(sent(&deep()), 400);
    assert_eq!(sent(r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}"#), 400);
    for nonsense in ["", "[]", "null", "{}", r#"[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]"#] {
        assert!((400..500).contains(&sent(nonsense)), "{nonsense}");
    }
    // One that says how long it will be and is refused for it, and some that break off.
    let long = format!(
        "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n",
        server.address()
    );
    assert_eq!(reply(&server.raw(long.as_bytes())).status, 413);
    let mut open = Vec::new();
    for _ in 0..32 {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{",
            server.address()
        );
        stream.write_all(head.as_bytes()).unwrap();
        open.push(stream);
    }
    let told = call(&server, "", &json!({"name": "math_compute", "arguments": {"expression": "6*7"}}));
    assert_eq!(told["structuredContent"]["output"]["value"], 42);
    drop(open);
}

#[test]
fn a_page_of_another_origin_and_a_name_that_is_not_ours_are_turned_away() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}});
    let bytes = String::from_utf8(post_bytes("/mcp", &list)).unwrap();
    let (first, rest) = bytes.split_once("\r\n").unwrap();
    let with = |header: &str| reply(&server.raw(format!("{first}\r\n{header}\r\n{rest}").as_bytes()));
    for (header, status) in [
        ("Origin: https://evil.example", 403),
        ("Origin: null", 403),
        ("Origin: http://localhost.evil.example", 403),
    ] {
        assert_eq!(with(header).status, status, "{header}");
    }
    // A name that resolves to this machine and is none of its own (DNS rebinding).
    let body = list.to_string();
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example"] {
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            body.len()
        );
        assert_eq!(reply(&server.raw(format!("{head}{body}").as_bytes())).status, 421, "{host}");
    }
}
