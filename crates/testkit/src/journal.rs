//! What happened outside of the gateway: handlers that started, money that moved.
//!
//! It outlives every process of a world, and what a test believes of a history it reads here and nowhere else.
//! With a file behind it, it outlives even a process that is really killed: an event is written before whoever
//! caused it hears of it.

use core::fmt;
use core::str::FromStr;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use execgate_model::RunId;
use tokio::sync::watch;

/// One thing that happened outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A handler took the slot that it will need.
    Reserved {
        /// The `mark` of its payload.
        mark: String,
    },
    /// A handler started.
    Started {
        /// The run.
        run: RunId,
        /// The `mark` of its payload.
        mark: String,
    },
    /// A handler was told that nobody waits for it any more.
    Cancelled {
        /// The run.
        run: RunId,
    },
    /// A rail looked at a credential and found it good.
    Verified {
        /// The claim.
        claim: String,
    },
    /// A rail took money.
    Captured {
        /// The claim.
        claim: String,
        /// How much, in millionths of a dollar.
        micros: u64,
    },
    /// A rail let go of money.
    Released {
        /// The claim.
        claim: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved { mark } => write!(f, "reserved {mark}"),
            Self::Started { run, mark } => write!(f, "started {run} {mark}"),
            Self::Cancelled { run } => write!(f, "cancelled {run}"),
            Self::Verified { claim } => write!(f, "verified {claim}"),
            Self::Captured { claim, micros } => write!(f, "captured {micros} {claim}"),
            Self::Released { claim } => write!(f, "released {claim}"),
        }
    }
}

impl FromStr for Event {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let strange = || format!("no event is written `{line}`");
        let (word, rest) = line.split_once(' ').ok_or_else(strange)?;
        let text = rest.to_owned();
        Ok(match word {
            "reserved" => Self::Reserved { mark: text },
            "started" => {
                let (run, mark) = rest.split_once(' ').ok_or_else(strange)?;
                Self::Started { run: run.parse().map_err(|_| strange())?, mark: mark.to_owned() }
            }
            "cancelled" => Self::Cancelled { run: rest.parse().map_err(|_| strange())? },
            "verified" => Self::Verified { claim: text },
            "captured" => {
                let (micros, claim) = rest.split_once(' ').ok_or_else(strange)?;
                Self::Captured { micros: micros.parse().map_err(|_| strange())?, claim: claim.to_owned() }
            }
            "released" => Self::Released { claim: text },
            _ => return Err(strange()),
        })
    }
}

/// All that happened outside, in its order.
#[derive(Debug)]
pub struct Journal {
    events: watch::Sender<Vec<Event>>,
    file: Option<Mutex<File>>,
}

impl Default for Journal {
    fn default() -> Self {
        Self { events: watch::Sender::new(Vec::new()), file: None }
    }
}

impl Journal {
    /// A journal that goes on where the file ends.
    ///
    /// # Panics
    /// If the file cannot be read or written, or holds something else.
    #[must_use]
    pub fn on_file(path: &Path) -> Self {
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).open(path).expect("the journal can be opened");
        let text = std::fs::read_to_string(path).expect("the journal can be read");
        let events = text.lines().map(|line| line.parse().expect("a journal holds events")).collect();
        Self { events: watch::Sender::new(events), file: Some(Mutex::new(file)) }
    }

    /// Writes down an event.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn write(&self, event: Event) {
        if let Some(file) = &self.file {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            file.write_all(format!("{event}\n").as_bytes()).expect("the journal can be written");
        }
        self.events.send_modify(|events| events.push(event));
    }

    /// Writes down an event unless it is there already; false if it was.
    pub fn write_once(&self, event: Event) -> bool {
        let fresh = !self.events.borrow().contains(&event);
        if fresh {
            self.write(event);
        }
        fresh
    }

    /// Everything so far.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.events.borrow().clone()
    }

    /// How many events so far are like that.
    #[must_use]
    pub fn count(&self, like: impl Fn(&Event) -> bool) -> usize {
        self.events.borrow().iter().filter(|event| like(event)).count()
    }

    /// How many handlers have started.
    #[must_use]
    pub fn starts(&self) -> usize {
        self.count(|event| matches!(event, Event::Started { .. }))
    }

    /// How many captures there were.
    #[must_use]
    pub fn captures(&self) -> usize {
        self.count(|event| matches!(event, Event::Captured { .. }))
    }

    /// How many holds were let go of.
    #[must_use]
    pub fn releases(&self) -> usize {
        self.count(|event| matches!(event, Event::Released { .. }))
    }

    /// Whether money of this claim was taken.
    #[must_use]
    pub fn is_captured(&self, claim: &str) -> bool {
        self.count(|event| matches!(event, Event::Captured { claim: taken, .. } if taken == claim)) > 0
    }

    /// Whether the hold of this claim was let go of.
    #[must_use]
    pub fn is_released(&self, claim: &str) -> bool {
        self.count(|event| matches!(event, Event::Released { claim: free } if free == claim)) > 0
    }

    /// Waits until so many events are like that.
    pub async fn until(&self, wanted: usize, like: impl Fn(&Event) -> bool) {
        let enough = |events: &Vec<Event>| events.iter().filter(|event| like(event)).count() >= wanted;
        // The sender lives as long as this value, so waiting cannot fail.
        drop(self.events.subscribe().wait_for(enough).await.ok());
    }

    /// Waits until so many handlers have started.
    pub async fn until_started(&self, wanted: usize) {
        self.until(wanted, |event| matches!(event, Event::Started { .. })).await;
    }
}
