//! Telling what became of a run: to a person, or as JSON; and the exit code.

use std::os::fd::OwnedFd;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use execgate_sandbox::{Decision, Exception, NetworkReport, Outcome as Reached, Run as Ran, Verdict};
use serde_json::{Value, json};

use super::Run;
use crate::terminal;

/// The exit code of a run that met its deadline, as timeout(1) has it.
const EXIT_TIMEOUT: u8 = 124;
/// The exit code of a run that a limit or a signal ended.
const EXIT_KILLED: u8 = 137;

/// What is a picture or a document of its own, and the ending of its file.
const SAVED: [(&str, &str); 3] = [("png", "png"), ("jpeg", "jpg"), ("pdf", "pdf")];

/// Says what the proxy was against: the code may have kept it to itself.
fn tell_refused(report: &NetworkReport) {
    for one in report.decisions.iter().filter(|one| one.outcome != Reached::Allowed) {
        let Decision { host, port, why, .. } = one;
        let what = if one.outcome == Reached::Asked { "was asked for to the end" } else { "was not reached" };
        terminal::note(format_args!("execgate: {host} {port} {what}: {why}"));
    }
    if !report.is_whole {
        terminal::note("execgate: the proxy ended before the run, or did not tell everything");
    }
}

impl Run {
    pub(super) fn tell(&self, language: &str, ran: &Ran, results: &[Value]) -> anyhow::Result<()> {
        if self.json {
            self.print_json(language, ran, results)?;
        } else {
            if let Some(value) = ran.value.as_ref().filter(|_| terminal::is_watched()) {
                terminal::line(format_args!("=> {value}"));
            }
            if let Some(report) = &ran.network {
                tell_refused(report);
            }
            if let Some(error) = &ran.exception {
                terminal::note(if error.traceback.is_empty() {
                    format!("{}: {}", error.name, error.message)
                } else {
                    error.traceback.trim_end().to_owned()
                });
            }
        }
        Ok(())
    }

    fn print_json(&self, language: &str, ran: &Ran, results: &[Value]) -> anyhow::Result<()> {
        let told = |e: &Exception| json!({"name": e.name, "message": e.message, "traceback": e.traceback});
        let mut printed = json!({
            "language": language,
            "stdout": String::from_utf8_lossy(&ran.stdout),
            "stderr": String::from_utf8_lossy(&ran.stderr),
            "result": ran.value,
            "error": ran.exception.as_ref().map(told),
            "verdict": format!("{:?}", ran.verdict),
            "truncated": ran.truncated,
            "wall_ms": u64::try_from(ran.usage.wall.as_millis()).unwrap_or(u64::MAX),
            "enforced": ran.enforced,
        });
        if let Some(report) = &ran.network {
            printed["network"] = json!(report);
        }
        if self.rich {
            printed["results"] = json!(results);
        }
        if !self.collect.is_empty() {
            printed["files"] = ran.files.iter().map(execgate_tool::file_json).collect();
        }
        terminal::json(&printed)
    }

    pub(super) fn save_all(&self, out: &OwnedFd, ran: &Ran, results: &[Value]) {
        let mut number = 0;
        for (key, ending) in results
            .iter()
            .flat_map(|result| SAVED.iter().map(move |kind| (result, kind)))
            .filter_map(|(result, (key, ending))| Some((result.get(*key)?.as_str()?, *ending)))
        {
            number += 1;
            let name = format!("result-{number}.{ending}");
            match STANDARD.decode(key) {
                Ok(bytes) => self.save_one(out, &name, &bytes),
                Err(_) => terminal::note(format_args!("execgate: {name} is not base64 and was left behind")),
            }
        }
        for file in &ran.files {
            // A name is the guest's: it must not speak to the terminal.
            let shown = file.path.escape_debug();
            match &file.content {
                Ok(bytes) => self.save_one(out, &file.path, bytes),
                Err(why) => terminal::note(format_args!("execgate: {shown} was left behind: {why}")),
            }
        }
    }

    fn save_one(&self, out: &OwnedFd, name: &str, content: &[u8]) {
        let place = self.out.join(name.trim_start_matches('/'));
        let shown = place.display().to_string();
        let shown = shown.escape_debug();
        match self.save(out, name, content) {
            Ok(()) => terminal::note(format_args!("execgate: wrote {shown}")),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                terminal::note(format_args!("execgate: {shown} is there already; --overwrite replaces it"));
            }
            Err(error) => terminal::note(format_args!("execgate: {shown} could not be written: {error}")),
        }
    }

    pub(super) fn exit_code(&self, verdict: Verdict) -> u8 {
        let say = |text: &str| {
            if !self.json {
                terminal::note(format_args!("execgate: {text}"));
            }
        };
        match verdict {
            Verdict::Value => 0,
            Verdict::Exception => 1,
            Verdict::Exit(code) => u8::try_from(code).unwrap_or(1),
            Verdict::Timeout => {
                say(&format!("the run did not end within {} s", self.timeout));
                EXIT_TIMEOUT
            }
            Verdict::Limit(limit) => {
                say(&format!("a limit ended the run: {limit:?}"));
                EXIT_KILLED
            }
            Verdict::Cancelled => EXIT_KILLED,
        }
    }
}
