//! Standard input and output of a process that speaks a protocol over them, read and written by the runtime itself: a
//! thread between costs every message two wake-ups.
//!
//! Neither end is ever made non-blocking: others may hold the same one (a shell, the standard error of this very process),
//! and it would be so for them, too. Each is asked before every step whether it has, or takes, something. What nobody can
//! wait for (a file), and a terminal, which people stop and start, goes by a thread.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec, read, write};
use rustix::termios::isatty;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Stdin, Stdout, stdin, stdout};

/// What a pipe takes in one piece once it takes anything, in bytes (`PIPE_BUF`); a socket takes more.
const PIECE_BYTES: usize = 4_096;

/// The lowest number that a descriptor of ours may have: those below are the standard ones.
const ABOVE_STANDARD: i32 = 3;

/// Without waiting.
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Standard input.
pub(crate) enum Input {
    /// A pipe or a socket.
    Line(AsyncFd<OwnedFd>),
    /// Anything else.
    Other(Stdin),
}

/// Standard output.
pub(crate) enum Output {
    /// A pipe or a socket.
    Line(AsyncFd<OwnedFd>),
    /// Anything else.
    Other(Stdout),
}

/// Both, within a runtime.
pub(crate) fn pipe() -> (Input, Output) {
    let input = line(io::stdin(), Interest::READABLE).map_or_else(|| Input::Other(stdin()), Input::Line);
    let output = line(io::stdout(), Interest::WRITABLE).map_or_else(|| Output::Other(stdout()), Output::Line);
    (input, output)
}

/// A descriptor of our own of what can be waited for.
#[expect(
    deprecated,
    reason = "its flaw is that of types which may give up their descriptor; what replaces it is `unsafe`"
)]
fn line(standard: impl AsFd, interest: Interest) -> Option<AsyncFd<OwnedFd>> {
    if isatty(&standard) {
        return None;
    }
    let own = fcntl_dupfd_cloexec(standard, ABOVE_STANDARD).ok()?;
    AsyncFd::with_interest(own, interest).ok()
}

/// Does one step, which does not wait, as soon as it can be done.
fn step<'f>(
    fd: &'f AsyncFd<OwnedFd>,
    wanted: PollFlags,
    mut until_ready: impl FnMut() -> Poll<io::Result<AsyncFdReadyGuard<'f, OwnedFd>>>,
    mut once: impl FnMut() -> Result<usize, Errno>,
) -> Poll<io::Result<usize>> {
    loop {
        let mut guard = ready!(until_ready())?;
        let mut asked = [PollFd::new(fd, wanted)];
        let done = match poll(&mut asked, Some(&AT_ONCE)) {
            Ok(0) => Err(Errno::AGAIN),
            Ok(_) => once(),
            Err(error) => Err(error),
        };
        match done {
            Ok(bytes) => return Poll::Ready(Ok(bytes)),
            Err(Errno::INTR) => {}
            // Nothing is there, or no room, or somebody else had it.
            Err(Errno::AGAIN) => guard.clear_ready(),
            Err(error) => return Poll::Ready(Err(error.into())),
        }
    }
}

impl AsyncRead for Input {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Other(stdin) => Pin::new(stdin).poll_read(context, into),
            Self::Line(fd) => {
                let fd = &*fd;
                let until_ready = || fd.poll_read_ready(context);
                let bytes =
                    ready!(step(fd, PollFlags::IN, until_ready, || read(fd, into.initialize_unfilled())));
                into.advance(bytes?);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Other(stdout) => Pin::new(stdout).poll_write(context, bytes),
            Self::Line(fd) => {
                let fd = &*fd;
                let piece = bytes.get(..PIECE_BYTES).unwrap_or(bytes);
                step(fd, PollFlags::OUT, || fd.poll_write_ready(context), || write(fd, piece))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Other(stdout) => Pin::new(stdout).poll_flush(context),
            // Nothing is kept back.
            Self::Line(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Other(stdout) => Pin::new(stdout).poll_shutdown(context),
            Self::Line(_) => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::UnixStream;
    use std::thread;

    use rustix::fs::{OFlags, fcntl_getfl};
    use rustix::io::dup;
    use rustix::pipe::pipe;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};

    use super::{Input, Output, line};

    /// More than a pipe holds, and no multiple of a piece.
    const MANY: usize = 300_001;

    fn pattern() -> Vec<u8> {
        (0..MANY).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    fn is_blocking(fd: impl AsFd) -> bool {
        !fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK)
    }

    /// What one end is written, the other reads, whole and to its end; neither end is made non-blocking for anybody.
    async fn passes(reads: OwnedFd, writes: OwnedFd) {
        let (theirs, ours) = (dup(&reads).unwrap(), dup(&writes).unwrap());
        let mut input = Input::Line(line(&reads, Interest::READABLE).unwrap());
        let mut output = Output::Line(line(&writes, Interest::WRITABLE).unwrap());
        drop((reads, writes));
        let send = async {
            output.write_all(&pattern()).await.unwrap();
            output.flush().await.unwrap();
            assert!(is_blocking(&ours));
            drop((output, ours));
        };
        let receive = async {
            let mut received = Vec::new();
            input.read_to_end(&mut received).await.unwrap();
            received
        };
        let ((), received) = tokio::join!(send, receive);
        assert!(received == pattern());
        assert!(is_blocking(&theirs));
    }

    #[tokio::test]
    async fn pipes_and_sockets_pass_all_of_it_and_stay_as_they_were() {
        let (reads, writes) = pipe().unwrap();
        passes(reads, writes).await;
        let (one, other) = UnixStream::pair().unwrap();
        passes(one.into(), other.into()).await;
    }

    #[tokio::test]
    async fn an_end_that_others_read_and_write_in_their_own_time_is_waited_for() {
        let ((reads, to_us), (from_us, writes)) = (pipe().unwrap(), pipe().unwrap());
        let mut input = Input::Line(line(&reads, Interest::READABLE).unwrap());
        let mut output = Output::Line(line(&writes, Interest::WRITABLE).unwrap());
        drop((reads, writes));
        let echoes = thread::spawn(move || {
            let (mut to_us, mut from_us) = (File::from(to_us), File::from(from_us));
            for byte in 0..100_u8 {
                to_us.write_all(&[byte]).unwrap();
                let mut echoed = [0];
                from_us.read_exact(&mut echoed).unwrap();
                assert_eq!(echoed, [byte]);
            }
        });
        let mut buffer = [0; 16];
        loop {
            let bytes = input.read(&mut buffer).await.unwrap();
            if bytes == 0 {
                break;
            }
            output.write_all(&buffer[..bytes]).await.unwrap();
        }
        echoes.join().unwrap();
    }

    #[tokio::test]
    async fn what_nobody_can_wait_for_goes_by_a_thread() {
        let file = tempfile::tempfile().unwrap();
        assert!(line(&file, Interest::READABLE).is_none());
    }
}
