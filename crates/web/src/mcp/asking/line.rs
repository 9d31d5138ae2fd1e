//! Questions on a pipe: between the messages that go to its client, and answers taken out of those that come from it.

use execgate_model::Caller;
use serde_json::Value;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, Result,
};
use tokio::sync::mpsc;

use super::book::{Questions, Said};

/// Hands on what a client says, but for its answers, until it has ended. A line that is longer is handed on in pieces, for
/// whoever reads it to refuse.
pub(in crate::mcp) async fn filtered(
    questions: &Questions,
    caller: &Caller,
    line_max: u64,
    input: impl AsyncRead + Send + Unpin,
    mut to: impl AsyncWrite + Send + Unpin,
) -> Result<()> {
    let mut reads = BufReader::with_capacity(64 << 10, input);
    let (mut line, mut is_torn) = (Vec::new(), false);
    loop {
        line.clear();
        if (&mut reads).take(line_max).read_until(b'\n', &mut line).await? == 0 {
            return to.shutdown().await;
        }
        let is_whole = !is_torn && line.last() == Some(&b'\n');
        is_torn = line.last() != Some(&b'\n');
        match Said::of(&line).filter(|_| is_whole) {
            // One to nothing is no message that anybody waits for.
            Some(said) => drop(questions.answer(caller, "", said)),
            None => to.write_all(&line).await?,
        }
    }
}

/// Writes whole lines and questions, one after the other, until there are no more lines.
pub(in crate::mcp) async fn merged(
    lines: impl AsyncRead + Send + Unpin,
    mut questions: mpsc::Receiver<Value>,
    mut output: impl AsyncWrite + Send + Unpin,
) -> Result<()> {
    let mut reads = BufReader::with_capacity(64 << 10, lines);
    let mut line = Vec::new();
    loop {
        tokio::select! {
            // What was read of a line stays in it when a question comes first.
            read = reads.read_until(b'\n', &mut line) => {
                let read = read?;
                output.write_all(&line).await?;
                output.flush().await?;
                line.clear();
                if read == 0 {
                    return Ok(());
                }
            }
            Some(question) = questions.recv() => {
                output.write_all(format!("{question}\n").as_bytes()).await?;
                output.flush().await?;
            }
        }
    }
}
