//! An image in words.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use execgate_model::Clock as _;
use execgate_sandbox::image::{AddedPackage, Image, Summary};
use jiff::Timestamp;
use serde_json::json;

use crate::ports::SystemClock;
use crate::terminal;

/// How many packages that nobody asked for are named.
const MAX_NAMED: usize = 12;

/// Tells of an image: what it is made of, what runs in it, what was added and what is missing.
pub(super) fn tell(image: &Image, as_json: bool) -> anyhow::Result<()> {
    let summary = image.summary()?;
    if as_json {
        return terminal::json(&json!({"root": image.root, "summary": summary}));
    }
    let made = i64::try_from(summary.made_at).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    terminal::line(format_args!("image    {}", image.digest));
    terminal::line(format_args!("made     {}", made.map_or_else(|| "?".to_owned(), |made| made.to_string())));
    terminal::line(format_args!("from     {}", summary.recipe));
    terminal::line(format_args!("size     {} files, {}", summary.files, size(summary.bytes)));
    for interpreter in &summary.interpreters {
        let version = interpreter.version.as_deref().unwrap_or("?");
        terminal::line(format_args!(
            "runs     {:<10} {version} ({})",
            interpreter.language, interpreter.path
        ));
    }
    tell_added(&summary);
    for note in &summary.notes {
        terminal::line(format_args!("note     {note}"));
    }
    if let Some(command) = &summary.missing.command {
        terminal::line(format_args!(
            "missing  {}; to add them: {command}",
            summary.missing.packages.join(", ")
        ));
    }
    Ok(())
}

fn tell_added(summary: &Summary) {
    let mut languages: BTreeMap<&str, (Vec<String>, Vec<String>)> = BTreeMap::new();
    for package in &summary.added {
        let (asked, needed) = languages.entry(&package.language).or_default();
        if package.asked { asked } else { needed }.push(named(package));
    }
    for (language, (asked, needed)) in languages {
        let more = needed.len().saturating_sub(MAX_NAMED);
        let mut also = needed.into_iter().take(MAX_NAMED).collect::<Vec<_>>().join(", ");
        if more > 0 {
            also.push_str(&format!(" and {more} more"));
        }
        let told: Vec<String> =
            [asked.join(", "), also].into_iter().filter(|part| !part.is_empty()).collect();
        terminal::line(format_args!("added    {language:<10} {}", told.join("; with them ")));
    }
}

/// The packages that were asked for, in a line.
pub(super) fn asked(added: &[AddedPackage]) -> String {
    added.iter().filter(|package| package.asked).map(named).collect::<Vec<_>>().join(", ")
}

fn named(package: &AddedPackage) -> String {
    match &package.version {
        Some(version) => format!("{} {version}", package.name),
        None => package.name.clone(),
    }
}

/// Bytes in the unit that people compare.
pub(super) fn size(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}

/// How long ago something was, in the unit that people compare.
pub(super) fn ago(time: SystemTime) -> String {
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(SystemClock::new().now().0);
    let minutes = now.duration_since(time).unwrap_or_default().as_secs() / 60;
    match minutes {
        0 => "just now".to_owned(),
        1..120 => format!("{minutes} min ago"),
        120..2880 => format!("{} h ago", minutes / 60),
        _ => format!("{} days ago", minutes / 1440),
    }
}
