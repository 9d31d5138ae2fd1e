//! A double of whatever answers by HTTP, for tests: each request is read whole, and answered by a script.

use std::io;
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A request, as it came.
pub(super) struct Asked {
    pub(super) head: String,
    pub(super) body: String,
}

impl Asked {
    /// Method and path.
    pub(super) fn line(&self) -> (&str, &str) {
        let mut words = self.head.split(' ');
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }

    /// A header; empty where there is none.
    pub(super) fn header(&self, name: &str) -> String {
        let begins = format!("{name}: ");
        let line = self.head.lines().find(|line| line.to_ascii_lowercase().starts_with(&begins));
        line.map(|line| line[begins.len()..].to_owned()).unwrap_or_default()
    }

    /// The message that it is.
    pub(super) fn message(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// How one is answered.
pub(super) enum Reply {
    /// A status, headers (each with its line end), a body.
    Whole(u16, String, Vec<u8>),
    /// A stream of events, which then ends.
    Events(Vec<u8>),
    /// A stream of events, which then says nothing more.
    EventsOn(Vec<u8>),
    /// The connection is closed.
    Close,
}

/// Serves on a port of its own, for as long as the test; where.
pub(super) async fn serve(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let script = Arc::new(script);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let script = Arc::clone(&script);
            tokio::spawn(async move {
                let Some(asked) = request(&mut stream).await else { return };
                let reply = script(&asked);
                // Whoever asked may be gone by now.
                drop(answer(&mut stream, reply).await);
            });
        }
    });
    origin
}

async fn request(stream: &mut TcpStream) -> Option<Asked> {
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; 8192]);
    loop {
        let length = stream.read(&mut chunk).await.ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&chunk[..length]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let asked = Asked { head: head.to_owned(), body: body.to_owned() };
        if asked.body.len() >= asked.header("content-length").parse().unwrap_or(0) {
            return Some(asked);
        }
    }
}

async fn answer(stream: &mut TcpStream, reply: Reply) -> io::Result<()> {
    let events = "HTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    match reply {
        Reply::Whole(status, headers, body) => {
            let kind = if headers.to_ascii_lowercase().contains("content-type:") {
                ""
            } else {
                "Content-Type: application/json\r\n"
            };
            let length = body.len();
            let head = format!("HTTP/1.1 {status} X\r\n{kind}{headers}Content-Length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await
        }
        Reply::Events(told) => {
            stream.write_all(events.as_bytes()).await?;
            stream.write_all(&told).await
        }
        Reply::EventsOn(told) => {
            stream.write_all(events.as_bytes()).await?;
            stream.write_all(&told).await?;
            wait_for_its_end(stream).await
        }
        Reply::Close => Ok(()),
    }
}

async fn wait_for_its_end(stream: &mut TcpStream) -> io::Result<()> {
    stream.read(&mut [0; 1]).await.map(drop)
}
