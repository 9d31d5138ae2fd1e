//! Lines of the log on their way to where they are read. A thread writes them, so that no answer waits for a disk, or for
//! a reader that has stopped reading; what finds no place is counted, and the log says how many.

use std::io::{self, Write};
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait: some tenths of a second under the heaviest load, 2 MB.
const LINES: usize = 8_192;

/// How long the last lines may take at the end.
const FLUSH_TIME: Duration = Duration::from_secs(2);

/// How long lines are gathered: nobody reads faster, and the queue holds more than comes in that time.
const GATHER: Duration = Duration::from_millis(5);

/// How long is waited for a place among the last lines.
const FLUSH_PAUSE: Duration = Duration::from_millis(1);

enum Message {
    Line(Vec<u8>),
    /// Answered once everything before it is written.
    Flush(SyncSender<()>),
}

/// The way in.
#[derive(Clone)]
pub(crate) struct LogQueue {
    messages: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl LogQueue {
    /// Starts the thread that writes.
    pub(crate) fn start(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let (messages, waiting) = sync_channel(LINES);
        let queue = Self { messages, lost: Arc::default() };
        let lost = Arc::clone(&queue.lost);
        thread::Builder::new().name("log".to_owned()).spawn(move || write(sink, &waiting, &lost))?;
        Ok(queue)
    }

    /// How many lines found no place.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until what was logged before is written, for a while.
    pub(crate) fn flush(&self) {
        let (done, written) = sync_channel(1);
        let until = Instant::now() + FLUSH_TIME;
        let mut message = Message::Flush(done);
        while let Err(TrySendError::Full(back)) = self.messages.try_send(message) {
            if Instant::now() >= until {
                return;
            }
            thread::sleep(FLUSH_PAUSE);
            message = back;
        }
        // Nobody may be left to read the log, and nothing more can be done about it then.
        written.recv_timeout(until.saturating_duration_since(Instant::now())).ok();
    }
}

impl<'q> MakeWriter<'q> for LogQueue {
    type Writer = Entry<'q>;

    fn make_writer(&'q self) -> Entry<'q> {
        Entry(self)
    }
}

/// Takes one line, which comes in one piece.
pub(crate) struct Entry<'q>(&'q LogQueue);

impl Write for Entry<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.0.messages.try_send(Message::Line(line.to_vec())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.0.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes until nobody logs any more. A sink that fails is tried again with the next line.
fn write(mut sink: impl Write, messages: &Receiver<Message>, lost: &AtomicU64) {
    let mut told = 0;
    let mut lines = Vec::new();
    while let Ok(first) = messages.recv() {
        let mut flushes = Vec::new();
        for message in iter::once(first).chain(messages.try_iter()).take(LINES) {
            match message {
                Message::Line(line) => lines.extend(line),
                Message::Flush(done) => flushes.push(done),
            }
        }
        sink.write_all(&lines).and_then(|()| sink.flush()).ok();
        lines.clear();
        for done in flushes {
            done.send(()).ok();
        }
        let now = lost.load(Ordering::Relaxed);
        if now > told {
            // Through the log itself, so that it has the form of its neighbours.
            tracing::warn!(lines = now - told, "lines of the log were lost: it was not written fast enough");
            told = now;
        }
        // What comes meanwhile is written at once, and wakes nobody for each line.
        thread::sleep(GATHER);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};

    use tracing_subscriber::fmt::MakeWriter as _;

    use super::{LINES, LogQueue};

    /// More than the queue and one write of the sink hold together.
    const MANY: usize = LINES * 2 + 10;

    /// A sink that takes nothing until it is let go, and tells what it took.
    struct Stuck {
        go: Receiver<()>,
        took: Sender<Vec<u8>>,
    }

    impl Write for Stuck {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            // Once the test has let go for good, every receive fails at once.
            self.go.recv().ok();
            self.took.send(line.to_vec()).ok();
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_that_nobody_reads_holds_up_nobody_and_loses_what_has_no_place() {
        let (let_go, go) = sync_channel(0);
        let (took, taken) = channel();
        let queue = LogQueue::start(Stuck { go, took }).unwrap();
        // The sink may have taken as many as find a place, and then as many find a place again.
        for number in 0..MANY {
            queue.make_writer().write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        drop(let_go);
        queue.flush();
        let text: Vec<u8> = taken.try_iter().flatten().collect();
        let lines: Vec<_> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        assert_eq!(u64::try_from(lines.len()).unwrap() + queue.lost(), u64::try_from(MANY).unwrap());
        assert!(queue.lost() > 0);
        assert_eq!(lines[7], b"7");
    }
}
