//! The line to a server: frames go out, frames come in, and at some point it is over. Each frame is one line
//! (MCP, stdio transport), read within a bound before anything is parsed.

use core::any::Any;
use core::future::pending;
use core::time::Duration;
use std::io;

use hyper::header::HeaderMap;
use serde_json::{Map, Value};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, copy, sink,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client::AskError;
use super::message::FRAME_BYTES_MAX;

/// Frames that wait on either side.
const WAITING_MAX: usize = 64;

/// How long one that takes no more input may still say something: of most nothing is left by then but what they have said.
const SAYS_REST_WITHIN: Duration = Duration::from_secs(1);

/// The longest line of a server's own log that is shown, in characters.
const SAID_CHARS_MAX: usize = 1_024;

/// How much of a line is read, in bytes: secrets are looked for before it is cut.
const SAID_READ_MAX: usize = 64 << 10;

/// How many lines of a server's log are told of one connection; the rest is thrown away.
const SAID_LINES_MAX: usize = 1_000;

/// A frame that goes out.
#[derive(Debug)]
pub(super) struct Outbound {
    /// The id, where it asks something.
    pub(super) id: Option<u64>,
    /// The method.
    pub(super) method: String,
    /// What it is about: a tool, a resource.
    pub(super) name: Option<String>,
    /// Arguments that a request of HTTP says in its head, too.
    pub(super) mirrored: HeaderMap,
    /// The message, without a line end.
    pub(super) frame: Vec<u8>,
    /// Of a question: resolves when it is answered, and is closed when it is given up.
    pub(super) answered: Option<oneshot::Receiver<()>>,
}

impl Outbound {
    /// A message that is about nothing that has a name.
    pub(super) fn new(id: Option<u64>, method: &str, message: String) -> Self {
        let (method, frame) = (method.to_owned(), message.into_bytes());
        Self { id, method, name: None, mirrored: HeaderMap::new(), frame, answered: None }
    }
}

/// Resolves when a question is given up whose answer nobody waits for any more; never where it was answered, or is none.
pub(super) async fn given_up(answered: Option<oneshot::Receiver<()>>) {
    let Some(answered) = answered else { return pending().await };
    if answered.await.is_ok() {
        pending().await
    }
}

/// What comes in.
#[derive(Debug)]
pub(super) enum Inbound {
    /// A frame.
    Frame {
        frame: Vec<u8>,
        /// To which question it came, where the line tells.
        within: Option<u64>,
    },
    /// What was asked under this id will have no other answer.
    Failed { id: u64, error: AskError },
    /// What the server said by itself may have been lost, up to now.
    Missed,
    /// Nothing comes any more.
    Ended(String),
}

/// A line to a server. Dropping it ends the line.
pub(super) struct Link {
    pub(super) outbound: mpsc::Sender<Outbound>,
    pub(super) inbound: mpsc::Receiver<Inbound>,
    /// What keeps it open.
    pub(super) hold: Hold,
    /// Whether what comes says to which question it belongs.
    pub(super) tells_apart: bool,
    /// Whether the server is first asked as one of the stateless kind: where each question stands for itself.
    pub(super) tries_stateless: bool,
}

/// What keeps a line open, until it is dropped.
pub(super) struct Hold {
    _tasks: JoinSet<()>,
    _other: Option<Box<dyn Any + Send + Sync>>,
    /// What there is to say of what holds just this line.
    pub(super) told: Option<Told>,
}

/// Says what holds a line now, as members of what its receipts say.
pub(super) type Told = Box<dyn Fn() -> Map<String, Value> + Send + Sync>;

impl Hold {
    pub(super) fn new(tasks: JoinSet<()>, other: Option<Box<dyn Any + Send + Sync>>) -> Self {
        Self { _tasks: tasks, _other: other, told: None }
    }
}

/// Both ends of the queues between a line and whoever uses it.
pub(super) struct Queues {
    pub(super) to_server: mpsc::Receiver<Outbound>,
    pub(super) from_server: mpsc::Sender<Inbound>,
}

/// The queues of a line.
pub(super) fn queues() -> (mpsc::Sender<Outbound>, mpsc::Receiver<Inbound>, Queues) {
    let (outbound, to_server) = mpsc::channel(WAITING_MAX);
    let (from_server, inbound) = mpsc::channel(WAITING_MAX);
    (outbound, inbound, Queues { to_server, from_server })
}

/// A line over two streams of bytes.
pub(super) fn over(
    writes: impl AsyncWrite + Send + Unpin + 'static,
    reads: impl AsyncRead + Send + Unpin + 'static,
    other: Option<Box<dyn Any + Send + Sync>>,
) -> Link {
    let (outbound, inbound, Queues { to_server, from_server }) = queues();
    let mut tasks = JoinSet::new();
    tasks.spawn(write_all(writes, to_server, from_server.clone()));
    tasks.spawn(read_all(reads, from_server));
    Link { outbound, inbound, hold: Hold::new(tasks, other), tells_apart: false, tries_stateless: false }
}

