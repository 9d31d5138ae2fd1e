//! Which thread a run has from its claim to its receipt.
//!
//! A thread that sleeps is woken in 30 to 100 µs on a virtual machine, which is a tenth of a short run. One that has to block
//! anyway, for its jail, therefore also writes what it can itself, and hands nothing to another thread in between.

use core::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};

use execgate_tool::on_own_thread;
use tokio::runtime::{Handle, RuntimeFlavor};

/// The thread that polls a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thread {
    /// One of those that drive all others too: it must never block.
    Shared,
    /// The run's own, until its receipt is durable: it may block.
    Own,
}

/// Threads that runs have now.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// The thread of one run. One of its own goes back when this is dropped.
#[derive(Debug)]
pub(crate) struct Lent(Thread);

impl Lent {
    /// That of a run which blocks, or does not. One thread is never given away: where the host lets this process start no
    /// more, nobody would drive the rest.
    pub(crate) fn to(blocks: bool) -> Self {
        let handle = Handle::current();
        let may = blocks && handle.runtime_flavor() == RuntimeFlavor::MultiThread;
        let spared = if may { handle.metrics().num_workers().saturating_sub(1) } else { 0 };
        let take = |taken: usize| (taken < spared).then_some(taken + 1);
        let taken = TAKEN.fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
        Self(if taken.is_ok() { Thread::Own } else { Thread::Shared })
    }

    pub(crate) fn thread(&self) -> Thread {
        self.0
    }

    /// Polls a part of a walk to its end on this thread: another takes over what it drove.
    pub(crate) async fn poll<F: Future>(&self, part: F) -> F::Output {
        match self.0 {
            Thread::Shared => part.await,
            Thread::Own => on_own_thread(|| Handle::current().block_on(part)),
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.0 == Thread::Own {
            TAKEN.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use tokio::runtime::{Builder, Runtime};

    use super::{Lent, Thread};

    fn of(workers: usize) -> Runtime {
        Builder::new_multi_thread().worker_threads(workers).build().unwrap()
    }

    #[test]
    fn the_last_thread_is_never_given_away() {
        let alone = Builder::new_current_thread().build().unwrap();
        assert_eq!(alone.block_on(async { Lent::to(true).thread() }), Thread::Shared);
        assert_eq!(of(1).block_on(async { Lent::to(true).thread() }), Thread::Shared);
        of(3).block_on(async {
            let lent = [true, false, true, true].map(Lent::to);
            let threads = lent.each_ref().map(Lent::thread);
            assert_eq!(threads, [Thread::Own, Thread::Shared, Thread::Own, Thread::Shared]);
            drop(lent);
            assert_eq!(Lent::to(true).thread(), Thread::Own);
        });
    }

    #[test]
    fn what_has_a_thread_of_its_own_stays_on_it_and_the_others_go_on() {
        let walk = async {
            let (tell, told) = mpsc::channel();
            let mine = thread::current().id();
            let part = async move {
                tokio::spawn(async move { tell.send(thread::current().id()) });
                // A thread that drives this runtime blocks here until another has taken up what it has begun.
                let theirs = told.recv().unwrap();
                (thread::current().id() == mine, theirs == mine)
            };
            Lent::to(true).poll(part).await
        };
        let walked = of(2).block_on(async { tokio::spawn(walk).await.unwrap() });
        assert_eq!(walked, (true, false));
    }
}
