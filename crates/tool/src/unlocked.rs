//! What an approval unlocks of the blocked tools (CONTRACTS 4): a command or code, in the same jail as every other.
//!
//! It must never be stronger than the language that is behind it, and decides nothing: whether it may run is for the
//! approve room.

use std::borrow::Cow;

use execgate_model::{Effect, Namespace, RunOptions};
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::names::Blocked;
use crate::pure::Computed;
use crate::{BadCall, Call, Description, Interpreter, Prepared, Tool};

/// The longest command or code, in bytes: the language behind it has a bound of its own, in characters.
const TEXT_BYTES_MAX: usize = 256 << 10;

/// How long one runs that asks for nothing else, in milliseconds: as other tools (CONTRACTS 4).
const TIMEOUT_MS: u64 = 10_000;

/// A blocked tool that runs a text in the jail.
pub struct Unlocked {
    blocked: Blocked,
    argument: &'static str,
    example: &'static str,
    interpreter: Interpreter,
}

impl Unlocked {
    /// `shell_exec`, and `bash` among tools.
    #[must_use]
    pub fn shell(bash: Interpreter) -> Option<Self> {
        Self::of("shell_exec", "command", r#"{"command": "ls -l"}"#, bash)
    }

    /// `python_exec`.
    #[must_use]
    pub fn python(python: Interpreter) -> Option<Self> {
        Self::of("python_exec", "code", r#"{"code": "6 * 7"}"#, python)
    }

    fn of(
        name: &str,
        argument: &'static str,
        example: &'static str,
        interpreter: Interpreter,
    ) -> Option<Self> {
        let blocked = Blocked::find(name, Namespace::Tools)?;
        Some(Self { blocked, argument, example, interpreter })
    }
}

impl Tool for Unlocked {
    fn name(&self) -> &str {
        self.blocked.name
    }

    fn describe(&self) -> Description {
        Description {
            summary: Cow::Borrowed("Runs a text in a fresh jail, once somebody has approved it."),
            schema: self.blocked.schema(),
        }
    }

    fn has_profiles(&self) -> bool {
        true
    }

    fn reaches_out(&self) -> bool {
        self.interpreter.reaches_out()
    }

    fn prepare(&self, call: &Call<'_>) -> Result<Box<dyn Prepared>, BadCall> {
        let arguments = Arguments::of(call.payload, &[self.argument], self.example)?;
        let text = arguments.short_text(self.argument, TEXT_BYTES_MAX)?;
        let timeout_ms = call.options.timeout_ms.or(Some(TIMEOUT_MS));
        let options = RunOptions { timeout_ms, ..call.options.clone() };
        let payload = json!({"code": text});
        let inner = Call { payload: &payload, options: &options, effect: Effect::Live };
        let prepared = self.interpreter.prepare(&inner).map_err(|bad| self.in_own_words(bad))?;
        Ok(match call.effect {
            Effect::Live => prepared,
            // Checked as if it were to run, and not run.
            Effect::DryRun => Box::new(Computed(self.simulated(text))),
        })
    }
}

impl Unlocked {
    fn simulated(&self, text: &str) -> Value {
        json!({
            "language": self.interpreter.name(),
            "stdout": "",
            "stderr": "",
            "result": format!("Simulated {}: {} bytes, not run", self.blocked.name, text.len()),
            "error": null,
        })
    }

    /// The language calls its text `code`.
    fn in_own_words(&self, bad: BadCall) -> BadCall {
        if bad.pointer == "/code" { BadCall { pointer: format!("/{}", self.argument), ..bad } } else { bad }
    }
}
