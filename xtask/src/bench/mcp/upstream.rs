//! `cargo xtask upstream`: the smallest MCP server, over pipes or HTTP. It has one tool, and tells its argument back.
//!
//! Messages are read as our own client and the benchmark's write them: one line or one body each. It is for measuring alone.

use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// The tool.
pub(super) const TOOL: &str = "note";

/// Larger bodies are refused.
const BODY_MAX: usize = 1 << 20;

/// `cargo xtask upstream`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Listen on a free port of the loopback address instead of standard input, and say which.
    #[arg(long)]
    http: bool,
}

/// Serves until its client is gone; over HTTP until it is killed.
pub(crate) fn run(args: &Args) -> Result<bool> {
    if !args.http {
        over_pipes(io::stdin().lock(), io::stdout().lock()).context("failed to serve over pipes")?;
        return Ok(true);
    }
    let listener = TcpListener::bind("127.0.0.1:0").context("failed to listen on the loopback address")?;
    println!("listening on http://{}", listener.local_addr()?);
    for stream in listener.incoming().flatten() {
        thread::spawn(move || over_http(&stream));
    }
    Ok(true)
}

fn over_pipes(input: impl BufRead, output: impl Write) -> io::Result<()> {
    let mut output = BufWriter::new(output);
    for line in input.lines() {
        if let Some(answer) = answer(line?.as_bytes()) {
            writeln!(output, "{answer}")?;
            output.flush()?;
        }
    }
    Ok(())
}

/// Serves one connection; whatever is wrong with it ends it.
fn over_http(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reads = BufReader::new(stream);
    let mut writes = stream;
    let mut body = Vec::new();
    while let Some(head) = head(&mut reads)? {
        body.resize(head.length, 0);
        reads.read_exact(&mut body)?;
        let answer = match answer(&body) {
            Some(answer) => format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
                answer.len()
            ),
            None => "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned(),
        };
        writes.write_all(answer.as_bytes())?;
        if head.is_last {
            break;
        }
    }
    Ok(())
}

/// Of the head of a request, what is heeded here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Head {
    length: usize,
    is_last: bool,
}

/// The next head; `None` where the client has hung up.
fn head(reads: &mut impl BufRead) -> io::Result<Option<Head>> {
    let (mut head, mut line) = (Head::default(), String::new());
    loop {
        line.clear();
        if reads.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Some(head));
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            let length = value.trim().parse().ok().filter(|length| *length <= BODY_MAX);
            head.length = length.ok_or(io::ErrorKind::InvalidData)?;
        } else if name.eq_ignore_ascii_case("connection") {
            head.is_last = value.trim().eq_ignore_ascii_case("close");
        }
    }
}

/// The answer to a message; `None` for one that wants none.
fn answer(message: &[u8]) -> Option<String> {
    let message: Value = serde_json::from_slice(message).ok()?;
    let id = message.get("id")?;
    let result = match message.get("method")?.as_str()? {
        "initialize" => json!({
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "bench", "version": "1"},
        }),
        "tools/list" => json!({"tools": [{
            "name": TOOL,
            "description": "Tells its argument back.",
            "inputSchema": {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]},
            "annotations": {"readOnlyHint": true},
        }]}),
        "tools/call" => {
            json!({"content": [{"type": "text", "text": message["params"]["arguments"]["data"]}], "isError": false})
        }
        "ping" => json!({}),
        _ => {
            let error = json!({"code": -32_601, "message": "no such method"});
            return Some(json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string());
        }
    };
    Some(json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"note","arguments":{"data":"x1"}}}"#;

    #[test]
    fn a_call_is_answered_with_its_argument_and_a_notification_is_not_answered() {
        let answered: Value = serde_json::from_str(&answer(CALL.as_bytes()).unwrap()).unwrap();
        assert_eq!((&answered["id"], &answered["result"]["content"][0]["text"]), (&json!(7), &json!("x1")));
        let mut said = Vec::new();
        let told = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}}\n{CALL}\n");
        over_pipes(told.as_bytes(), &mut said).unwrap();
        assert_eq!(said.iter().filter(|byte| **byte == b'\n').count(), 1);
    }

    #[test]
    fn a_head_says_how_long_its_body_is_and_whether_it_is_the_last() {
        let text = "POST /mcp HTTP/1.1\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
        assert_eq!(head(&mut text.as_bytes()).unwrap(), Some(Head { length: 5, is_last: true }));
        assert_eq!(head(&mut "".as_bytes()).unwrap(), None);
        assert!(head(&mut "A: b\r\nContent-Length: x\r\n\r\n".as_bytes()).is_err());
    }
}