async fn write_all(
    mut writes: impl AsyncWrite + Send + Unpin,
    mut to_server: mpsc::Receiver<Outbound>,
    from_server: mpsc::Sender<Inbound>,
) {
    while let Some(Outbound { frame, .. }) = to_server.recv().await {
        let mut line = frame;
        line.push(b'\n');
        let written = async {
            writes.write_all(&line).await?;
            writes.flush().await
        };
        if let Err(error) = written.await {
            // Nothing else is sent. What it has said before it went is heard first: an answer may be there.
            drop(to_server);
            if timeout(SAYS_REST_WITHIN, from_server.closed()).await.is_err() {
                // Part of it may have been read: whatever is asked may have been heard.
                drop(from_server.send(Inbound::Ended(format!("it takes no more input ({error})"))).await);
            }
            return;
        }
    }
}

async fn read_all(reads: impl AsyncRead + Send + Unpin, from_server: mpsc::Sender<Inbound>) {
    let mut reads = BufReader::with_capacity(64 << 10, reads);
    let why = loop {
        match line(&mut reads, FRAME_BYTES_MAX).await {
            Ok(Line::Whole(line)) if line.is_empty() => {}
            Ok(Line::Whole(line)) => {
                if from_server.send(Inbound::Frame { frame: line, within: None }).await.is_err() {
                    return;
                }
            }
            Ok(Line::TooLong) => break format!("it sent a message of more than {FRAME_BYTES_MAX} bytes"),
            Ok(Line::End) => break "it has ended".to_owned(),
            Err(error) => break format!("it cannot be read ({error})"),
        }
    };
    drop(from_server.send(Inbound::Ended(why)).await);
}

/// What a stream gave.
pub(super) enum Line {
    /// A line without its end.
    Whole(Vec<u8>),
    /// One that is longer than the bound; the stream is of no use any more.
    TooLong,
    /// Nothing comes any more.
    End,
}

/// The next line of a stream.
pub(super) async fn line(reads: &mut (impl AsyncBufRead + Unpin), bytes_max: usize) -> io::Result<Line> {
    let mut line = Vec::new();
    loop {
        let chunk = reads.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(if line.is_empty() { Line::End } else { Line::Whole(line) });
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let taken = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
        if line.len() + taken.len() > bytes_max {
            return Ok(Line::TooLong);
        }
        line.extend_from_slice(taken);
        let used = taken.len() + usize::from(end.is_some());
        reads.consume(used);
        if end.is_some() {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            return Ok(Line::Whole(line));
        }
    }
}

/// Tells what a server says on standard error, as far as it is not too much, without what `clean` takes out.
pub(super) async fn tell(
    server: String,
    reads: impl AsyncRead + Send + Unpin,
    clean: impl Fn(&str) -> String,
) {
    let mut reads = BufReader::new(reads);
    let (mut lines, mut line) = (0_usize, Vec::new());
    while lines < SAID_LINES_MAX {
        let Ok(chunk) = reads.fill_buf().await else { return };
        let is_over = chunk.is_empty();
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let taken = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
        let room = SAID_READ_MAX.saturating_sub(line.len()).min(taken.len());
        line.extend_from_slice(taken.get(..room).unwrap_or_default());
        let used = taken.len() + usize::from(end.is_some());
        reads.consume(used);
        if end.is_none() && !is_over {
            continue;
        }
        if !line.trim_ascii().is_empty() {
            lines += 1;
            tracing::info!(server, said = ?said(&line, &clean), "an upstream server wrote to its log");
        }
        if is_over {
            return;
        }
        line.clear();
    }
    // The rest is read, so that it can go on writing, and thrown away.
    drop(copy(&mut reads, &mut sink()).await);
}

/// A line as it is shown: cleaned whole, then cut.
fn said(line: &[u8], clean: impl Fn(&str) -> String) -> String {
    clean(&String::from_utf8_lossy(line)).chars().take(SAID_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, duplex};
    use tokio::time::pause;

    use super::{Inbound, Outbound, SAID_CHARS_MAX, over, said};

    fn told(inbound: Option<Inbound>) -> String {
        match inbound {
            Some(Inbound::Frame { frame, .. }) => String::from_utf8(frame).unwrap(),
            Some(Inbound::Ended(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_a_server_said_before_it_went_is_heard_though_it_takes_no_more() {
        pause();
        for is_gone in [true, false] {
            let (writes, reader) = duplex(64);
            drop(reader);
            let (reads, mut says) = duplex(64);
            let mut link = over(writes, reads, None);
            link.outbound.send(Outbound::new(Some(1), "tools/call", "{}".to_owned())).await.unwrap();
            link.outbound.closed().await;
            says.write_all(b"answer\n").await.unwrap();
            // Dropped at once, or kept.
            let _stays = Some(says).filter(|_| !is_gone);
            assert_eq!(told(link.inbound.recv().await), "answer");
            let why = told(link.inbound.recv().await);
            assert!(
                why.starts_with(if is_gone { "it has ended" } else { "it takes no more input" }),
                "{why}"
            );
        }
    }

    #[test]
    fn a_line_is_cleaned_before_it_is_cut() {
        let line = format!("{}SECRET", "x".repeat(SAID_CHARS_MAX - 3));
        let shown = said(line.as_bytes(), |text| text.replace("SECRET", "*"));
        assert!(shown.ends_with("xx*"), "{shown}");
    }
}
