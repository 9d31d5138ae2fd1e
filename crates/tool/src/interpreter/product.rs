//! From what the supervisor saw to a product.

use core::time::Duration;

use execgate_model::{ErrorReport, LimitKind, Product, Verdict};
use execgate_sandbox::{self as sandbox, Run};
use serde_json::Value;

use super::envelope::{Envelope, Extras};
use super::rich;

/// What of an answer depends on what was asked.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) language: String,
    pub(super) wall: Duration,
    pub(super) output_max: usize,
    pub(super) rich: bool,
    /// The profile that was asked for, by the caller or by the rules.
    pub(super) profile: Option<String>,
    pub(super) files: bool,
}

/// Status and money follow only what the supervisor observed; the guest's frames lend the words.
pub(crate) fn ending(run: &mut Run, wall: Duration, exit_name: &str) -> (Verdict, Option<ErrorReport>) {
    let told = run.exception.take().map(|told| ErrorReport {
        name: told.name,
        message: told.message,
        traceback: told.traceback,
    });
    match run.verdict {
        sandbox::Verdict::Value => (Verdict::Value, None),
        sandbox::Verdict::Exception => (Verdict::Exception, told.or_else(|| Some(report("Exception", "")))),
        sandbox::Verdict::Exit(code) => (Verdict::Exit { code }, Some(report(exit_name, &code.to_string()))),
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
    }
}

/// What held a run, for its receipt.
pub(crate) fn enforced(run: &Run) -> Value {
    let mut enforced = serde_json::to_value(&run.enforced).unwrap_or_default();
    if let (Some(held), Some(report)) = (enforced.as_object_mut(), &run.network) {
        held.insert("egress".to_owned(), serde_json::to_value(report).unwrap_or_default());
    }
    enforced
}

/// What a run of code left.
pub(super) fn product(wanted: &Wanted, mut run: Run) -> Product {
    let exit_name = if wanted.language == "bash" { "ExitCode" } else { "SystemExit" };
    let (verdict, error) = ending(&mut run, wanted.wall, exit_name);
    let mut enforced = enforced(&run);
    if let (Some(held), Some(profile)) = (enforced.as_object_mut(), &wanted.profile) {
        held.insert("profile".to_owned(), profile.clone().into());
    }
    // What nobody asked for is not read.
    let shown = wanted.rich.then(|| rich::results(&run.displays));
    let left_out = shown.as_ref().is_some_and(|(_, left_out)| *left_out);
    let envelope = Envelope {
        language: wanted.language.clone(),
        stdout: run.stdout,
        stderr: run.stderr,
        result: if verdict == Verdict::Value { run.value } else { None },
        error,
        truncated: run.truncated || left_out,
        extras: Extras {
            results: shown.map(|(results, _)| results),
            files: wanted.files.then_some(run.files),
        },
    };
    let (result, error) = envelope.into_value(wanted.output_max);
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

    use super::seconds;

    #[test]
    fn seconds_have_no_needless_decimals() {
        assert_eq!(seconds(Duration::from_secs(2)), "2");
        assert_eq!(seconds(Duration::from_millis(1500)), "1.5");
    }
}
