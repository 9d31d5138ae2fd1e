//! What a server asks of those who call it at a gateway: each hears what its own call asks, and answers it, in both eras.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::proxy::{Place, enforced, text};
use super::server::{Server, run};

const ASKING: &str = include_str!("../upstreams/asking.py");

/// A gateway in front of it.
fn gateway(more: &str) -> (Place, Server) {
    let place = Place::new(r#"{"version": "1", "default": "allow"}"#);
    place.put("asking.py", ASKING);
    let script = place.text("asking.py");
    let config = format!(
        "[surfaces]\ncode = \"off\"\n[[upstream]]\nname = \"asks\"\ncommand = [\"/usr/bin/python3\", \"{script}\"]\n\
         sandbox = false\nfirst = \"accept\"\n{more}",
        more = more.replace("SCRIPT", &script)
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

/// Sends a message with these headers, and reads the head of the answer.
fn send(server: &Server, headers: &str, message: &Value) -> Coming {
    send_at(server, "/mcp/asks", headers, message)
}

/// The same at another door.
fn send_at(server: &Server, path: &str, headers: &str, message: &Value) -> Coming {
    let body = message.to_string();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
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
        let named = line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("mcp-session-id"));
        session = named.map(|(_, id)| id.trim().to_owned()).or(session);
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

/// A caller in a session of its own.
struct Client<'s> {
    server: &'s Server,
    key: String,
    session: String,
}

impl<'s> Client<'s> {
    /// One of a revision with sessions, which takes this.
    fn open(server: &'s Server, key: &str, capabilities: &Value) -> Self {
        let us = json!({"name": "t", "version": "1"});
        let params = json!({"protocolVersion": "2025-06-18", "capabilities": capabilities, "clientInfo": us});
        let greeting = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
        let key = format!("Authorization: Bearer {key}\r\n");
        let session = loop {
            // A key is known a moment after it was given.
            let told = send(server, &key, &greeting);
            if told.status != 401 {
                break told.session.expect("a session");
            }
        };
        let client = Self { server, key, session };
        client.heard();
        client
    }

    fn send(&self, message: &Value) -> Coming {
        send(self.server, &format!("{}Mcp-Session-Id: {}\r\n", self.key, self.session), message)
    }

    fn call(&self, tool: &str, arguments: &Value) -> Coming {
        let params = json!({"name": tool, "arguments": arguments});
        self.send(&json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}))
    }

    /// What the server was told outside of calls; waits until it is connected.
    fn heard(&self) -> Value {
        loop {
            let told = self.call("heard", &json!({})).whole();
            if told.get("result").is_some_and(|result| result["isError"] != true) {
                return told["result"].clone();
            }
        }
    }

    /// Answers a question; how that was taken.
    fn answers(&self, name: &Value, word: &str) -> u16 {
        self.send(&json!({"jsonrpc": "2.0", "id": name, "result": said(word)})).status
    }

    /// The call by the stateless revision, with what was answered.
    fn stateless(&self, who: &str, more: &Value) -> Value {
        self.stateless_at("/mcp/asks", who, more)
    }

    /// The same at another door.
    fn stateless_at(&self, path: &str, who: &str, more: &Value) -> Value {
        let mut params = json!({"name": "ask", "arguments": {"who": who}, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}
        }});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let said = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: ask\r\n";
        send_at(self.server, path, &format!("{}{said}", self.key), &message).whole()
    }
}

fn said(word: &str) -> Value {
    json!({"action": "accept", "content": {"word": word}})
}

/// The key of a new grant.
pub(super) fn grant(place: &Place, name: &str) -> String {
    let made = run(&["grant", "create", "--name", name, "--json", "--data-dir", &place.data()], "");
    let made: Value = serde_json::from_slice(&made.stdout).unwrap_or_else(|_| panic!("{made:?}"));
    made["key"].as_str().unwrap().to_owned()
}

