//! A language as a tool: from a payload to a run in the jail, and from what the supervisor saw to a product.

use core::time::Duration;
use std::error::Error;
use std::sync::Arc;

use execgate_model::{BoxFuture, Effect, ErrorReport, LimitKind, Product, Verdict};
use execgate_sandbox::{self as sandbox, Request, Run, RunError, Sandbox, Slot, Stdin};
use serde_json::{Map, Value, json};

use crate::envelope::Envelope;
use crate::{BadCall, Call, Cancel, Description, NotStarted, Prepared, RunContext, RunFault, Tool};

/// The longest code, in characters: that of the largest code-run tier.
const CODE_MAX: usize = 50_000;

/// The longest standard input, in bytes.
const STDIN_MAX: usize = 256 * 1024;

/// The most arguments.
const ARGS_MAX: usize = 64;

/// The deadline of a call that asks for none, in seconds.
const TIMEOUT_DEFAULT_S: u64 = 30;

/// The longest deadline that a call may ask for, in seconds.
const TIMEOUT_MAX_S: u64 = 300;

/// How much output a call answers, in bytes over all its fields.
const OUTPUT_MAX: usize = 256 * 1024;

/// One language of one sandbox.
pub struct Interpreter {
    language: String,
    sandbox: Arc<Sandbox>,
}

impl Interpreter {
    /// The tool that runs a language of a sandbox.
    #[must_use]
    pub fn new(language: impl Into<String>, sandbox: Arc<Sandbox>) -> Self {
        Self { language: language.into(), sandbox }
    }
}

impl Tool for Interpreter {
    fn name(&self) -> &str {
        &self.language
    }

    fn describe(&self) -> Description {
        Description {
            summary: "Runs source code in a fresh jail that nothing survives.",
            schema: json!({
                "type": "object",
                "required": ["code"],
                "additionalProperties": false,
                "properties": {
                    "code": {"type": "string", "minLength": 1, "maxLength": CODE_MAX},
                    "timeout": {"type": "number", "minimum": 1, "maximum": TIMEOUT_MAX_S, "default": TIMEOUT_DEFAULT_S},
                    "stdin": {"type": "string", "maxLength": STDIN_MAX},
                    "args": {"type": "array", "items": {"type": "string"}, "maxItems": ARGS_MAX}
                }
            }),
        }
    }

    fn prepare(&self, call: &Call<'_>) -> Result<Box<dyn Prepared>, BadCall> {
        if call.effect == Effect::DryRun {
            return Err(BadCall::at("", format!("`{}` cannot be simulated", self.language)));
        }
        let Value::Object(payload) = call.payload else {
            return Err(BadCall::at("", "the payload must be an object"));
        };
        let wall = timeout(payload, call.options.timeout_ms)?;
        let mut request = Request::new(self.language.as_str(), code(payload)?);
        request.args = args(payload)?;
        request.stdin = stdin(payload)?;
        request.limits.wall = wall;
        request.limits.output_bytes = u64::try_from(OUTPUT_MAX).unwrap_or(u64::MAX);
        let known = ["code", "timeout", "stdin", "args"];
        if let Some(name) = payload.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(BadCall::at(
                "",
                format!("unknown field `{name}`; the fields are {}", known.join(", ")),
            ));
        }
        Ok(Box::new(PreparedRun { request, sandbox: Arc::clone(&self.sandbox), slot: None }))
    }
}

fn code(payload: &Map<String, Value>) -> Result<String, BadCall> {
    let code = match payload.get("code") {
        Some(Value::String(code)) if !code.trim().is_empty() => code,
        _ => return Err(BadCall::at("/code", "\"code\" is required - the source code to execute")),
    };
    let length = code.encode_utf16().count();
    if length > CODE_MAX {
        return Err(BadCall::at(
            "/code",
            format!("Code too long ({length} chars); up to {CODE_MAX} are allowed"),
        ));
    }
    Ok(code.clone())
}

