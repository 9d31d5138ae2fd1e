//! The command: reads payments page by page, sums them up or tells each.

use std::process::ExitCode;

use clap::Args;
use execgate_model::UnixMs;

use super::book::{Book, By, Payment, Span};
use super::csv;
use crate::commands::audit::moment;
use crate::commands::cli::{Common, DataDir};
use crate::office::{Desk, Signs, with_desk};
use crate::{plain, terminal};

/// The width of the columns that are named.
const WIDTH: usize = 20;

/// Sums up what was taken, from the record: of a gateway that runs, or of a data directory that nobody serves. What was
/// taken for work that is not charged is a credit: it is owed to its payer, and no part of what was earned. Changes nothing.
#[derive(Debug, Args)]
pub(crate) struct Revenue {
    /// Not before: a length of time ago (90d, 12h), a day in UTC (2027-01-31), or a moment
    #[arg(long, value_name = "WHEN", value_parser = day_or_moment)]
    since: Option<UnixMs>,
    /// Before: likewise
    #[arg(long, value_name = "WHEN", value_parser = day_or_moment)]
    until: Option<UnixMs>,
    /// A row for each of these
    #[arg(long, value_enum, value_delimiter = ',', default_value = "day,action,rail,network")]
    by: Vec<By>,
    /// Print a line for each payment, for a spreadsheet (RFC 4180)
    #[arg(long, conflicts_with_all = ["json", "by"])]
    csv: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    common: Common,
}

/// A day begins at midnight.
fn day_or_moment(text: &str) -> Result<UnixMs, String> {
    let midnight = text.parse::<jiff::civil::Date>().ok().filter(|_| !text.contains('T'));
    match midnight {
        Some(day) => moment(&format!("{day}T00:00:00Z")),
        None => moment(text),
    }
}

impl Revenue {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let mut by = self.by.clone();
        by.dedup();
        let book = with_desk(&self.data, &self.common, Signs::NothingAndWritesNothing, async |desk| {
            self.read(desk, Book::new(by)).await
        })?;
        if self.json {
            terminal::json(&book.to_json())?;
        } else if !self.csv {
            tell(&book);
        }
        if book.undated > 0 {
            terminal::note(format_args!(
                "{} payments are left out: an earlier release has not recorded when they were taken",
                book.undated
            ));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Reads all payments.
    async fn read(&self, desk: &mut Desk, mut book: Book) -> anyhow::Result<Book> {
        let span = Span { since: self.since, until: self.until };
        if self.csv {
            terminal::raw(false, csv::line(csv::HEADER).as_bytes());
        }
        let mut after = 0;
        loop {
            let page = Payment::page(desk.get(&format!("/revenue?after={after}")).await?.json()?)?;
            let Some(last) = page.last() else { return Ok(book) };
            after = last.place;
            let mut lines = String::new();
            for payment in &page {
                if book.enter(payment, &span)? && self.csv {
                    lines += &csv::payment(payment);
                }
            }
            terminal::raw(false, lines.as_bytes());
        }
    }
}

fn tell(book: &Book) {
    for (key, sum) in book.rows() {
        let key: String = key.iter().map(|value| format!("{:<WIDTH$} ", plain::line(value))).collect();
        let owed = match sum.credits {
            0 => String::new(),
            credits => format!("  of which ${} in {credits} credits is owed", sum.credited),
        };
        terminal::line(format_args!("{key}{:>8} payments  ${}{owed}", sum.payments, sum.captured));
    }
    let total = &book.total;
    terminal::line(format_args!(
        "{} payments: ${} captured, ${} of it owed to payers in {} credits; ${} earned",
        total.payments,
        total.captured,
        total.credited,
        total.credits,
        total.earned()
    ));
}

#[cfg(test)]
mod tests {
    use execgate_model::UnixMs;

    use super::day_or_moment;

    #[test]
    fn a_day_begins_at_midnight_in_utc() {
        assert_eq!(day_or_moment("1970-01-02"), Ok(UnixMs(86_400_000)));
        assert_eq!(day_or_moment("1970-01-01T00:00:01Z"), Ok(UnixMs(1_000)));
        assert!(day_or_moment("90d").is_ok());
        assert!(day_or_moment("yesterday").is_err() && day_or_moment("2026-02-30").is_err());
    }
}
