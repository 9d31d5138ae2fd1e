//! One language as a tool, in every sandbox that has it.

use std::error::Error;
use std::sync::Arc;

use execgate_model::{BoxFuture, Effect, Product, Progress, Watcher};
use execgate_sandbox::{self as sandbox, Network, Request, Run, RunError, Sandbox, Sink, Slot, Stream, Tier};
use tokio::task::{JoinError, spawn_blocking};

use super::bounds::Bounds;
use super::payload::{self, Asked};
use super::product::{Wanted, product};
use super::profiles::Profiles;
use crate::own_thread::is_own;
use crate::{BadCall, Call, Description, NotStarted, Prepared, RunContext, RunFault, Tool};

/// One language of some sandboxes.
pub struct Interpreter {
    language: String,
    profiles: Profiles,
    network: Network,
}

impl Interpreter {
    /// The tool that runs a language.
    #[must_use]
    pub fn new(language: impl Into<String>, profiles: Profiles) -> Self {
        Self { language: language.into(), profiles, network: Network::None }
    }

    /// The same, with a network for its runs.
    #[must_use]
    pub fn with_network(self, network: Network) -> Self {
        Self { network, ..self }
    }

    /// The sandbox that a call is for, if it has the language and the tier that are wanted.
    fn sandbox(&self, asked: &Asked) -> Result<&Arc<Sandbox>, BadCall> {
        let language = &self.language;
        let Some(sandbox) = self.profiles.find(asked.profile.as_deref()) else {
            let names = self.profiles.names();
            return Err(BadCall::at("/profile", format!("unknown profile; the profiles are {names}")));
        };
        if !sandbox.languages().any(|name| name == language) {
            return Err(BadCall::at("/profile", format!("this profile has no {language}")));
        }
        let Some(asked) = &asked.tier else { return Ok(sandbox) };
        let here = sandbox.enforced().tier;
        let names = Tier::ALL.map(Tier::name).join(", ");
        match Tier::named(asked) {
            None => Err(BadCall::at("/tier", format!("unknown tier; the tiers are {names}"))),
            // A tier that was asked for is never served by a weaker one.
            Some(tier) if tier > here => {
                Err(BadCall::at("/tier", format!("the tier {tier} is not served here; {here} is")))
            }
            Some(_) => Ok(sandbox),
        }
    }
}

impl Tool for Interpreter {
    fn name(&self) -> &str {
        &self.language
    }

    fn describe(&self) -> Description {
        Description {
            summary: "Runs source code in a fresh jail that nothing survives.".into(),
            schema: payload::schema(&Bounds::of(None)),
        }
    }

    fn has_profiles(&self) -> bool {
        true
    }

    fn reaches_out(&self) -> bool {
        matches!(self.network, Network::Egress(_))
    }

    fn prepare(&self, call: &Call<'_>) -> Result<Box<dyn Prepared>, BadCall> {
        if call.effect == Effect::DryRun {
            return Err(BadCall::at("", format!("`{}` cannot be simulated", self.language)));
        }
        let bounds = Bounds::of(call.options.offer);
        let mut asked = payload::read(&self.language, call.payload, &bounds, call.options.timeout_ms)?;
        // A call that names another was refused by the rules.
        if let Some(wanted) = &call.options.profile {
            asked.profile = Some(wanted.clone());
        }
        let sandbox = Arc::clone(self.sandbox(&asked)?);
        let request = Request { network: self.network.clone(), ..asked.request };
        let wanted = Wanted {
            language: self.language.clone(),
            wall: request.limits.wall,
            output_max: bounds.output_max,
            rich: request.rich,
            profile: asked.profile,
            files: request.collect.is_some(),
        };
        Ok(Box::new(PreparedRun { request, wanted, sandbox, slot: None }))
    }
}

/// A checked call of a language.
struct PreparedRun {
    request: Request,
    wanted: Wanted,
    sandbox: Arc<Sandbox>,
    slot: Option<Slot>,
}

impl Prepared for PreparedRun {
    fn reserve(&mut self) -> Result<(), NotStarted> {
        self.slot = Some(take_slot(&self.sandbox)?);
        Ok(())
    }

    fn blocks(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, context: RunContext) -> BoxFuture<'static, Result<Product, RunFault>> {
        Box::pin(async move {
            let Self { request, wanted, sandbox, slot } = *self;
            let run = run_in_jail(request, sandbox, slot, context).await?;
            Ok(product(&wanted, run))
        })
    }
}

/// Takes a slot of a sandbox.
pub(crate) fn take_slot(sandbox: &Sandbox) -> Result<Slot, NotStarted> {
    sandbox.reserve().map_err(|error| not_started(&error))
}

/// Runs a request to its end, in the slot that was taken for it.
pub(crate) async fn run_in_jail(
    mut request: Request,
    sandbox: Arc<Sandbox>,
    slot: Option<Slot>,
    context: RunContext,
) -> Result<Run, RunFault> {
    // What was asked is in files for the sandbox by now.
    drop(context.place);
    let fault = |error: &dyn core::fmt::Display| NotStarted::Fault(error.to_string());
    let cord = sandbox::Cancel::new().map_err(|error| fault(&error))?;
    request.cancel = Some(cord.clone());
    request.sink = context.watcher.map(show);
    let knot = context.cancel.tie(move || cord.cancel());
    // The library blocks the thread that it runs on; the slot bounds how many there are.
    let run = blocking(move || match slot {
        Some(slot) => sandbox.run_in(slot, request),
        None => sandbox.run(request),
    });
    let run = run.await;
    drop(knot);
    match run {
        Ok(Ok(run)) => Ok(run),
        Ok(Err(error)) if error.is_lost() => Err(RunFault::Lost(error.to_string())),
        Ok(Err(error)) => Err(not_started(&error).into()),
        Err(panic) => Err(RunFault::Lost(panic.to_string())),
    }
}

/// Does what blocks: on the thread that this is polled on, where that is the run's, since waking one more costs as much as
/// a short run; else on another.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    if is_own() { Ok(work()) } else { spawn_blocking(work).await }
}

/// Output as it comes, for whoever watches.
fn show(watcher: Watcher) -> Sink {
    Box::new(move |stream, bytes| {
        watcher.see(match stream {
            Stream::Stdout => Progress::Stdout(bytes),
            Stream::Stderr => Progress::Stderr(bytes),
        });
    })
}

fn not_started(error: &RunError) -> NotStarted {
    if matches!(error, RunError::Full { .. } | RunError::NotHandedOut) {
        return NotStarted::Full;
    }
    let cause = Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    NotStarted::Fault(format!("{error}{cause}"))
}
