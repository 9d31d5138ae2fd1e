//! Tools that do what their name says. Each start is an event of the journal.
//!
//! The `mark` of a payload is how a test finds its start again.

use std::mem::take;
use std::sync::Arc;

use execgate_model::{BoxFuture, ErrorReport, LimitKind, Product, Progress, Verdict};
use execgate_tool::{BadCall, Call, Cancel, Description, NotStarted, Prepared, RunContext, RunFault, Tool};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::languages::ScriptedLanguage;
use crate::{Event, Journal, Life};

/// What a scripted tool does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    /// It comes to an end that is observed.
    Ends(End),
    /// It waits until the test lets it go, or its caller goes.
    Blocks,
    /// The same, in the only slot that there is.
    BlocksTheSlot,
    /// There is no slot for it.
    Full,
    /// It is switched off.
    Unavailable,
    /// There is a slot for it, and it is not ready.
    Unready,
    /// It is ready once the test lets it go.
    UnreadyYet,
    /// It is claimed, and cannot be started.
    Unstartable,
    /// The same, once the test lets it go.
    UnstartableLater,
    /// It panics.
    Panics,
    /// It starts, and its end is lost.
    LosesItsEnd,
    /// Its process dies while it runs.
    Dies,
}

/// An end that is observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Value,
    /// A value that has no exact digest.
    Inexact,
    Exception,
    Exit(i32),
    Limit(LimitKind),
    Timeout,
}

/// Every scripted tool: its action and what it does.
const DEEDS: &[(&str, Deed)] = &[
    ("gives", Deed::Ends(End::Value)),
    ("inexact", Deed::Ends(End::Inexact)),
    ("raises", Deed::Ends(End::Exception)),
    ("exits", Deed::Ends(End::Exit(3))),
    ("out-of-memory", Deed::Ends(End::Limit(LimitKind::OutOfMemory))),
    ("killed", Deed::Ends(End::Limit(LimitKind::Killed))),
    ("process-limit", Deed::Ends(End::Limit(LimitKind::ProcessLimit))),
    ("disk-full", Deed::Ends(End::Limit(LimitKind::DiskFull))),
    ("output-limit", Deed::Ends(End::Limit(LimitKind::OutputLimit))),
    ("times-out", Deed::Ends(End::Timeout)),
    ("blocks", Deed::Blocks),
    ("one-slot", Deed::BlocksTheSlot),
    ("full", Deed::Full),
    ("unavailable", Deed::Unavailable),
    ("unready", Deed::Unready),
    ("unready-yet", Deed::UnreadyYet),
    ("unstartable", Deed::Unstartable),
    ("unstartable-later", Deed::UnstartableLater),
    ("panics", Deed::Panics),
    ("loses-its-end", Deed::LosesItsEnd),
    ("dies", Deed::Dies),
];

/// Where the handlers of a world work: outside of every process.
#[derive(Debug)]
pub struct Bench {
    journal: Arc<Journal>,
    go: watch::Sender<bool>,
}

impl Bench {
    /// A bench that writes into this journal.
    #[must_use]
    pub fn new(journal: Arc<Journal>) -> Self {
        Self { journal, go: watch::Sender::new(false) }
    }

    /// Lets every handler that blocks go on, now and from now on.
    pub fn let_go(&self) {
        self.go.send_replace(true);
    }

    /// Lets handlers block again.
    pub fn block(&self) {
        self.go.send_replace(false);
    }

    /// Every scripted action.
    pub fn actions() -> impl Iterator<Item = &'static str> {
        DEEDS.iter().map(|(name, _)| *name)
    }

    /// The tools of one process.
    pub(crate) fn tools(bench: &Arc<Self>, life: &Arc<Life>) -> Vec<Box<dyn Tool>> {
        let slots = Arc::new(Semaphore::new(1));
        let tool = |&(name, deed): &(&'static str, Deed)| {
            let place = Place { bench: Arc::clone(bench), life: Arc::clone(life), slots: Arc::clone(&slots) };
            Box::new(ScriptedTool { name, deed, place }) as Box<dyn Tool>
        };
        let tools = || DEEDS.iter().map(tool).collect::<Vec<_>>();
        tools().into_iter().chain(ScriptedLanguage::all(tools())).collect()
    }
}

#[derive(Clone)]
struct Place {
    bench: Arc<Bench>,
    life: Arc<Life>,
    slots: Arc<Semaphore>,
}

struct ScriptedTool {
    name: &'static str,
    deed: Deed,
    place: Place,
}

impl Tool for ScriptedTool {
    fn name(&self) -> &str {
        self.name
    }

    fn describe(&self) -> Description {
        Description { summary: "Does what its name says.".into(), schema: json!({"type": "object"}) }
    }

