//! What a server asks of those who call it at a gateway: each hears what its own call asks, and answers it, in both eras.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::proxy::{Place, text};
use super::server::Server;

const ASKING: &str = include_str!("../upstreams/asking.py");

/// A gateway in front of it.
fn gateway(more: &str) -> (Place, Server) {
    let place = Place::new(r#"{"version": "1", "default": "allow"}"#);
    place.put("asking.py", ASKING);
    let script = place.text("asking.py");
    let config = format!(
        "[surfaces]\ncode = \"off\"\n[[upstream]]\nname = \"asks\"\ncommand = [\"/usr/bin/python3\", \"{script}\"]\n\
         sandbox = false\nfirst = \"accept\"\n{more}"
    );
    place.put("execgate.toml", &config);
    let data = place.0.path();
    let server = Server::start_with(&data, &["--config", &place.text("execgate.toml")], &[]);
    (place, server)
}

/// An answer while it comes.
struct Coming {
    status: u16,
    session: Option<String>,
    rest: BufReader<TcpStream>,
}

/// Sends a message in a session, and reads the head of the answer.
fn send(server: &Server, session: Option<&str>, message: &Value, more: &str) -> Coming {
    let body = message.to_string();
    let session = session.map(|id| format!("Mcp-Session-Id: {id}\r\n")).unwrap_or_default();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "POST /mcp/asks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\n{session}{more}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut rest = BufReader::new(stream);
    let (mut line, mut status, mut session) = (String::new(), 0, None);
    while rest.read_line(&mut line).unwrap() > 0 && line != "\r\n" {
        if status == 0 {
            status = line.split(' ').nth(1).unwrap().parse().unwrap();
        }
        if let Some((name, id)) =
            line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("mcp-session-id"))
        {
            session = Some(id.trim().to_owned()).filter(|_| !name.is_empty());
        }
        line.clear();
    }
    Coming { status, session, rest }
}

impl Coming {
    /// The next message of its stream, or the whole of what is none.
    fn next(&mut self) -> Value {
        let mut line = String::new();
        while self.rest.read_line(&mut line).unwrap() > 0 {
            let told = line.trim().trim_start_matches("data: ");
            if told.starts_with('{') {
                return serde_json::from_str(told).unwrap();
            }
            line.clear();
        }
        panic!("the answer has ended");
    }

    fn whole(mut self) -> Value {
        let told = self.next();
        self.rest.read_to_end(&mut Vec::new()).unwrap();
        told
    }
}

/// A client of a revision with sessions, which takes this.
fn open(server: &Server, capabilities: &Value) -> String {
    let params = json!({
        "protocolVersion": "2025-06-18", "capabilities": capabilities, "clientInfo": {"name": "t", "version": "1"}
    });
    let greeting = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
    send(server, None, &greeting, "").session.expect("a session")
}

