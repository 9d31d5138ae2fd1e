//! An action that runs a program of the operator's in the jail. No shell is between: the sandbox knows the program as a
//! language of its own, whose code is empty. The payload is its standard input, and no secret reaches it, as none
//! reaches any guest.

use core::time::Duration;
use std::sync::Arc;

use execgate_model::{BoxFuture, Effect, Product, Verdict};
use execgate_sandbox::{Language, Network, Request, Run, Sandbox, Slot, Source, Stdin, VerdictBy};
use serde_json::json;

use super::bad::BadAction;
use super::definition::{CommandSpec, Common};
use crate::guest_json::{Numbers, value};
use crate::interpreter::{ending, enforced, run_in_jail, take_slot};
use crate::pure::Computed;
use crate::{BadCall, Call, Description, NotStarted, Prepared, RunContext, RunFault, Tool};

/// Both outputs of a program together, in bytes.
const OUTPUT_BYTES_MAX: u64 = 256 << 10;

/// The words of an argument vector, and all of them in bytes.
const WORDS_MAX: usize = 64;
const WORDS_BYTES_MAX: usize = 8 << 10;

/// A program in the jail.
pub(super) struct Command {
    pub(super) common: Arc<Common>,
    pub(super) spec: CommandSpec,
    pub(super) sandbox: Arc<Sandbox>,
    pub(super) network: Network,
}

/// What the sandbox calls a program. No language and no action has a colon.
fn language_name(action: &str) -> String {
    format!("action:{action}")
}

impl Command {
    /// The declaration, if it can be kept.
    pub(super) fn checked(spec: CommandSpec) -> Result<CommandSpec, BadAction> {
        let bad = |rule: String| BadAction::field("argv", rule);
        if !spec.argv.first().is_some_and(|program| program.starts_with('/')) {
            return Err(bad(
                "must begin with the path of a program in the image, as \"/usr/bin/jq\"".to_owned()
            ));
        }
        let bytes: usize = spec.argv.iter().map(String::len).sum();
        let is_plain = !spec.argv.iter().any(|word| word.contains('\0'));
        if spec.argv.len() > WORDS_MAX || bytes > WORDS_BYTES_MAX || !is_plain {
            return Err(bad(format!(
                "may have {WORDS_MAX} words without NUL, of {WORDS_BYTES_MAX} bytes together"
            )));
        }
        Ok(spec)
    }

    /// How the sandbox starts it.
    pub(super) fn language(action: &str, argv: &[String]) -> Language {
        Language {
            name: language_name(action),
            argv: argv.to_vec(),
            env: Vec::new(),
            source: Source::Descriptor,
            verdict: VerdictBy::ExitStatus,
            warm: Vec::new(),
            preloads: false,
            idle_bytes: 0,
            session: None,
        }
    }
}

impl Tool for Command {
    fn name(&self) -> &str {
        &self.common.name
    }

    fn describe(&self) -> Description {
        self.common.describe()
    }

    fn reaches_out(&self) -> bool {
        matches!(self.network, Network::Egress(_))
    }

    fn prepare(&self, call: &Call<'_>) -> Result<Box<dyn Prepared>, BadCall> {
        self.common.schema.check(call.payload)?;
        let wall = self.common.wall(call.options)?;
        if call.effect == Effect::DryRun {
            let command = json!({
                "argv": self.spec.argv,
                "profile": self.spec.profile.as_deref().unwrap_or("default"),
                "network": self.network.name(),
                "stdin": call.payload,
            });
            return Ok(Box::new(Computed(json!({
                "simulated": true, "effect": self.common.effect.word(), "command": command
            }))));
        }
        let mut request = Request::new(language_name(&self.common.name), Vec::new());
        request.stdin = Stdin::Bytes(call.payload.to_string().into_bytes());
        request.network = self.network.clone();
        request.limits.wall = wall;
        request.limits.output_bytes = OUTPUT_BYTES_MAX;
        let (common, sandbox) = (Arc::clone(&self.common), Arc::clone(&self.sandbox));
        Ok(Box::new(PreparedCommand { common, request, wall, sandbox, slot: None }))
    }
}

/// A checked call of a program.
struct PreparedCommand {
    common: Arc<Common>,
    request: Request,
    wall: Duration,
    sandbox: Arc<Sandbox>,
    slot: Option<Slot>,
}

impl Prepared for PreparedCommand {
    fn reserve(&mut self) -> Result<(), NotStarted> {
        self.slot = Some(take_slot(&self.sandbox)?);
        Ok(())
    }

    fn blocks(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, context: RunContext) -> BoxFuture<'static, Result<Product, RunFault>> {
        Box::pin(async move {
            let Self { common, request, wall, sandbox, slot } = *self;
            let run = run_in_jail(request, sandbox, slot, context).await?;
            Ok(product(&common, wall, run))
        })
    }
}

/// What a program left: its standard output, as the value that it is where it is JSON.
fn product(common: &Common, wall: Duration, mut run: Run) -> Product {
    let (verdict, error) = ending(&mut run, wall, "ExitCode");
    let mut enforced = enforced(&run);
    if let Some(held) = enforced.as_object_mut() {
        held.insert("action".to_owned(), common.enforced("command"));
    }
    let json = (!run.truncated).then(|| value(&run.stdout, Numbers::Exact).ok()).flatten();
    let format = if json.is_some() { "json" } else { "text" };
    let output = json.unwrap_or_else(|| String::from_utf8_lossy(&run.stdout).into());
    let stderr = String::from_utf8_lossy(&run.stderr);
    let mut result = json!({"output": output, "output_format": format, "stderr": stderr});
    if run.truncated {
        result["truncated"] = true.into();
    }
    if let Some(error) = error.as_ref().filter(|_| verdict != Verdict::Value) {
        result["error"] = json!({"name": error.name, "message": error.message});
    }
    Product { verdict, result, error, enforced }
}