    fn prepare(&self, call: &Call<'_>) -> Result<Box<dyn Prepared>, BadCall> {
        let mark = match call.payload.get("mark") {
            None => "-".to_owned(),
            Some(Value::String(mark)) => mark.clone(),
            Some(_) => return Err(BadCall::at("/mark", "`mark` must be a string")),
        };
        Ok(Box::new(ScriptedRun {
            deed: self.deed,
            mark,
            payload: call.payload.clone(),
            place: self.place.clone(),
            slot: None,
        }))
    }
}

struct ScriptedRun {
    deed: Deed,
    mark: String,
    payload: Value,
    place: Place,
    slot: Option<OwnedSemaphorePermit>,
}

impl Prepared for ScriptedRun {
    fn ready<'a>(&'a self, _cancel: &'a Cancel) -> BoxFuture<'a, Result<(), NotStarted>> {
        Box::pin(async {
            if self.deed == Deed::Unready {
                return Err(NotStarted::Unavailable("it is in flux".to_owned()));
            }
            if self.deed == Deed::UnreadyYet {
                let mut go = self.place.bench.go.subscribe();
                drop(go.wait_for(|go| *go).await);
            }
            Ok(())
        })
    }

    fn reserve(&mut self) -> Result<(), NotStarted> {
        match self.deed {
            Deed::Full => return Err(NotStarted::Full),
            Deed::Unavailable => return Err(NotStarted::Unavailable("it is switched off".to_owned())),
            Deed::BlocksTheSlot => {
                let slots = Arc::clone(&self.place.slots);
                self.slot = Some(slots.try_acquire_owned().map_err(|_| NotStarted::Full)?);
            }
            Deed::Ends(_)
            | Deed::Blocks
            | Deed::Unready
            | Deed::UnreadyYet
            | Deed::Unstartable
            | Deed::UnstartableLater
            | Deed::Panics
            | Deed::LosesItsEnd
            | Deed::Dies => {}
        }
        self.place.bench.journal.write(Event::Reserved { mark: self.mark.clone() });
        Ok(())
    }

    /// As one in a jail: where there are threads to give away, its walk has one.
    fn blocks(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, mut context: RunContext) -> BoxFuture<'static, Result<Product, RunFault>> {
        // As a language: what was asked is not in memory any more.
        drop(take(&mut context.place));
        Box::pin(async move {
            self.place.life.step("run").await;
            if self.deed == Deed::UnstartableLater {
                self.block(&context).await;
            }
            if matches!(self.deed, Deed::Unstartable | Deed::UnstartableLater) {
                return Err(NotStarted::Fault("there is nothing to start".to_owned()).into());
            }
            let journal = &self.place.bench.journal;
            journal.write(Event::Started { run: context.run, mark: self.mark.clone() });
            if let Some(watcher) = &context.watcher {
                watcher.see(Progress::Stdout(b"seen"));
            }
            match self.deed {
                Deed::Ends(end) => Ok(product(end, &self.payload)),
                Deed::UnreadyYet => Ok(product(End::Value, &self.payload)),
                Deed::Blocks | Deed::BlocksTheSlot => {
                    self.block(&context).await;
                    Ok(product(End::Value, &self.payload))
                }
                Deed::Panics => std::panic::resume_unwind(Box::new("a handler that panics")),
                Deed::Full
                | Deed::Unavailable
                | Deed::Unready
                | Deed::Unstartable
                | Deed::UnstartableLater
                | Deed::LosesItsEnd => Err(RunFault::Lost("the end is lost".to_owned())),
                Deed::Dies => {
                    self.place.life.end();
                    core::future::pending().await
                }
            }
        })
    }
}

impl ScriptedRun {
    async fn block(&self, context: &RunContext) {
        let mut go = self.place.bench.go.subscribe();
        tokio::select! {
            biased;
            _ = go.wait_for(|go| *go) => {}
            () = context.cancel.cancelled() => {
                self.place.bench.journal.write(Event::Cancelled { run: context.run });
            }
        }
    }
}

/// What a handler that comes to its end leaves behind.
fn product(end: End, payload: &Value) -> Product {
    let (verdict, name, message) = match end {
        End::Value => return value(json!({"gave": payload})),
        End::Inexact => return value(json!({"number": u64::MAX})),
        End::Exception => (Verdict::Exception, "ValueError", "no such luck".to_owned()),
        End::Exit(code) => (Verdict::Exit { code }, "SystemExit", code.to_string()),
        End::Limit(limit) => (Verdict::Limit { limit }, limit.as_str(), "a limit ended it".to_owned()),
        End::Timeout => {
            let message = "Execution timed out after 10s".to_owned();
            (Verdict::Timeout { after_ms: 10_000 }, "Timeout", message)
        }
    };
    let error = ErrorReport { name: name.to_owned(), message, traceback: String::new() };
    let result = json!({"result": null, "error": error});
    Product { verdict, result, error: Some(error), enforced: Value::Null }
}

fn value(result: Value) -> Product {
    Product { verdict: Verdict::Value, result, error: None, enforced: Value::Null }
}
