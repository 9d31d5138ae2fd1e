//! The measurements of one contender, and what is told of them.

use std::time::Duration;

use serde::Serialize;

/// What one contender did over all its rounds.
#[derive(Debug, Default)]
pub(crate) struct Series {
    /// Its name in the table.
    pub(crate) name: String,
    /// How long each answered operation took.
    pub(crate) latencies: Vec<Duration>,
    /// Operations that were answered with anything but success; their times are not among the latencies.
    pub(crate) refused: usize,
    /// The time in which this contender had the machine.
    pub(crate) wall: Duration,
    /// Processor time of the processes under test.
    pub(crate) cpu: Option<Duration>,
    /// Processor time of the client.
    pub(crate) client_cpu: Option<Duration>,
}

/// One line of a table; times in microseconds where the name does not say otherwise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    /// The contender.
    pub(crate) name: String,
    /// Answered operations.
    pub(crate) count: usize,
    /// Operations refused or failed.
    pub(crate) refused: usize,
    /// Half of the operations took no longer.
    pub(crate) p50_us: f64,
    /// 95 of 100 took no longer.
    pub(crate) p95_us: f64,
    /// 99 of 100 took no longer.
    pub(crate) p99_us: f64,
    /// The longest.
    pub(crate) max_us: f64,
    /// `p50` divided by the baseline's; `None` for the baseline itself.
    pub(crate) ratio: Option<f64>,
    /// Answered operations a second, where the contender ran without pause.
    pub(crate) per_second: Option<f64>,
    /// Processor time of the processes under test for each operation.
    pub(crate) cpu_ms_per_op: Option<f64>,
    /// Which part of one core the client took.
    pub(crate) client_cpu_share: Option<f64>,
}

impl Series {
    /// An empty series of this name.
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Adds processor time of the processes under test.
    pub(crate) fn add_cpu(&mut self, more: Duration) {
        *self.cpu.get_or_insert_default() += more;
    }

    /// The value that `permille` of 1000 measurements do not pass; zero if there are none.
    pub(crate) fn percentile(&self, permille: usize) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * permille).div_ceil(1000).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    }

    /// The line of this series. `per_second` only makes sense for one that ran without pause.
    pub(crate) fn row(&self, baseline: Option<&Self>, paused: Paused) -> Row {
        let us = |permille| self.percentile(permille).as_secs_f64() * 1e6;
        let operations = count_f64(self.latencies.len() + self.refused).max(1.0);
        let wall = self.wall.as_secs_f64().max(1e-9);
        Row {
            name: self.name.clone(),
            count: self.latencies.len(),
            refused: self.refused,
            p50_us: us(500),
            p95_us: us(950),
            p99_us: us(990),
            max_us: us(1000),
            ratio: baseline
                .map(|baseline| us(500) / (baseline.percentile(500).as_secs_f64() * 1e6).max(1e-9)),
            per_second: (paused == Paused::Never).then(|| count_f64(self.latencies.len()) / wall),
            cpu_ms_per_op: self.cpu.map(|cpu| cpu.as_secs_f64() * 1e3 / operations),
            client_cpu_share: self.client_cpu.map(|cpu| cpu.as_secs_f64() / wall),
        }
    }
}

/// Whether a contender waited for the others between its operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paused {
    /// Between any two.
    EachTime,
    /// Only between slices of time.
    Never,
}

/// The order of a round: each contender once, begun by another one each time.
pub(crate) fn rotated(contenders: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..contenders).map(move |place| (place + round) % contenders)
}

fn count_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(latencies_us: impl IntoIterator<Item = u64>) -> Series {
        Series {
            latencies: latencies_us.into_iter().map(Duration::from_micros).collect(),
            ..Series::new("a")
        }
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let series = series((1..=200).rev());
        let us: Vec<u128> =
            [500, 950, 990, 1000].map(|permille| series.percentile(permille).as_micros()).into();
        assert_eq!(us, [100, 190, 198, 200]);
        assert_eq!(Series::new("none").percentile(500), Duration::ZERO);
    }

    #[test]
    fn a_row_counts_every_operation_for_its_cost() {
        let mut ours = series([10, 20, 30]);
        ours.refused = 1;
        ours.wall = Duration::from_secs(2);
        ours.add_cpu(Duration::from_millis(6));
        ours.add_cpu(Duration::from_millis(2));
        ours.client_cpu = Some(Duration::from_secs(1));
        let row = ours.row(Some(&series([40])), Paused::Never);
        assert_eq!((row.count, row.refused, row.p50_us, row.ratio), (3, 1, 20.0, Some(0.5)));
        assert_eq!(
            (row.per_second, row.cpu_ms_per_op, row.client_cpu_share),
            (Some(1.5), Some(2.0), Some(0.5))
        );
        assert_eq!(ours.row(None, Paused::EachTime).per_second, None);
    }

    #[test]
    fn every_contender_begins_once() {
        let rounds: Vec<Vec<usize>> = (0..3).map(|round| rotated(3, round).collect()).collect();
        assert_eq!(rounds, [[0, 1, 2], [1, 2, 0], [2, 0, 1]]);
    }
}
