//! What is counted as it happens.

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use execgate_flow::notice::{Notice, Seen};
use execgate_store::AuditDecision;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Looker, Probes, Reading};

/// The media type of the text.
pub(crate) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds in a room: from a lookup in memory to the longest run.
const BUCKETS: [f64; 19] = [
    0.000_01, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 5.0, 10.0, 60.0, 300.0,
];

/// Rules that have a series of their own. A policy file that is changed again and again makes more; they share one.
const RULES_MAX: usize = 512;

/// The longest rule that has a series of its own, in bytes.
const RULE_BYTES_MAX: usize = 256;

/// The rule of those that share a series.
const OTHER: &str = "other";

/// The action of what is no action.
const UNKNOWN: &str = "unknown";

/// How an outcome begins that is an exit code of the guest's choice.
const EXIT: &str = "exit:";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRoom {
    room: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByDecision {
    decision: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRule {
    room: &'static str,
    rule: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRun {
    action: String,
    outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByAnswer {
    status: u16,
    code: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The figures of one process.
pub struct Metrics {
    registry: Registry,
    probes: Arc<Probes>,
    lookers: Mutex<Vec<Arc<dyn Looker>>>,
    rooms: Histograms<ByRoom>,
    walks: Histograms<ByDecision>,
    runs: Family<ByRun, Counter>,
    refusals: Family<ByRule, Counter>,
    shadow: Family<ByRule, Counter>,
    answers: Family<ByAnswer, Counter>,
    rules: Mutex<BTreeSet<String>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Figures that begin at nothing.
    #[must_use]
    pub fn new() -> Self {
        let histograms = || Histogram::new(BUCKETS);
        let rooms = Histograms::new_with_constructor(histograms as fn() -> Histogram);
        let walks = Histograms::new_with_constructor(histograms as fn() -> Histogram);
        let (runs, refusals, shadow, answers) =
            (Family::default(), Family::default(), Family::default(), Family::default());
        let probes = Arc::new(Probes::default());
        let mut registry = Registry::with_prefix("execgate");
        registry.register("room_seconds", "Time in each room, also of walks that ended there", rooms.clone());
        registry.register("decision_seconds", "Time from the first room to the answer", walks.clone());
        registry.register("runs", "Runs that were claimed, by how they ended", runs.clone());
        registry.register("refusals", "Walks that were turned away, by room and rule", refusals.clone());
        registry.register(
            "shadow_refusals",
            "Runs that a rule in shadow would have turned away",
            shadow.clone(),
        );
        registry.register(
            "http_answers",
            "Answers by status, and by the code of the problem where they tell of one",
            answers.clone(),
        );
        registry.register_collector(Box::new(Arc::clone(&probes)));
        let lookers = Mutex::default();
        Self {
            registry,
            probes,
            lookers,
            rooms,
            walks,
            runs,
            refusals,
            shadow,
            answers,
            rules: Mutex::default(),
        }
    }

    /// Asks this too whenever the figures are read.
    pub fn probe(&self, probe: impl Fn() -> Vec<Reading> + Send + Sync + 'static) {
        self.probes.add(Box::new(probe));
    }

    /// The same of one who has to look first.
    pub fn probe_looking(&self, looker: Arc<dyn Looker>) {
        let asked = Arc::clone(&looker);
        self.probe(move || asked.readings());
        self.lookers.lock().unwrap_or_else(PoisonError::into_inner).push(looker);
    }

    /// Has those look who have to, one after the other: they are few.
    pub async fn look(&self) {
        let lookers = self.lookers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for looker in lookers {
            looker.look().await;
        }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail, and a probe that does leaves its own figures out.
        if let Err(error) = encode(&mut text, &self.registry) {
            tracing::error!(%error, "the metrics are incomplete");
        }
        text
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, status: u16, code: Option<&'static str>) {
        self.answers.get_or_create(&ByAnswer { status, code: code.unwrap_or_default() }).inc();
    }

    /// A rule as a label: those of a policy file are many, and not without end.
    fn rule(&self, rule: &str) -> String {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let is_kept = rules.contains(rule)
            || (rule.len() <= RULE_BYTES_MAX && rules.len() < RULES_MAX && rules.insert(rule.to_owned()));
        if is_kept { rule.to_owned() } else { OTHER.to_owned() }
    }

    fn refused(&self, walk: &Seen) {
        let by = ByRule { room: walk.room.as_str(), rule: self.rule(&walk.rule) };
        self.refusals.get_or_create(&by).inc();
    }
}

impl Notice for Metrics {
    fn seen(&self, walk: &Seen) {
        for (room, us) in &walk.laps {
            let took = Duration::from_micros(*us).as_secs_f64();
            self.rooms.get_or_create(&ByRoom { room: room.as_str() }).observe(took);
        }
        let by = ByDecision { decision: walk.decision.as_str() };
        self.walks.get_or_create(&by).observe(Duration::from_micros(walk.total_us).as_secs_f64());
        match walk.decision {
            AuditDecision::Allowed => {
                let action = if walk.is_known { walk.action.as_str() } else { UNKNOWN };
                self.runs.get_or_create(&ByRun { action: action.to_owned(), outcome: outcome(walk) }).inc();
                if let Some(rule) = walk.shadow() {
                    let by = ByRule { room: walk.room.as_str(), rule: self.rule(rule) };
                    self.shadow.get_or_create(&by).inc();
                }
            }
            AuditDecision::Refused | AuditDecision::ApprovalRequired | AuditDecision::Failed => {
                self.refused(walk);
            }
            // Counted by their times; the trail alone has lines that were left out.
            AuditDecision::Replayed | AuditDecision::Omitted => {}
        }
    }
}

/// The outcome in a word that no guest chooses.
fn outcome(walk: &Seen) -> String {
    let word = walk.outcome.as_deref().unwrap_or(UNKNOWN);
    if word.starts_with(EXIT) { EXIT.trim_end_matches(':').to_owned() } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{Metrics, OTHER, RULE_BYTES_MAX, RULES_MAX};
    use crate::metrics::{Reading, ReadingKind};

    #[test]
    fn however_many_rules_there_are_few_have_a_series() {
        let metrics = Metrics::new();
        assert_eq!(metrics.rule(&"x".repeat(RULE_BYTES_MAX + 1)), OTHER);
        for number in 0..RULES_MAX {
            assert_eq!(metrics.rule(&number.to_string()), number.to_string());
        }
        assert_eq!((metrics.rule("one-more"), metrics.rule("7")), (OTHER.to_owned(), "7".to_owned()));
    }

    #[test]
    fn readings_are_taken_when_the_figures_are_read() {
        let metrics = Metrics::new();
        metrics.probe(|| {
            vec![
                Reading::new("slots", "Places for runs", ReadingKind::Gauge)
                    .with([("profile", "a\"b".to_owned())], 2)
                    .with([("profile", "c".to_owned())], 3),
                Reading::new("lines", "Lines that were lost", ReadingKind::Counter).with([], 7),
            ]
        });
        let text = metrics.text();
        for line in [
            "# TYPE execgate_slots gauge",
            "execgate_slots{profile=\"a\\\"b\"} 2",
            "execgate_slots{profile=\"c\"} 3",
            "# TYPE execgate_lines counter",
            "execgate_lines_total 7",
            "# EOF",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
    }
}
