//! A node of a test's own between a settler and its chain: it answers some questions otherwise, and hands on the rest.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use execgate_testkit::Upstream;
use execgate_testkit::chain::Chain;
use serde_json::Value;

/// Answers what `instead` gives for a question, and what the chain says where it gives none.
pub(crate) async fn between(
    chain: &Chain,
    instead: impl Fn(&Value) -> Option<Value> + Send + Sync + 'static,
) -> Upstream {
    let address = chain.url().trim_start_matches("http://").to_owned();
    Upstream::start(move |request| {
        let body = request.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let question: Value = serde_json::from_str(body).unwrap();
        match instead(&question) {
            Some(answer) => Upstream::reply("200 OK", "application/json", &answer.to_string()),
            None => handed_on(&address, body),
        }
    })
    .await
}

fn handed_on(address: &str, body: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json";
    stream.write_all(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}
