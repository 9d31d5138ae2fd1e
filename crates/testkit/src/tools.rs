//! Tools that do what their name says. Each start is an event of the journal.
//!
//! The `mark` of a payload is how a test finds its start again.

use std::sync::Arc;

use execgate_model::{BoxFuture, ErrorReport, LimitKind, Product, Verdict};
use execgate_tool::{BadCall, Call, Description, NotStarted, Prepared, RunContext, RunFault, Tool};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::{Event, Journal, Life};

/// What a scripted tool does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Gives,
    Raises,
    Exits(i32),
    HitsLimit(LimitKind),
    TimesOut,
    Blocks,
    OneSlot,
    Panics,
    Full,
    Unavailable,
    Unstartable,
    LosesItsEnd,
    Inexact,
    Dies,
}

/// Every scripted tool: its action, what it does, and the outcome that is recorded, where it comes to one.
const DEEDS: &[(&str, Deed)] = &[
    ("gives", Deed::Gives),
    ("raises", Deed::Raises),
    ("exits", Deed::Exits(3)),
    ("out-of-memory", Deed::HitsLimit(LimitKind::OutOfMemory)),
    ("killed", Deed::HitsLimit(LimitKind::Killed)),
    ("process-limit", Deed::HitsLimit(LimitKind::ProcessLimit)),
    ("disk-full", Deed::HitsLimit(LimitKind::DiskFull)),
    ("output-limit", Deed::HitsLimit(LimitKind::OutputLimit)),
    ("times-out", Deed::TimesOut),
    ("blocks", Deed::Blocks),
    ("one-slot", Deed::OneSlot),
    ("panics", Deed::Panics),
    ("full", Deed::Full),
    ("unavailable", Deed::Unavailable),
    ("unstartable", Deed::Unstartable),
    ("loses-its-end", Deed::LosesItsEnd),
    ("inexact", Deed::Inexact),
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
        DEEDS.iter().map(tool).collect()
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
        Description { summary: "Does what its name says.", schema: json!({"type": "object"}) }
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
    fn reserve(&mut self) -> Result<(), NotStarted> {
        match self.deed {
            Deed::Full => return Err(NotStarted::Full),
            Deed::Unavailable => return Err(NotStarted::Unavailable("it is switched off".to_owned())),
            Deed::OneSlot => {
                let slots = Arc::clone(&self.place.slots);
                self.slot = Some(slots.try_acquire_owned().map_err(|_| NotStarted::Full)?);
            }
            _ => {}
        }
        self.place.bench.journal.write(Event::Reserved { mark: self.mark.clone() });
        Ok(())
    }

    fn run(self: Box<Self>, context: RunContext) -> BoxFuture<'static, Result<Product, RunFault>> {
        Box::pin(async move {
            self.place.life.step("run").await;
            if self.deed == Deed::Unstartable {
                return Err(NotStarted::Fault("there is nothing to start".to_owned()).into());
            }
            let journal = &self.place.bench.journal;
            journal.write(Event::Started { run: context.run, mark: self.mark.clone() });
            match self.deed {
                Deed::Blocks | Deed::OneSlot => self.block(&context).await,
                Deed::Panics => std::panic::resume_unwind(Box::new("a handler that panics")),
                Deed::LosesItsEnd => return Err(RunFault::Lost("the end is lost".to_owned())),
                Deed::Dies => {
                    self.place.life.end();
                    core::future::pending().await
                }
                _ => {}
            }
            Ok(product(self.deed, &self.payload))
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
fn product(deed: Deed, payload: &Value) -> Product {
    let report = |name: &str, message: &str| {
        Some(ErrorReport { name: name.to_owned(), message: message.to_owned(), traceback: String::new() })
    };
    let (verdict, error) = match deed {
        Deed::Raises => (Verdict::Exception, report("ValueError", "no such luck")),
        Deed::Exits(code) => (Verdict::Exit { code }, report("SystemExit", &code.to_string())),
        Deed::HitsLimit(limit) => (Verdict::Limit { limit }, report(limit.as_str(), "a limit ended it")),
        Deed::TimesOut => {
            (Verdict::Timeout { after_ms: 10_000 }, report("Timeout", "Execution timed out after 10s"))
        }
        _ => (Verdict::Value, None),
    };
    let result = match (&error, deed) {
        (Some(error), _) => json!({"result": null, "error": error}),
        (None, Deed::Inexact) => json!({"number": u64::MAX}),
        (None, _) => json!({"gave": payload}),
    };
    Product { verdict, result, error, enforced: Value::Null }
}
