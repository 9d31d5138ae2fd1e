//! Whoever wants to know that its list of tools is another one, over the Model Context Protocol.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::mcp::message;
use super::server::Server;

/// A stream on which a client of the newest revision hears that its list of tools is another one.
pub(super) struct Listening(BufReader<TcpStream>);

impl Listening {
    /// Begins to listen at a door.
    pub(super) fn open(server: &Server, path: &str) -> Self {
        Self::open_for(server, path, &json!({"toolsListChanged": true}))
    }

    /// Begins to listen to this at a door.
    pub(super) fn open_for(server: &Server, path: &str, notifications: &Value) -> Self {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let wanted = json!({"notifications": notifications});
        stream.write_all(&message(server, path, "", "subscriptions/listen", &wanted)).unwrap();
        let mut listening = Self(BufReader::new(stream));
        listening.until("notifications/subscriptions/acknowledged");
        listening
    }

    /// Waits until it is told.
    pub(super) fn is_told(&mut self) {
        self.until("notifications/tools/list_changed");
    }

    /// The list of which it is told next.
    pub(super) fn next(&mut self) -> String {
        let line = self.until("list_changed");
        let told: Value = serde_json::from_str(line.trim().trim_start_matches("data: ")).unwrap();
        told["method"].as_str().unwrap().to_owned()
    }

    fn until(&mut self, method: &str) -> String {
        let mut line = String::new();
        while !line.contains(method) {
            line.clear();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the stream has ended before {method}");
        }
        line
    }
}
