//! The life of one process, and its death.
//!
//! A death in process is simulated: the walk that reaches the named point unwinds, and from then on nothing of
//! that life gets through to the record, the rails or the tools, as if the process were gone. A real death is
//! `kill -9` of this very process, for a test binary that has started itself for that.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};

use execgate_model::CrashPoints;
use rustix::process::{Signal, getpid, kill_process};
use tokio::sync::watch;

use crate::Turns;

/// How an armed point kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// Nothing of this life gets through any more.
    Simulated,
    /// `kill -9` of this process.
    Real,
}

/// How a record fails that is not gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFault {
    /// It has no place for one more.
    Busy,
    /// It fails, and nothing is written.
    Before,
    /// It has written, and says that it failed.
    After,
    /// It takes long: others have many turns before it.
    Slow,
    /// It waits until the test lets it go on.
    Held,
}

/// One process, from its start to its death.
#[derive(Debug)]
pub struct Life {
    over: watch::Sender<bool>,
    armed: Mutex<Option<(&'static str, Death)>>,
    faults: Mutex<Vec<(&'static str, StoreFault)>>,
    reached: Mutex<Vec<&'static str>>,
    turns: Option<Arc<Turns>>,
    held: watch::Sender<bool>,
}

/// What a simulated death unwinds with.
struct Died;

impl Life {
    /// A new life. With `turns`, each step to the outside waits for its turn.
    #[must_use]
    pub fn begin(turns: Option<Arc<Turns>>) -> Self {
        Self {
            over: watch::Sender::new(false),
            armed: Mutex::default(),
            faults: Mutex::default(),
            reached: Mutex::default(),
            turns,
            held: watch::Sender::new(false),
        }
    }

    /// Lets this life end the next time that it comes to the point.
    pub fn arm(&self, point: &'static str, death: Death) {
        *self.armed.lock().unwrap_or_else(PoisonError::into_inner) = Some((point, death));
    }

    /// Lets the record fail so at its next step of this name.
    pub fn fail_at(&self, step: &'static str, fault: StoreFault) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push((step, fault));
    }

    /// How the record is to fail at a step that is about to happen.
    pub(crate) fn fault_at(&self, step: &'static str) -> Option<StoreFault> {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let at = faults.iter().position(|(armed, _)| *armed == step)?;
        Some(faults.remove(at).1)
    }

    /// Holds a step of the record until [`Self::let_go`].
    pub(crate) async fn hold(&self) {
        self.held.send_replace(true);
        // The sender lives as long as this value, so waiting cannot fail.
        drop(self.held.subscribe().wait_for(|held| !*held).await.ok());
    }

    /// Resolves once a step is held.
    pub async fn holds(&self) {
        drop(self.held.subscribe().wait_for(|held| *held).await.ok());
    }

    /// Lets the step that is held go on.
    pub fn let_go(&self) {
        self.held.send_replace(false);
    }

    /// The points that this life has come to, in order.
    #[must_use]
    pub fn points(&self) -> Vec<&'static str> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends this life now.
    pub fn end(&self) {
        self.over.send_replace(true);
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Resolves once it has ended.
    pub async fn ended(&self) {
        // The sender lives as long as this value, so waiting cannot fail.
        drop(self.over.subscribe().wait_for(|over| *over).await.ok());
    }

    /// Whether steps wait for their turn.
    pub(crate) const fn takes_turns(&self) -> bool {
        self.turns.is_some()
    }

    /// A step to the outside: it waits for its turn, and never happens once the life is over.
    pub(crate) async fn step(&self, name: &'static str) {
        if let Some(turns) = &self.turns {
            turns.take(name).await;
        }
        if self.is_over() {
            core::future::pending().await
        }
    }
}

impl CrashPoints for Life {
    fn reached(&self, point: &'static str) {
        if !self.is_over() {
            self.reached.lock().unwrap_or_else(PoisonError::into_inner).push(point);
        }
        let armed = *self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        match armed.filter(|(at, _)| *at == point) {
            Some((_, Death::Real)) => {
                let killed = kill_process(getpid(), Signal::KILL);
                assert!(killed.is_err(), "a killed process goes on");
            }
            Some((_, Death::Simulated)) => self.end(),
            None => {}
        }
        if self.is_over() {
            // Quiet: no panic hook runs, and no destructor of the walk gets through to anything that lasts.
            resume_unwind(Box::new(Died));
        }
    }
}
