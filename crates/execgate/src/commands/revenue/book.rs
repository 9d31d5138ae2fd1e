//! The book that payments are summed up in: a row for each day, action, rail and network, or for fewer of them, and the
//! credits apart: what was taken for work that is not charged is owed to its payer, and is not earned.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use execgate_model::{Amount, UnixMs};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What stands where nothing is known.
const NOTHING: &str = "-";

/// What a batch is called beside actions, as in `[payment.prices]`.
const BATCH: &str = "batch";

/// The characters of a day in a moment in UTC (RFC 3339).
const DAY_CHARS: usize = 10;

/// A payment that was taken, as the administration tells it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Payment {
    pub(super) place: u64,
    /// None where an earlier release recorded it.
    pub(super) at: Option<String>,
    pub(super) run: String,
    /// None where the run was taken back.
    pub(super) action: Option<String>,
    /// Whether it has paid for a batch, of which that is the first.
    #[serde(rename = "batch", default)]
    pub(super) is_batch: bool,
    pub(super) rail: String,
    pub(super) network: String,
    pub(super) payer: String,
    pub(super) amount: Amount,
    pub(super) reference: Option<String>,
    #[serde(rename = "credit")]
    pub(super) is_credit: bool,
}

impl Payment {
    /// A page of payments.
    pub(super) fn page(told: Value) -> anyhow::Result<Vec<Self>> {
        serde_json::from_value(told).context("the administration tells of payments in other words")
    }

    /// What was sold: a batch, or an action; none where the run was taken back.
    pub(super) fn sold(&self) -> Option<&str> {
        if self.is_batch { Some(BATCH) } else { self.action.as_deref() }
    }

    /// The day, in UTC.
    pub(super) fn day(&self) -> &str {
        self.at.as_deref().and_then(|at| at.get(..DAY_CHARS)).unwrap_or(NOTHING)
    }

    fn ms(&self) -> Option<UnixMs> {
        let at = self.at.as_deref()?.parse::<jiff::Timestamp>().ok()?;
        u64::try_from(at.as_millisecond()).ok().map(UnixMs)
    }
}

/// From when until when, the end not included.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Span {
    pub(super) since: Option<UnixMs>,
    pub(super) until: Option<UnixMs>,
}

/// Where a payment stands to a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    Yes,
    No,
    /// It is not recorded when it was taken.
    Unknown,
}

impl Span {
    pub(super) fn has(&self, payment: &Payment) -> Within {
        if self.since.is_none() && self.until.is_none() {
            return Within::Yes;
        }
        match payment.ms() {
            None => Within::Unknown,
            Some(at)
                if self.since.is_none_or(|since| at >= since)
                    && self.until.is_none_or(|until| at < until) =>
            {
                Within::Yes
            }
            Some(_) => Within::No,
        }
    }
}

/// What rows are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum By {
    Day,
    Action,
    Rail,
    Network,
}

impl By {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Action => "action",
            Self::Rail => "rail",
            Self::Network => "network",
        }
    }

    fn of(self, payment: &Payment) -> &str {
        match self {
            Self::Day => payment.day(),
            Self::Action => payment.sold().unwrap_or(NOTHING),
            Self::Rail => &payment.rail,
            Self::Network => &payment.network,
        }
    }
}

/// A sum of payments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sum {
    pub(super) payments: u64,
    pub(super) captured: Amount,
    pub(super) credits: u64,
    pub(super) credited: Amount,
}

impl Sum {
    fn add(&mut self, payment: &Payment) -> anyhow::Result<()> {
        let more = |sum: Amount| sum.checked_add(payment.amount).context("there is more than can be counted");
        self.payments += 1;
        self.captured = more(self.captured)?;
        if payment.is_credit {
            self.credits += 1;
            self.credited = more(self.credited)?;
        }
        Ok(())
    }

    /// What was taken and is not owed.
    pub(super) fn earned(&self) -> Amount {
        Amount::from_micros(self.captured.micros().saturating_sub(self.credited.micros()))
    }

    fn add_to(&self, told: &mut Map<String, Value>) {
        told.insert("payments".to_owned(), json!(self.payments));
        told.insert("captured".to_owned(), json!(self.captured));
        told.insert("credits".to_owned(), json!(self.credits));
        told.insert("credited".to_owned(), json!(self.credited));
        told.insert("earned".to_owned(), json!(self.earned()));
    }
}

/// Payments, summed up.
#[derive(Debug)]
pub(super) struct Book {
    by: Vec<By>,
    rows: BTreeMap<Vec<String>, Sum>,
    pub(super) total: Sum,
    /// Left out, since nobody knows whether they are of the span.
    pub(super) undated: u64,
    last: u64,
}

impl Book {
    pub(super) fn new(by: Vec<By>) -> Self {
        Self { by, rows: BTreeMap::new(), total: Sum::default(), undated: 0, last: 0 }
    }

