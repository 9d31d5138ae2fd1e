//! Which thread a run has from its claim to its receipt.
//!
//! A thread that sleeps is woken in 30 to 100 µs on a virtual machine, which is a tenth of a short run. One that has to block
//! anyway, for its jail, therefore also writes what it can itself, and hands nothing to another thread in between.

use core::future::Future;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// The thread that polls a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thread {
    /// One of those that drive all others too: it must never block.
    Shared,
    /// The run's own, until its receipt is durable: it may block.
    Own,
}

impl Thread {
    /// That of a run which blocks, or does not. A runtime of one thread has none to give away.
    pub(crate) fn of(blocks: bool) -> Self {
        let has_others = Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
        if blocks && has_others { Self::Own } else { Self::Shared }
    }

    /// Polls a part of a walk to its end on this thread: another takes over what this one drives.
    pub(crate) async fn poll<F: Future>(self, part: F) -> F::Output {
        match self {
            Self::Shared => part.await,
            Self::Own => block_in_place(|| Handle::current().block_on(part)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use tokio::runtime::Builder;

    use super::Thread;

    #[test]
    fn a_runtime_of_one_thread_gives_none_away() {
        let runtime = Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(async { Thread::of(true) }), Thread::Shared);
        let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let of = |blocks| runtime.block_on(async move { Thread::of(blocks) });
        assert_eq!([of(true), of(false)], [Thread::Own, Thread::Shared]);
    }

    #[test]
    fn what_has_a_thread_of_its_own_stays_on_it_and_the_others_go_on() {
        let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let walk = async {
            let (tell, told) = mpsc::channel();
            let mine = thread::current().id();
            let part = async move {
                tokio::spawn(async move { tell.send(thread::current().id()) });
                // The only thread that drove this runtime blocks here until another has taken its place.
                let theirs = told.recv().unwrap();
                (thread::current().id() == mine, theirs == mine)
            };
            Thread::Own.poll(part).await
        };
        let walked = runtime.block_on(async { tokio::spawn(walk).await.unwrap() });
        assert_eq!(walked, (true, false));
    }
}
