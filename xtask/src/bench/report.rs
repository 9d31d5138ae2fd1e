//! What a person reads and what a program reads of a run of the benchmarks.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::bench::machine::Machine;
use crate::bench::series::Row;

/// One case, measured.
#[derive(Debug, Serialize)]
pub(crate) struct Case {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What was done, in one line.
    pub(crate) about: String,
    /// The contenders, the baseline first.
    pub(crate) rows: Vec<Row>,
    /// Single numbers, with the unit last in the name.
    pub(crate) facts: BTreeMap<&'static str, u64>,
    /// What else was seen.
    pub(crate) notes: Vec<String>,
}

/// Everything of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Where it was measured.
    machine: Machine,
    /// What was typed.
    command: String,
    /// In the order in which they were measured.
    pub(crate) cases: Vec<Case>,
}

impl Report {
    /// A report without any case yet.
    pub(crate) fn new(machine: Machine, words: Vec<String>) -> Self {
        Self { machine, command: format!("cargo xtask {}", words.join(" ")), cases: Vec::new() }
    }

    /// The machine and the command, without which numbers say nothing.
    pub(crate) fn heading(&self) -> String {
        format!("{}\ncommand: {}", self.machine, self.command)
    }

    /// Writes all of it as JSON.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(file, text + "\n").with_context(|| format!("failed to write {}", file.display()))
    }
}

impl Case {
    /// The case as a table, its notes below.
    pub(crate) fn table(&self) -> String {
        let mut lines = vec![format!("{}: {}", self.name, self.about)];
        if !self.rows.is_empty() {
            let heads = ["p50 µs", "p95 µs", "p99 µs", "max µs", "ratio", "/s", "CPU ms/op", "client CPU"];
            lines.push(line("", "n", &heads.map(str::to_owned), "refused"));
        }
        lines.extend(self.rows.iter().map(row_line));
        lines.extend(self.facts.iter().map(|(name, value)| format!("  {name}: {value}")));
        lines.extend(self.notes.iter().map(|note| format!("  {note}")));
        lines.join("\n")
    }
}

fn row_line(row: &Row) -> String {
    let fixed =
        |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
    let cells = [
        fixed(Some(row.p50_us), 0),
        fixed(Some(row.p95_us), 0),
        fixed(Some(row.p99_us), 0),
        fixed(Some(row.max_us), 0),
        fixed(row.ratio, 3),
        fixed(row.per_second, 0),
        fixed(row.cpu_ms_per_op, 3),
        row.client_cpu_share.map_or("-".to_owned(), |share| format!("{:.0} %", share * 100.0)),
    ];
    line(&row.name, &row.count.to_string(), &cells, &row.refused.to_string())
}

fn line(name: &str, count: &str, cells: &[String], refused: &str) -> String {
    let cells: String = cells.iter().map(|cell| format!(" {cell:>10}")).collect();
    format!("  {name:<34} {count:>8}{cells} {refused:>8}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::series::{Paused, Series};
    use std::time::Duration;

    #[test]
    fn a_table_lines_up() {
        let mut series = Series::new("bare");
        series.latencies = vec![Duration::from_micros(1500)];
        let case = Case {
            name: "python",
            about: "hello".to_owned(),
            rows: vec![series.row(None, Paused::EachTime)],
            facts: BTreeMap::from([("start_ms", 7)]),
            notes: vec!["a note".to_owned()],
        };
        let table = case.table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 5);
        assert_eq!(lines[1].chars().count(), lines[2].chars().count());
        assert!(lines[2].starts_with("  bare ") && lines[2].contains(" 1500 "));
        assert_eq!(lines[3..], ["  start_ms: 7", "  a note"]);
    }
}
