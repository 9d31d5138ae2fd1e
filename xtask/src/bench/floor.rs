//! A server that only answers: what HTTP over the loopback address costs with this client, whoever serves.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context, Result};

/// What it answers.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

/// Serves any number of connections, each on a thread that ends with its connection, as long as this
/// process lives.
pub(crate) fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("failed to listen on the loopback address")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

/// Each read is taken for one request: the client sends its requests whole, one at a time.
fn serve(mut stream: TcpStream) {
    let mut request = [0; 16 * 1024];
    while stream.read(&mut request).is_ok_and(|read| read > 0) {
        if stream.write_all(ANSWER).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::http::{Connection, post};

    #[test]
    fn it_answers_every_request_of_a_connection() {
        let address = start().unwrap();
        let mut request = Vec::new();
        post(&mut request, address, "/", "{}");
        let mut connection = Connection::open(address).unwrap();
        for _ in 0..3 {
            assert_eq!(connection.ask(&request).unwrap(), (200, b"{}".to_vec()));
        }
    }
}