fn timeout(payload: &Map<String, Value>, option_ms: Option<u64>) -> Result<Duration, BadCall> {
    let wrong =
        || BadCall::at("/timeout", format!("`timeout` must be a number from 1 to {TIMEOUT_MAX_S} (seconds)"));
    let wall = match payload.get("timeout") {
        None | Some(Value::Null) => {
            option_ms.map_or(Duration::from_secs(TIMEOUT_DEFAULT_S), Duration::from_millis)
        }
        Some(value) => {
            let seconds = value.as_f64().filter(|seconds| seconds.is_finite()).ok_or_else(wrong)?;
            Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?
        }
    };
    let allowed = Duration::from_secs(1)..=Duration::from_secs(TIMEOUT_MAX_S);
    if allowed.contains(&wall) { Ok(wall) } else { Err(wrong()) }
}

fn stdin(payload: &Map<String, Value>) -> Result<Stdin, BadCall> {
    match payload.get("stdin") {
        None | Some(Value::Null) => Ok(Stdin::Empty),
        Some(Value::String(text)) if text.len() <= STDIN_MAX => Ok(Stdin::Bytes(text.clone().into_bytes())),
        Some(_) => {
            Err(BadCall::at("/stdin", format!("`stdin` must be a string of at most {STDIN_MAX} bytes")))
        }
    }
}

fn args(payload: &Map<String, Value>) -> Result<Vec<String>, BadCall> {
    let wrong =
        || BadCall::at("/args", format!("`args` must be a list of at most {ARGS_MAX} strings without NUL"));
    let list = match payload.get("args") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() <= ARGS_MAX => list,
        Some(_) => return Err(wrong()),
    };
    let texts: Vec<_> = list
        .iter()
        .map(|arg| arg.as_str().filter(|text| !text.contains('\0')).map(str::to_owned))
        .collect::<Option<_>>()
        .ok_or_else(wrong)?;
    let bytes: usize = texts.iter().map(|text| text.len() + 1).sum();
    if bytes > Request::ARGS_BYTES_MAX { Err(wrong()) } else { Ok(texts) }
}

/// A checked call of a language.
struct PreparedRun {
    request: Request,
    sandbox: Arc<Sandbox>,
    slot: Option<Slot>,
}

impl Prepared for PreparedRun {
    fn reserve(&mut self) -> Result<(), NotStarted> {
        self.slot = Some(self.sandbox.reserve().map_err(|error| not_started(&error))?);
        Ok(())
    }

    fn run(self: Box<Self>, context: RunContext) -> BoxFuture<'static, Result<Product, RunFault>> {
        Box::pin(async move {
            let Self { mut request, sandbox, slot } = *self;
            let fault = |error: &dyn core::fmt::Display| NotStarted::Fault(error.to_string());
            let cord = sandbox::Cancel::new().map_err(|error| fault(&error))?;
            request.cancel = Some(cord.clone());
            let language = request.language.clone();
            let wall = request.limits.wall;
            let watch = tokio::spawn(pull_when_cancelled(context.cancel, cord));
            // The library blocks the thread that it runs on; the slot bounds how many there are.
            let run = tokio::task::spawn_blocking(move || match slot {
                Some(slot) => sandbox.run_in(slot, request),
                None => sandbox.run(request),
            });
            let run = run.await;
            watch.abort();
            match run {
                Ok(Ok(run)) => Ok(product(language, wall, run)),
                Ok(Err(error)) if error.is_lost() => Err(RunFault::Lost(error.to_string())),
                Ok(Err(error)) => Err(not_started(&error).into()),
                Err(panic) => Err(RunFault::Lost(panic.to_string())),
            }
        })
    }
}

async fn pull_when_cancelled(cancel: Cancel, cord: sandbox::Cancel) {
    cancel.cancelled().await;
    cord.cancel();
}

fn not_started(error: &RunError) -> NotStarted {
    if matches!(error, RunError::Full { .. } | RunError::NotHandedOut) {
        return NotStarted::Full;
    }
    let cause = Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    NotStarted::Fault(format!("{error}{cause}"))
}