fn call(tool: &str, arguments: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

fn said(word: &str) -> Value {
    json!({"action": "accept", "content": {"word": word}})
}

/// The tool's answer, in a session, when nothing is asked; waits until the server is connected.
fn connected(server: &Server, session: &str) -> Value {
    loop {
        let told = send(server, Some(session), &call("heard", json!({})), "").whole();
        if told.get("result").is_some_and(|result| result["isError"] != true) {
            return told["result"].clone();
        }
    }
}

#[test]
fn each_caller_hears_what_its_own_call_asks_and_nobody_else_answers_it() {
    let (_place, server) = gateway("allow = [\"elicitation\"]\n");
    let takes = json!({"elicitation": {}});
    let (ann, bob) = (open(&server, &takes), open(&server, &takes));
    // What a server asks as it is greeted belongs to no call.
    assert!(text(&connected(&server, &ann)).contains("outside a call"), "{}", connected(&server, &ann));
    connected(&server, &bob);
    let mut of_ann = send(&server, Some(&ann), &call("ask", json!({"who": "Ann"})), "");
    let mut of_bob = send(&server, Some(&bob), &call("ask", json!({"who": "Bob"})), "");
    let (asked_ann, asked_bob) = (of_ann.next(), of_bob.next());
    assert_eq!(
        (&asked_ann["method"], &asked_ann["params"]["message"]),
        (&json!("elicitation/create"), &json!("Who is Ann?"))
    );
    assert_eq!(asked_bob["params"]["message"], "Who is Bob?");
    // Both servers call it 1; by us it has a name that is nobody else's.
    assert_ne!(asked_ann["id"], asked_bob["id"]);
    let answer = |id: &Value, word: &str| json!({"jsonrpc": "2.0", "id": id, "result": said(word)});
    for (session, id) in
        [(&bob, &asked_ann["id"]), (&ann, &asked_bob["id"]), (&ann, &json!("execgate-ask-0"))]
    {
        assert_eq!(send(&server, Some(session), &answer(id, "forged"), "").status, 400);
    }
    assert_eq!(send(&server, Some(&bob), &answer(&asked_bob["id"], "builder"), "").status, 202);
    assert_eq!(send(&server, Some(&ann), &answer(&asked_ann["id"], "owner"), "").status, 202);
    assert_eq!(send(&server, Some(&ann), &answer(&asked_ann["id"], "again"), "").status, 400);
    let (of_ann, of_bob) = (of_ann.whole(), of_bob.whole());
    assert_eq!(
        text(&of_ann["result"]),
        said("owner").to_string().replace("\":", "\": ").replace(",\"", ", \"")
    );
    assert!(text(&of_bob["result"]).contains("builder"), "{of_bob}");

    // A client that has said nothing of it is asked nothing.
    let mute = open(&server, &json!({}));
    connected(&server, &mute);
    let told = send(&server, Some(&mute), &call("ask", json!({"who": "Me"})), "").whole();
    assert!(text(&told["result"]).contains("has not said that it takes elicitation"), "{told}");
}

#[test]
fn what_is_not_allowed_is_refused_whatever_a_client_takes() {
    let (_place, server) = gateway("");
    let session = open(&server, &json!({"elicitation": {}}));
    connected(&server, &session);
    let told = send(&server, Some(&session), &call("ask", json!({"who": "Ann"})), "").whole();
    assert!(text(&told["result"]).contains("only where the operator has allowed it"), "{told}");
}

/// The call by the stateless revision, by the caller of a session secret, with what was answered.
fn stateless(server: &Server, secret: Option<&str>, who: &str, more: &Value) -> Coming {
    let mut params = json!({"name": "ask", "arguments": {"who": who}, "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}
    }});
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let secret = secret.map(|secret| format!("Execgate-Session: {secret}\r\n")).unwrap_or_default();
    let head =
        format!("MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: ask\r\n{secret}");
    send(server, None, &message, &head)
}

#[test]
fn a_stateless_client_makes_its_call_again_with_what_was_asked_and_it_is_the_same_run() {
    let (_place, server) = gateway("allow = [\"elicitation\"]\n");
    let (ann, bob) = (open(&server, &json!({})), open(&server, &json!({})));
    connected(&server, &ann);
    connected(&server, &bob);
    let first = stateless(&server, Some(&ann), "Ann", &json!({})).whole()["result"].clone();
    assert_eq!(first["resultType"], "input_required", "{first}");
    let (name, asked) = first["inputRequests"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(
        (&asked["method"], &asked["params"]["message"]),
        (&json!("elicitation/create"), &json!("Who is Ann?"))
    );
    let state = first["requestState"].as_str().unwrap();
    let again = json!({"requestState": state, "inputResponses": {name.as_str(): said("owner")}});
    // Another's call it is not, nor another call.
    for (whose, who) in [(&bob, "Ann"), (&ann, "Eve")] {
        let told = stateless(&server, Some(whose), who, &again).whole();
        assert!(told["error"].to_string().contains("not under way"), "{told}");
    }
    let told = stateless(&server, Some(&ann), "Ann", &again).whole()["result"].clone();
    assert!(text(&told).contains("owner") && told["isError"] != true, "{told}");
    let run = told["_meta"]["dev.execgate/run"].as_str().unwrap();
    assert_eq!(server.get(&format!("/receipts/{run}")).status, 200);
    let late = stateless(&server, Some(&ann), "Ann", &again).whole();
    assert!(late["error"].to_string().contains("not under way"), "{late}");

    // One that gives no answer is not waited for.
    let first = stateless(&server, Some(&ann), "Ann", &json!({})).whole()["result"].clone();
    let state = first["requestState"].as_str().unwrap();
    let told = stateless(&server, Some(&ann), "Ann", &json!({"requestState": state})).whole();
    assert!(text(&told["result"]).contains("gave no answer"), "{told}");
}
