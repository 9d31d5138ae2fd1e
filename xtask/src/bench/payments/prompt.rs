//! A facilitator that answers at once: it says that every payment is good and has moved, and moves nothing.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Numbers its transactions.
static TRANSACTIONS: AtomicU64 = AtomicU64::new(1);

/// Serves any number of connections, each on a thread that ends with it, as long as this process lives.
pub(super) fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("failed to listen on the loopback address")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

fn serve(mut stream: TcpStream) {
    // An answer in two segments would wait for a client's delayed acknowledgement.
    drop(stream.set_nodelay(true));
    let (mut received, mut part) = (Vec::new(), [0; 8 * 1024]);
    loop {
        while let Some((path, body, length)) = first(&received) {
            let question = serde_json::from_slice(&received[body..length]).unwrap_or_default();
            let body = answer(&path, &question).to_string();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
            let told = format!("{head} {}\r\n\r\n{body}", body.len());
            received.drain(..length);
            if stream.write_all(told.as_bytes()).is_err() {
                return;
            }
        }
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return,
            Ok(read) => received.extend_from_slice(&part[..read]),
        }
    }
}

/// The path of the first request that came whole, where its body begins, and how long it is.
fn first(received: &[u8]) -> Option<(String, usize, usize)> {
    let end = received.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&received[..end]).ok()?;
    let lengths = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = lengths.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let body = lengths.next().and_then(|(_, length)| length.trim().parse().ok()).unwrap_or(0);
    let whole = end + 4 + body;
    let path = head.split(' ').nth(1)?.to_owned();
    (received.len() >= whole).then_some((path, end + 4, whole))
}

fn answer(path: &str, question: &Value) -> Value {
    let network = "eip155:84532";
    let payer = &question["paymentPayload"]["payload"]["authorization"]["from"];
    match path {
        "/verify" => json!({"isValid": true, "payer": payer}),
        "/settle" => {
            let transaction = format!("{:#066x}", TRANSACTIONS.fetch_add(1, Ordering::Relaxed));
            json!({"success": true, "transaction": transaction, "network": network, "payer": payer})
        }
        _ => json!({
            "kinds": [{"x402Version": 2, "scheme": "exact", "network": network}], "extensions": [], "signers": {},
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::bench::http::{Connection, post};

    #[test]
    fn it_says_yes_to_all_and_names_each_transaction_otherwise() {
        let address = super::start().unwrap();
        let mut connection = Connection::open(address).unwrap();
        let mut ask = |path: &str| {
            let mut request = Vec::new();
            let question = json!({"paymentPayload": {"payload": {"authorization": {"from": "0x1"}}}});
            post(&mut request, address, path, &question.to_string());
            let (status, body) = connection.ask(&request).unwrap();
            assert_eq!(status, 200);
            serde_json::from_slice::<Value>(&body).unwrap()
        };
        let verified = ask("/verify");
        assert_eq!((&verified["isValid"], &verified["payer"]), (&json!(true), &json!("0x1")));
        let (first, second) = (ask("/settle"), ask("/settle"));
        assert_eq!(first["transaction"].as_str().unwrap().len(), 66);
        assert_ne!(first["transaction"], second["transaction"]);
        assert_eq!(ask("/supported")["kinds"][0]["scheme"], "exact");
    }
}
