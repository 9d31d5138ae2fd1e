//! Whoever wants to know that its list of tools is another one, over the Model Context Protocol.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use super::mcp::{Pipe, message};
use super::server::{Data, Server};

/// A stream on which a client of the newest revision hears that its list of tools is another one.
pub(super) struct Listening(BufReader<TcpStream>);

impl Listening {
    /// Begins to listen at a door.
    pub(super) fn open(server: &Server, path: &str) -> Self {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let wanted = json!({"notifications": {"toolsListChanged": true}});
        stream.write_all(&message(server, path, "", "subscriptions/listen", &wanted)).unwrap();
        let mut listening = Self(BufReader::new(stream));
        listening.until("notifications/subscriptions/acknowledged");
        listening
    }

    /// Waits until it is told.
    pub(super) fn is_told(&mut self) {
        self.until("notifications/tools/list_changed");
    }

    fn until(&mut self, method: &str) {
        let mut line = String::new();
        while !line.contains(method) {
            line.clear();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the stream has ended before {method}");
        }
    }
}

#[test]
fn a_client_at_a_pipe_is_told_that_its_list_of_tools_is_another_one() {
    let data = Data::new();
    let folder = data.path();
    let beside = |name: &str| folder.parent().unwrap().join(name);
    let (policy, config) = (beside("policy.json"), beside("gate.toml"));
    let rules = |hidden: &[&str]| {
        let rules = json!({"version": "1", "default": "allow", "hide": hidden}).to_string();
        fs::write(&policy, rules).unwrap();
    };
    rules(&[]);
    fs::write(&config, format!("[surfaces]\ncode = \"off\"\n[policy]\nfile = \"{}\"\n", policy.display()))
        .unwrap();
    let mut pipe = Pipe::open_with(&folder, &["--config", config.to_str().unwrap()]);
    let client = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    pipe.say(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": client}).to_string());
    assert_eq!(pipe.hear()["result"]["capabilities"]["tools"], json!({"listChanged": true}));
    pipe.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    pipe.say(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    assert_eq!(pipe.hear()["id"], 1);
    rules(&["hash_generate"]);
    assert_eq!(pipe.hear()["method"], "notifications/tools/list_changed");
    pipe.say(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#);
    let listed = pipe.hear();
    assert!(!listed.to_string().contains("hash_generate") && listed["id"] == 2, "{listed}");
    drop(pipe.input);
    assert_eq!(pipe.child.wait().unwrap().code(), Some(0));
}
