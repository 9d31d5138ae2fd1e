//! What is asked only when the figures are read: how things stand, and counts that others keep.

use core::fmt;
use std::sync::{Mutex, PoisonError};

use execgate_model::{Amount, BoxFuture};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;

/// A label and its value. The value is never a text of a caller.
type Label = (&'static str, String);

/// What kind of figure a reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadingKind {
    /// It goes up and down.
    Gauge,
    /// It only grows, as long as the process lives.
    Counter,
}

/// A value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Whole(u64),
    /// Millionths of a dollar, told in dollars.
    Micros(u64),
}

/// One figure, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    name: &'static str,
    help: &'static str,
    kind: ReadingKind,
    values: Vec<(Vec<Label>, Number)>,
}

impl Reading {
    /// A figure that has no value yet.
    #[must_use]
    pub fn new(name: &'static str, help: &'static str, kind: ReadingKind) -> Self {
        Self { name, help, kind, values: Vec::new() }
    }

    /// The same with a value, under these labels.
    #[must_use]
    pub fn with(mut self, labels: impl IntoIterator<Item = Label>, value: impl TryInto<u64>) -> Self {
        let value = Number::Whole(value.try_into().unwrap_or(u64::MAX));
        self.values.push((labels.into_iter().collect(), value));
        self
    }

    /// The same with so many millionths of a dollar, told in dollars.
    #[must_use]
    pub fn with_usd(mut self, labels: impl IntoIterator<Item = Label>, micros: u64) -> Self {
        self.values.push((labels.into_iter().collect(), Number::Micros(micros)));
        self
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = match self.kind {
            ReadingKind::Gauge => MetricType::Gauge,
            ReadingKind::Counter => MetricType::Counter,
        };
        let mut figure = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        for (labels, value) in &self.values {
            if labels.is_empty() {
                self.write(&mut figure, *value)?;
            } else {
                self.write(&mut figure.encode_family(labels)?, *value)?;
            }
        }
        Ok(())
    }

    fn write(&self, figure: &mut MetricEncoder<'_>, value: Number) -> fmt::Result {
        match (self.kind, value) {
            (ReadingKind::Gauge, Number::Whole(value)) => figure.encode_gauge(&value),
            (ReadingKind::Gauge, Number::Micros(micros)) => figure.encode_gauge(&dollars(micros)),
            (ReadingKind::Counter, Number::Whole(value)) => {
                figure.encode_counter::<Vec<Label>, _, f64>(&value, None)
            }
            (ReadingKind::Counter, Number::Micros(micros)) => {
                figure.encode_counter::<Vec<Label>, _, f64>(&dollars(micros), None)
            }
        }
    }
}

/// A text of the format is a float: from nine billion dollars on it is not exact to the millionth.
fn dollars(micros: u64) -> f64 {
    Amount::from_micros(micros).to_string().parse().unwrap_or(f64::NAN)
}

/// Somebody whose figures are looked up before they are read.
pub trait Looker: Send + Sync {
    /// Looks anew where that is due. It keeps whoever reads the figures waiting.
    fn look(&self) -> BoxFuture<'_, ()>;

    /// The figures as they were seen last; none that are not known.
    fn readings(&self) -> Vec<Reading>;
}

/// Somebody who is asked.
type Probe = Box<dyn Fn() -> Vec<Reading> + Send + Sync>;

/// Everybody who is asked.
#[derive(Default)]
pub(super) struct Probes(Mutex<Vec<Probe>>);

impl Probes {
    pub(super) fn add(&self, probe: Probe) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(probe);
    }
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes").finish_non_exhaustive()
    }
}

impl Collector for Probes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let probes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        probes.iter().flat_map(|probe| probe()).try_for_each(|reading| reading.encode(&mut encoder))
    }
}
