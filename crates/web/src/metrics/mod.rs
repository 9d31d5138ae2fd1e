//! Figures for a monitoring system, in the text format of `OpenMetrics`.
//!
//! Whatever callers send, the number of series is bounded: labels are words of ours, names of registered actions, and
//! rules of the operator's file. No label is a text of a caller.

mod counters;
mod money;
mod reading;
mod readings;

pub use counters::Metrics;
pub(crate) use counters::OPENMETRICS;
pub(crate) use money::Money;
use reading::Probes;
pub use reading::{Looker, Reading, ReadingKind};