/// Status and money follow only what the supervisor observed; the guest's frames lend the words.
fn product(language: String, wall: Duration, run: Run) -> Product {
    let told = run.exception.map(|told| ErrorReport {
        name: told.name,
        message: told.message,
        traceback: told.traceback,
    });
    let (verdict, error) = match run.verdict {
        sandbox::Verdict::Value => (Verdict::Value, None),
        sandbox::Verdict::Exception => (Verdict::Exception, told.or_else(|| Some(report("Exception", "")))),
        sandbox::Verdict::Exit(code) => {
            let name = if language == "bash" { "ExitCode" } else { "SystemExit" };
            (Verdict::Exit { code }, Some(report(name, &code.to_string())))
        }
        sandbox::Verdict::Limit(kind) => {
            let limit = limit(kind);
            (Verdict::Limit { limit }, Some(report(limit.as_str(), limit_message(limit))))
        }
        // A caller that hung up on a run without a nonce has ended it.
        sandbox::Verdict::Cancelled => {
            (Verdict::Limit { limit: LimitKind::Killed }, Some(report("Killed", "the caller hung up")))
        }
        sandbox::Verdict::Timeout => {
            let after_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
            let message = format!("Execution timed out after {}s", seconds(wall));
            (Verdict::Timeout { after_ms }, Some(report("Timeout", &message)))
        }
    };
    let enforced = serde_json::to_value(&run.enforced).unwrap_or_default();
    let envelope = Envelope {
        language,
        stdout: run.stdout,
        stderr: run.stderr,
        result: if verdict == Verdict::Value { run.value } else { None },
        error,
        truncated: run.truncated,
    };
    let (result, error) = envelope.into_value(OUTPUT_MAX);
    Product { verdict, result, error, enforced }
}

fn report(name: &str, message: &str) -> ErrorReport {
    ErrorReport { name: name.to_owned(), message: message.to_owned(), traceback: String::new() }
}

fn limit(kind: sandbox::LimitKind) -> LimitKind {
    match kind {
        sandbox::LimitKind::OutOfMemory => LimitKind::OutOfMemory,
        sandbox::LimitKind::Killed => LimitKind::Killed,
        sandbox::LimitKind::ProcessLimit => LimitKind::ProcessLimit,
        sandbox::LimitKind::DiskFull => LimitKind::DiskFull,
        sandbox::LimitKind::OutputLimit => LimitKind::OutputLimit,
    }
}

fn limit_message(limit: LimitKind) -> &'static str {
    match limit {
        LimitKind::OutOfMemory => "the run used more memory than it may",
        LimitKind::Killed => "the run was ended by a signal",
        LimitKind::ProcessLimit => "the run wanted more processes and threads than it may have",
        LimitKind::DiskFull => "the run wrote more bytes or files than it may",
        LimitKind::OutputLimit => "the run wrote more output than is kept and discarded",
    }
}

/// Seconds without needless decimals: `2`, `1.5`.
fn seconds(wall: Duration) -> String {
    let text = format!("{:.3}", wall.as_secs_f64());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use serde_json::{Value, json};

    use super::{args, code, seconds, timeout};

    fn object(value: Value) -> serde_json::Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn a_deadline_is_from_one_second_to_five_minutes() {
        let read = |value| timeout(&object(value), None).map_err(|bad| bad.pointer);
        assert_eq!(read(json!({})), Ok(Duration::from_secs(30)));
        assert_eq!(read(json!({"timeout": 1.5})), Ok(Duration::from_millis(1500)));
        for wrong in [json!(0), json!(-1), json!(300.1), json!("5"), json!(1e300), json!([])] {
            assert_eq!(read(json!({ "timeout": wrong })), Err("/timeout".to_owned()));
        }
    }

    #[test]
    fn code_is_counted_in_utf16_units_as_its_clients_do() {
        assert!(code(&object(json!({"code": "é".repeat(50_000)}))).is_ok());
        let long = code(&object(json!({"code": "𝄞".repeat(25_001)}))).unwrap_err();
        assert_eq!(long.message, "Code too long (50002 chars); up to 50000 are allowed");
        for wrong in [json!({}), json!({"code": " \n"}), json!({"code": 7})] {
            assert_eq!(code(&object(wrong)).unwrap_err().pointer, "/code");
        }
    }

    #[test]
    fn arguments_hold_no_nul() {
        assert!(args(&object(json!({"args": ["a", "b"]}))).is_ok());
        assert!(args(&object(json!({"args": ["a\u{0}b"]}))).is_err());
        assert!(args(&object(json!({"args": [1]}))).is_err());
    }

    #[test]
    fn seconds_have_no_needless_decimals() {
        assert_eq!(seconds(Duration::from_secs(2)), "2");
        assert_eq!(seconds(Duration::from_millis(1500)), "1.5");
    }
}
