//! As much of HTTP/1.1 as a closed-loop client of our own server needs: one request, one answer with a
//! `Content-Length`, over a connection that is kept.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// No operation of a benchmark takes longer; one that does is a fault.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// Larger heads are refused.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// An answer within a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// Where its body lies; the answer ends with it.
    pub(crate) body: Range<usize>,
}

/// The first answer in the buffer; `None` as long as it is not complete.
pub(crate) fn parse(buffer: &[u8]) -> Result<Option<Answer>> {
    let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
        anyhow::ensure!(buffer.len() <= MAX_HEAD_BYTES, "the answer's head has no end");
        return Ok(None);
    };
    let head = std::str::from_utf8(&buffer[..end]).context("the answer's head is no text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).and_then(|rest| rest.get(..3));
    let status = status.and_then(|code| code.parse().ok()).context("the answer has no status")?;
    let mut length = None;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse::<usize>().context("the answer's length is no number")?);
        } else if name.eq_ignore_ascii_case("connection") && value.trim().eq_ignore_ascii_case("close") {
            bail!("the server closes its connections (status {status}); this client keeps them");
        }
    }
    let start = end + 4;
    let length = length.with_context(|| format!("the answer (status {status}) has no content-length"))?;
    let body = start..start + length;
    Ok((buffer.len() >= body.end).then_some(Answer { status, body }))
}

/// Appends a `POST` of JSON to a buffer.
pub(crate) fn post(into: &mut Vec<u8>, server: SocketAddr, path: &str, body: &str) {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {server}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    into.extend_from_slice(head.as_bytes());
    into.extend_from_slice(body.as_bytes());
}

/// One kept connection, one request at a time.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub(crate) fn open(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(server).context("failed to connect to the server")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// The head of the last answer.
    pub(crate) fn head(&self) -> Result<&str> {
        let end = self.buffer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or_default();
        std::str::from_utf8(&self.buffer[..end]).context("the answer's head is no text")
    }

    /// Sends a request and waits for its answer: the status and the body.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Result<(u16, Vec<u8>)> {
        self.buffer.clear();
        self.stream.write_all(request).context("failed to send a request")?;
        let mut chunk = [0; 16 * 1024];
        loop {
            let read = self.stream.read(&mut chunk).context("failed to read an answer")?;
            anyhow::ensure!(read > 0, "the server hung up instead of answering");
            self.buffer.extend_from_slice(&chunk[..read]);
            if let Some(answer) = parse(&self.buffer)? {
                return Ok((answer.status, self.buffer[answer.body].to_vec()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_only_with_its_last_byte() {
        let whole = b"HTTP/1.1 201 Created\r\nX: y\r\nContent-Length: 3\r\n\r\nabc";
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]).unwrap(), None, "{end}");
        }
        assert_eq!(parse(whole).unwrap(), Some(Answer { status: 201, body: 49..52 }));
    }

    #[test]
    fn answers_that_this_client_cannot_frame_are_faults() {
        for head in [
            "HTTP/1.1 200 OK",
            "HTTP/1.1 200 OK\r\ncontent-length: x",
            "HTTP/1.1 200 OK\r\nConnection: close",
        ] {
            assert!(parse(format!("{head}\r\n\r\n").as_bytes()).is_err(), "{head}");
        }
        assert!(parse(&[b'x'; MAX_HEAD_BYTES + 1]).is_err());
    }

    #[test]
    fn a_request_says_how_long_it_is() {
        let mut request = Vec::new();
        post(&mut request, "127.0.0.1:80".parse().unwrap(), "/execute", "{\"a\":1}");
        let text = String::from_utf8(request).unwrap();
        assert!(text.starts_with("POST /execute HTTP/1.1\r\nhost: 127.0.0.1:80\r\n"));
        assert!(text.ends_with("content-length: 7\r\n\r\n{\"a\":1}"));
    }
}
