//! `execgate audit`: the audit trail, for the operator, page by page.
//!
//! What a process had decided in the last moments before it was killed may be missing; the runs are in the record
//! (`execgate runs`).

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use execgate_flow::administer::length;
use execgate_model::{Clock as _, UnixMs};
use execgate_receipt::Timestamp;
use execgate_store::{AUDIT_PAGE_MAX, AuditDecision, AuditOrder, AuditPlace};
use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::cli::{Common, DataDir};
use crate::office::{Desk, Signs, with_desk};
use crate::ports::SystemClock;
use crate::terminal;

/// Lines that are shown where nobody says how many.
const USUAL_LINES: u64 = 50;

/// How often the trail is looked at for new lines: a gateway writes them five times a second.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);

/// The audit trail.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Not before: a length of time ago (90d, 12h, 30m, 45s), or a moment (2027-01-31T00:00:00Z)
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<UnixMs>,
    /// Before: likewise
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    until: Option<UnixMs>,
    /// Only of this caller: local, grant:<id>, wallet:<account>, session:<id>
    #[arg(long)]
    caller: Option<String>,
    /// Only of this tenant
    #[arg(long)]
    tenant: Option<String>,
    /// Only about this action
    #[arg(long)]
    action: Option<String>,
    /// Only by this rule, by its whole name
    #[arg(long)]
    rule: Option<String>,
    /// Only decided so: allowed, refused, approval-required, replayed, failed, omitted
    #[arg(long, value_parser = decision)]
    decision: Option<AuditDecision>,
    /// At most so many lines [default: 50; with --jsonl and --follow: all]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// The oldest first
    #[arg(long)]
    oldest: bool,
    /// Only lines behind this one (its `place`)
    #[arg(long, value_name = "PLACE")]
    after: Option<AuditPlace>,
    /// Go on with what is written from now on, or since --since, until interrupted
    #[arg(long, conflicts_with_all = ["oldest", "until", "json"])]
    follow: bool,
    /// Print a JSON list; at most 1,000 lines
    #[arg(long, conflicts_with = "jsonl")]
    json: bool,
    /// Print a JSON object for each line
    #[arg(long)]
    jsonl: bool,
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    common: Common,
}

fn decision(word: &str) -> Result<AuditDecision, String> {
    let words = || AuditDecision::ALL.map(AuditDecision::as_str).join(", ");
    AuditDecision::from_word(word).ok_or_else(|| format!("a decision is one of {}", words()))
}

/// A length of time ago, or a moment.
pub(super) fn moment(text: &str) -> Result<UnixMs, String> {
    if let Ok(ago) = length(text) {
        let now = SystemClock::new().now();
        return Ok(UnixMs(now.0.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))));
    }
    let moment = text.parse::<jiff::Timestamp>().ok();
    let ms = moment.and_then(|moment| u64::try_from(moment.as_millisecond()).ok());
    ms.map(UnixMs).ok_or_else(|| format!("`{text}` is no moment; write 12h or 2027-01-31T00:00:00Z"))
}

impl Audit {
    pub(crate) fn execute(mut self) -> anyhow::Result<ExitCode> {
        if self.follow && self.after.is_none() {
            self.since.get_or_insert_with(|| SystemClock::new().now());
        }
        if self.json && self.limit.is_some_and(|limit| limit > u64::from(AUDIT_PAGE_MAX)) {
            bail!("--json prints at most {AUDIT_PAGE_MAX} lines, as one list; --jsonl prints any number");
        }
        with_desk(&self.data, &self.common, Signs::Nothing, async |desk| {
            if self.json {
                let page = desk.get(&self.page(None, self.lines())).await?.json()?;
                terminal::json(&page["entries"])?;
            } else {
                self.print(desk).await?;
            }
            Ok(ExitCode::SUCCESS)
        })
    }

    /// How many lines are shown at the most.
    fn lines(&self) -> u64 {
        let usual = if self.jsonl || self.follow { u64::MAX } else { USUAL_LINES };
        self.limit.unwrap_or(usual)
    }

    /// The path of a page.
    fn page(&self, after: Option<&str>, limit: u64) -> String {
        let order = match (self.follow, self.oldest) {
            (true, _) => AuditOrder::Written,
            (false, true) => AuditOrder::Oldest,
            (false, false) => AuditOrder::Newest,
        };
        let moment = |at: UnixMs| Timestamp::new(at).map(|at| at.to_string()).ok();
        let mut query = Serializer::new("/audit?".to_owned());
        let mut add = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        };
        add("since", self.since.and_then(moment).as_deref());
        add("until", self.until.and_then(moment).as_deref());
        add("tenant", self.tenant.as_deref());
        add("caller", self.caller.as_deref());
        add("action", self.action.as_deref());
        add("rule", self.rule.as_deref());
        add("decision", self.decision.map(AuditDecision::as_str));
        add("order", Some(order.as_str()));
        add("after", after);
        add("limit", Some(&limit.min(u64::from(AUDIT_PAGE_MAX)).to_string()));
        query.finish()
    }

    /// Prints page by page, to the end or for ever.
    async fn print(&self, desk: &mut Desk) -> anyhow::Result<()> {
        let mut left = self.lines();
        let mut after = self.after.map(|place| place.to_string());
        while left > 0 {
            let page = desk.get(&self.page(after.as_deref(), left)).await?.json()?;
            let entries = page["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
            for entry in entries {
                let is_read = if self.jsonl { terminal::told(entry) } else { terminal::told(row(entry)) };
                if !is_read {
                    return Ok(());
                }
            }
            left = left.saturating_sub(u64::try_from(entries.len())?);
            match entries.last() {
                Some(last) => after = last["place"].as_str().map(str::to_owned),
                None if self.follow => tokio::time::sleep(FOLLOW_EVERY).await,
                None => break,
            }
        }
        Ok(())
    }
}

/// A line for people.
fn row(entry: &Value) -> String {
    // What a caller may have chosen is one word of the line, whatever it holds.
    let text = |name: &str| entry[name].as_str().unwrap_or("-").replace(char::is_whitespace, "\u{b7}");
    let (at, decision, caller, rule) = (text("at"), text("decision"), text("caller"), text("rule"));
    if decision == AuditDecision::Omitted.as_str() {
        return format!("{at}  {decision:<17} {} lines of {caller} ({rule})", entry["omitted"]);
    }
    let (room, action, outcome, run) = (text("room"), text("action"), text("outcome"), text("run"));
    let total_us = &entry["total_us"];
    format!(
        "{at}  {decision:<17} {room:<9} {rule:<28} {action:<16} {outcome:<12} {caller:<20} {run} {total_us} us"
    )
}

#[cfg(test)]
mod tests {
    use execgate_model::UnixMs;

    use super::{decision, moment};

    #[test]
    fn a_moment_is_a_length_of_time_ago_or_a_time() {
        assert_eq!(moment("1970-01-01T00:00:02Z"), Ok(UnixMs(2_000)));
        assert!(moment("1h").unwrap() < moment("0s").unwrap());
        assert!(moment("yesterday").is_err() && decision("maybe").is_err());
    }
}
