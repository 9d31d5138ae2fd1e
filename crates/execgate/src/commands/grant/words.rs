//! How what is said of grants is shown, and what of it is read here already, so that a slip is told at once.

use execgate_flow::administer::{End, length};
use serde_json::Value;

use crate::terminal;

/// A length of time, as it was written.
pub(super) fn length_text(text: &str) -> Result<String, String> {
    length(text).map(|_| text.to_owned())
}

/// An end, as it was written.
pub(super) fn end_text(text: &str) -> Result<String, String> {
    End::read(text).map(|_| text.to_owned())
}

/// A grant in one line.
pub(super) fn row(grant: &Value) -> String {
    let text = |name: &str| grant[name].as_str().unwrap_or("-");
    let roles: Vec<&str> =
        grant["roles"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let internal = if grant["internal"] == true { ", internal" } else { "" };
    format!(
        "{}  {:<8} {:<12} {:<24} {}{internal}",
        text("id"),
        text("state"),
        text("tenant"),
        text("name"),
        roles.join(", ")
    )
}

/// Tells a new key, once: alone on standard output, so that it can be kept by a program.
pub(super) fn tell_key(keyed: &Value, json: bool) -> anyhow::Result<()> {
    if json {
        return terminal::json(keyed);
    }
    let grant = &keyed["grant"];
    terminal::line(keyed["key"].as_str().unwrap_or_default());
    terminal::note(format_args!(
        "this is the key of grant {} ({}); it is not shown again",
        grant["id"].as_str().unwrap_or_default(),
        grant["name"].as_str().unwrap_or_default()
    ));
    Ok(())
}