    /// Takes a payment down; false where it is not of the span.
    ///
    /// # Errors
    /// Where payments do not come in their order, so that one may be counted twice; where there is more than can be
    /// counted.
    pub(super) fn enter(&mut self, payment: &Payment, span: &Span) -> anyhow::Result<bool> {
        if payment.place <= self.last {
            bail!("the administration tells of payments in another order than that of the record");
        }
        self.last = payment.place;
        match span.has(payment) {
            Within::Yes => {}
            Within::No => return Ok(false),
            Within::Unknown => {
                self.undated += 1;
                return Ok(false);
            }
        }
        self.total.add(payment)?;
        let key = self.by.iter().map(|by| by.of(payment).to_owned()).collect();
        self.rows.entry(key).or_default().add(payment)?;
        Ok(true)
    }

    /// The names of the columns, and the rows in their order.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&[String], &Sum)> {
        self.rows.iter().map(|(key, sum)| (key.as_slice(), sum))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.by.iter().map(|by| by.as_str())
    }

    /// The same as JSON.
    pub(super) fn to_json(&self) -> Value {
        let rows = self.rows().map(|(key, sum)| {
            let named = self.names().zip(key).map(|(name, value)| {
                let value = if value == NOTHING { Value::Null } else { json!(value) };
                (name.to_owned(), value)
            });
            let mut row: Map<_, _> = named.collect();
            sum.add_to(&mut row);
            Value::Object(row)
        });
        let mut told = Map::from_iter([("currency".to_owned(), json!("USD"))]);
        self.total.add_to(&mut told);
        told.insert("undated".to_owned(), json!(self.undated));
        told.insert("rows".to_owned(), rows.collect());
        Value::Object(told)
    }
}

#[cfg(test)]
mod tests {
    use execgate_model::UnixMs;
    use serde_json::{Value, json};

    use super::{Book, By, Payment, Span};

    fn payment(place: u64, at: Option<&str>, action: &str, amount: &str, credit: bool) -> Payment {
        let told: Value = json!([{
            "place": place, "at": at, "run": "r", "action": action, "rail": "x402", "network": "eip155:84532",
            "payer": "eip155:84532:0xa", "amount": amount, "currency": "USD", "reference": null, "credit": credit
        }]);
        Payment::page(told).unwrap().remove(0)
    }

    #[test]
    fn what_is_owed_is_not_earned_and_days_are_those_of_utc() {
        let mut book = Book::new(vec![By::Day, By::Action]);
        let all = Span::default();
        for payment in [
            payment(1, Some("2026-11-01T23:59:59.999Z"), "echo", "0.01", false),
            payment(2, Some("2026-11-02T00:00:00Z"), "echo", "0.01", false),
            payment(4, Some("2026-11-02T10:00:00Z"), "echo", "0.02", true),
            payment(9, None, "add", "0.005", false),
        ] {
            assert!(book.enter(&payment, &all).unwrap());
        }
        let batch = Payment { is_batch: true, ..payment(10, None, "add", "0.10", false) };
        assert_eq!(
            (batch.sold(), payment(11, None, "add", "0.1", false).sold()),
            (Some("batch"), Some("add"))
        );
        let told = book.to_json();
        assert_eq!(
            (&told["payments"], &told["captured"], &told["credited"], &told["earned"]),
            (&json!(4), &json!("0.045"), &json!("0.02"), &json!("0.025"))
        );
        let rows = told["rows"].as_array().unwrap();
        assert_eq!(
            rows[2],
            json!({"day": "2026-11-02", "action": "echo", "payments": 2, "captured": "0.03",
                   "credits": 1, "credited": "0.02", "earned": "0.01"})
        );
        assert_eq!((rows.len(), &rows[0]["day"], &rows[0]["action"]), (3, &Value::Null, &json!("add")));
    }

    #[test]
    fn a_span_leaves_out_what_lies_beside_it_and_tells_of_what_has_no_date() {
        let day = |text: &str| {
            text.parse::<jiff::Timestamp>().unwrap().as_millisecond().try_into().ok().map(UnixMs)
        };
        let span = Span { since: day("2026-11-02T00:00:00Z"), until: day("2026-11-03T00:00:00Z") };
        let mut book = Book::new(vec![By::Day]);
        let mut enter = |payment| book.enter(&payment, &span).unwrap();
        assert!(!enter(payment(1, Some("2026-11-01T23:59:59.999Z"), "echo", "1", false)));
        assert!(enter(payment(2, Some("2026-11-02T00:00:00Z"), "echo", "1", false)));
        assert!(!enter(payment(3, Some("2026-11-03T00:00:00Z"), "echo", "1", false)));
        assert!(!enter(payment(4, None, "echo", "1", false)));
        assert_eq!((book.total.payments, book.undated), (1, 1));
        assert!(book.enter(&payment(4, None, "echo", "1", false), &span).is_err(), "none is counted twice");
    }
}