#[test]
fn each_caller_hears_what_its_own_call_asks_and_nobody_else_answers_it() {
    let (place, server) = gateway("allow = [\"elicitation\"]\n");
    let (key, takes) = (grant(&place, "ann"), json!({"elicitation": {}}));
    let (ann, bob) =
        (Client::open(&server, &key, &takes), Client::open(&server, &grant(&place, "bob"), &takes));
    let other = Client::open(&server, &key, &takes);
    // What a server asks as it is greeted belongs to no call.
    assert!(text(&ann.heard()).contains("outside a call"), "{}", ann.heard());
    let mut of_ann = ann.call("ask", &json!({"who": "Ann"}));
    let mut of_bob = bob.call("ask", &json!({"who": "Bob"}));
    let (asked_ann, asked_bob) = (of_ann.next(), of_bob.next());
    assert_eq!(asked_ann["method"], "elicitation/create");
    assert_eq!(asked_ann["params"]["message"], "Who is Ann?");
    assert_eq!(asked_bob["params"]["message"], "Who is Bob?");
    // Both servers call it 1; by us it has a name that is nobody else's.
    assert_ne!(asked_ann["id"], asked_bob["id"]);
    // Another caller answers nothing of it, nor another session of the same, and nobody what was never asked.
    assert_eq!(bob.answers(&asked_ann["id"], "forged"), 400);
    assert_eq!(other.answers(&asked_ann["id"], "forged"), 400);
    assert_eq!(ann.answers(&asked_bob["id"], "forged"), 400);
    assert_eq!(ann.answers(&json!("execgate-ask-0"), "forged"), 400);
    assert_eq!(bob.answers(&asked_bob["id"], "builder"), 202);
    assert_eq!(ann.answers(&asked_ann["id"], "owner"), 202);
    assert_eq!(ann.answers(&asked_ann["id"], "again"), 400);
    let (of_ann, of_bob) = (of_ann.whole(), of_bob.whole());
    assert!(text(&of_ann["result"]).contains("\"owner\""), "{of_ann}");
    assert!(text(&of_bob["result"]).contains("\"builder\""), "{of_bob}");

    // A client that has said nothing of it is asked nothing.
    let mute = Client::open(&server, &key, &json!({}));
    let told = mute.call("ask", &json!({"who": "Me"})).whole();
    assert!(text(&told["result"]).contains("has not said that it takes elicitation"), "{told}");
}

#[test]
fn what_is_not_allowed_is_refused_whatever_a_client_takes() {
    let (place, server) = gateway("");
    let client = Client::open(&server, &grant(&place, "ann"), &json!({"elicitation": {}}));
    let told = client.call("ask", &json!({"who": "Ann"})).whole();
    assert!(text(&told["result"]).contains("only where the operator has allowed it"), "{told}");
}

#[test]
fn a_stateless_client_makes_its_call_again_with_what_was_asked_and_it_is_the_same_run() {
    let other =
        "[[upstream]]\nname = \"other\"\ncommand = [\"/usr/bin/python3\", \"SCRIPT\"]\nsandbox = false\n";
    let (place, server) = gateway(&format!("allow = [\"elicitation\"]\n{other}"));
    let ann = Client::open(&server, &grant(&place, "ann"), &json!({}));
    let bob = Client::open(&server, &grant(&place, "bob"), &json!({}));
    let first = ann.stateless("Ann", &json!({}))["result"].clone();
    assert_eq!(first["resultType"], "input_required", "{first}");
    let (name, asked) = first["inputRequests"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(asked["method"], "elicitation/create");
    assert_eq!(asked["params"]["message"], "Who is Ann?");
    let again = json!({
        "requestState": first["requestState"], "inputResponses": {name.as_str(): said("owner")}
    });
    // Another's call it is not, nor another call.
    for (whose, who) in [(&bob, "Ann"), (&ann, "Eve")] {
        let told = whose.stateless(who, &again);
        assert!(told["error"].to_string().contains("not under way"), "{told}");
    }
    // Nor one of the same name of another server.
    let told = ann.stateless_at("/mcp/other", "Ann", &again);
    assert!(told["error"].to_string().contains("not under way"), "{told}");
    let told = ann.stateless("Ann", &again)["result"].clone();
    assert!(text(&told).contains("\"owner\"") && told["isError"] != true, "{told}");
    let run = told["_meta"]["dev.execgate/run"].as_str().unwrap();
    let asked = enforced(&place.data(), run)["asked"].clone();
    assert_eq!((asked["answered"].as_array().unwrap().len(), &asked["refused"]), (1, &json!(0)), "{asked}");
    let late = ann.stateless("Ann", &again);
    assert!(late["error"].to_string().contains("not under way"), "{late}");

    // One that gives no answer is not waited for.
    let first = ann.stateless("Ann", &json!({}))["result"].clone();
    let told = ann.stateless("Ann", &json!({"requestState": first["requestState"]}));
    assert!(text(&told["result"]).contains("gave no answer"), "{told}");
}
