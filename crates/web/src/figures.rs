//! What this process has served since it started, by service: counts by status, and the times of the latest calls.
//! Bounded whatever comes, never written anywhere, and no part of any decision.

use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::response::Response;
use execgate_model::Offer;
use serde_json::{Value, json};

use crate::house::House;
use crate::problem::Problem;

/// How many of the latest calls the times are taken over.
const LATEST: usize = 1024;

/// From this share of server errors among the latest calls on, a service is not well.
const DEGRADED_SHARE: f64 = 0.05;

/// Something that is called and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// `/execute`.
    Execute,
    /// A code-run route.
    Code(Offer),
    /// `/exec/tool`.
    Tool,
    /// `/exec/simulate`.
    Simulate,
    /// `/exec/batch`.
    Batch,
}

impl Service {
    /// Every service.
    pub(crate) const ALL: [Self; 7] = [
        Self::Execute,
        Self::Tool,
        Self::Simulate,
        Self::Batch,
        Self::Code(Offer::CodeRun),
        Self::Code(Offer::CodeRunPro),
        Self::Code(Offer::CodeRunBasic),
    ];

    /// The path that it is served under.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Execute => "/execute",
            Self::Tool => "/exec/tool",
            Self::Simulate => "/exec/simulate",
            Self::Batch => "/exec/batch",
            Self::Code(Offer::CodeRun) => "/api/code-run",
            Self::Code(Offer::CodeRunPro) => "/api/code-run-pro",
            Self::Code(Offer::CodeRunBasic) => "/api/code/run",
        }
    }

    /// Its id.
    pub(crate) const fn id(self) -> &'static str {
        match self {
            Self::Execute => "execute",
            Self::Tool => "tool",
            Self::Simulate => "simulate",
            Self::Batch => "batch",
            Self::Code(offer) => offer.as_str(),
        }
    }
}

/// How a call ended, as the counts have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Ok,
    Refused,
    Failed,
}

impl Ending {
    /// Code that does not end in time is its caller's affair, and a full house one of all callers.
    fn of(status: u16, problem: Option<&Problem>) -> Self {
        match status {
            ..400 | 504 => Self::Ok,
            400..500 => Self::Refused,
            500.. if problem.is_some_and(Problem::is_at_capacity) => Self::Refused,
            500.. => Self::Failed,
        }
    }
}

/// Waits for the end of one call, to take note of it. A call whose caller is gone before leaves none.
pub(crate) struct Note {
    house: Arc<House>,
    service: Service,
    started: Instant,
}

impl Note {
    /// For a call that begins now.
    pub(crate) fn new(house: Arc<House>, service: Service) -> Self {
        Self { house, service, started: Instant::now() }
    }

    /// The answer, of which note was taken.
    pub(crate) fn take(self, response: Response) -> Response {
        self.ended(response.status().as_u16(), response.extensions().get());
        response
    }

    /// Takes note of an end that no response shows.
    pub(crate) fn ended(self, status: u16, problem: Option<&Problem>) {
        self.house.figures.note(self.service, Ending::of(status, problem), self.started.elapsed());
    }
}

/// One call that was answered.
#[derive(Debug, Clone, Copy)]
struct Call {
    took: Duration,
    failed: bool,
}

#[derive(Debug, Default)]
struct Counts {
    total: u64,
    ok: u64,
    refused: u64,
    failed: u64,
    latest: Vec<Call>,
}

/// The figures of one gateway.
#[derive(Debug)]
pub(crate) struct Figures {
    since: Instant,
    services: [Mutex<Counts>; Service::ALL.len()],
}

impl Figures {
    pub(crate) fn new() -> Self {
        Self { since: Instant::now(), services: Default::default() }
    }

    /// Takes note of an answer.
    fn note(&self, service: Service, ending: Ending, took: Duration) {
        let Some(mut counts) = self.counts(service) else { return };
        let failed = ending == Ending::Failed;
        match ending {
            Ending::Ok => counts.ok += 1,
            Ending::Refused => counts.refused += 1,
            Ending::Failed => counts.failed += 1,
        }
        let at = usize::try_from(counts.total).unwrap_or(usize::MAX) % LATEST;
        counts.total += 1;
        let call = Call { took, failed };
        match counts.latest.get_mut(at) {
            Some(place) => *place = call,
            None => counts.latest.push(call),
        }
    }

    fn counts(&self, service: Service) -> Option<std::sync::MutexGuard<'_, Counts>> {
        let at = Service::ALL.iter().position(|known| *known == service)?;
        Some(self.services.get(at)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts since the start.
    pub(crate) fn stats(&self) -> Value {
        let of = |service: &Service| {
            let counts = self.counts(*service)?;
            let told = json!({
                "calls": counts.total, "ok": counts.ok, "refused": counts.refused, "failed": counts.failed
            });
            Some((service.id().to_owned(), told))
        };
        let services: serde_json::Map<_, _> = Service::ALL.iter().filter_map(of).collect();
        json!({"uptime_s": self.since.elapsed().as_secs(), "services": services})
    }

    /// How each service does: times in milliseconds over the latest calls.
    pub(crate) fn health(&self, service: Service) -> Value {
        let Some(counts) = self.counts(service) else { return Value::Null };
        let mut times: Vec<Duration> = counts.latest.iter().map(|call| call.took).collect();
        let failed = counts.latest.iter().filter(|call| call.failed).count();
        drop(counts);
        times.sort_unstable();
        let share = ratio(failed, times.len());
        let status = match times.len() {
            0 => "idle",
            _ if share >= DEGRADED_SHARE => "degraded",
            _ => "ok",
        };
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1);
            times.get(rank - 1).map(|took| (took.as_secs_f64() * 1e6).round() / 1e3)
        };
        json!({
            "status": status, "requests": times.len(), "error_rate": share,
            "p50": at(50), "p95": at(95), "p99": at(99)
        })
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    let number = |count: usize| u32::try_from(count).map_or(f64::MAX, f64::from);
    if whole == 0 { 0.0 } else { number(part) / number(whole) }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use serde_json::{Value, json};

    use super::{Ending, Figures, LATEST, Service};

    #[test]
    fn times_are_those_of_the_latest_calls_and_counts_those_of_all() {
        let figures = Figures::new();
        assert_eq!(figures.health(Service::Execute)["status"], "idle");
        assert_eq!(figures.health(Service::Execute)["p50"], Value::Null);
        for _ in 0..LATEST {
            figures.note(Service::Execute, Ending::Failed, Duration::from_secs(9));
        }
        assert_eq!(figures.health(Service::Execute)["status"], "degraded");
        for ms in 1..=1000 {
            figures.note(Service::Execute, Ending::Ok, Duration::from_millis(ms % 100 + 1));
        }
        for _ in 0..24 {
            figures.note(Service::Execute, Ending::Refused, Duration::from_millis(50));
        }
        let health = figures.health(Service::Execute);
        assert_eq!((&health["status"], &health["error_rate"]), (&json!("ok"), &json!(0.0)));
        assert_eq!((&health["p50"], &health["p99"]), (&json!(50.0), &json!(99.0)));
        let stats = &figures.stats()["services"]["execute"];
        assert_eq!(*stats, json!({"calls": 2048, "ok": 1000, "refused": 24, "failed": 1024}));
    }
}
