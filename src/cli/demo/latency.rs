//! How long it took from commit to receipt: a histogram of fixed size, in all and of the last
//! seconds.

use std::time::Duration;

/// Buckets a doubling: a percentile is at most 1/16 of a doubling, 4.5%, above the truth.
const BUCKETS_PER_DOUBLING: f64 = 16.0;
/// Up to 2^30 microseconds, 18 minutes; what takes longer counts as that.
const BUCKETS: usize = 30 * 16;
/// How many turns the last seconds have.
const RECENT_TURNS: usize = 5;

/// Counts durations by their logarithm.
#[derive(Clone)]
pub(super) struct Histogram {
    counts: Box<[u64; BUCKETS]>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: Box::new([0; BUCKETS]),
            total: 0,
        }
    }
}

impl Histogram {
    fn add(&mut self, duration: Duration) {
        let micros = duration.as_micros().max(1) as f64;
        let bucket = (micros.log2() * BUCKETS_PER_DOUBLING) as usize;
        self.counts[bucket.min(BUCKETS - 1)] += 1;
        self.total += 1;
    }

    fn merge(&mut self, other: &Self) {
        for (to, from) in self.counts.iter_mut().zip(other.counts.iter()) {
            *to += from;
        }
        self.total += other.total;
    }

    /// The upper end of the bucket below which the share `share` of all lies; nothing if it is
    /// empty.
    fn percentile(&self, share: f64) -> Option<Duration> {
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                let micros = ((bucket + 1) as f64 / BUCKETS_PER_DOUBLING).exp2();
                return Some(Duration::from_micros(micros as u64));
            }
        }
        None
    }
}

/// Two percentiles.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Percentiles {
    pub(super) p50: Option<Duration>,
    pub(super) p99: Option<Duration>,
}

impl Percentiles {
    fn of(histogram: &Histogram) -> Self {
        Self {
            p50: histogram.percentile(0.50),
            p99: histogram.percentile(0.99),
        }
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |value: Option<Duration>| {
            value.map_or_else(
                || "-".to_owned(),
                |value| format!("{:.1} ms", value.as_secs_f64() * 1_000.0),
            )
        };
        write!(f, "p50 {}, p99 {}", text(self.p50), text(self.p99))
    }
}

/// From commit to receipt.
#[derive(Default)]
pub(super) struct Latency {
    total: Histogram,
    recent: [Histogram; RECENT_TURNS],
    turn: usize,
}

impl Latency {
    pub(super) fn add(&mut self, duration: Duration) {
        self.total.add(duration);
        self.recent[self.turn].add(duration);
    }

    /// Forgets the oldest turn of the last seconds.
    pub(super) fn turn(&mut self) {
        self.turn = (self.turn + 1) % RECENT_TURNS;
        self.recent[self.turn] = Histogram::default();
    }

    pub(super) fn total(&self) -> Percentiles {
        Percentiles::of(&self.total)
    }

    pub(super) fn recent(&self) -> Percentiles {
        let mut sum = Histogram::default();
        for turn in &self.recent {
            sum.merge(turn);
        }
        Percentiles::of(&sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_at_most_one_bucket_above_the_truth() {
        let mut latency = Latency::default();
        assert_eq!(latency.total().to_string(), "p50 -, p99 -");
        for millis in 1..=1_000 {
            latency.add(Duration::from_millis(millis));
        }
        let Percentiles { p50, p99 } = latency.total();
        let (p50, p99) = (p50.unwrap().as_millis(), p99.unwrap().as_millis());
        assert!((500..=523).contains(&p50), "{p50}");
        assert!((990..=1035).contains(&p99), "{p99}");
    }

    #[test]
    fn what_is_out_of_range_is_counted_at_the_ends() {
        let mut latency = Latency::default();
        latency.add(Duration::ZERO);
        assert!(latency.total().p99.unwrap() <= Duration::from_micros(2));
        latency.add(Duration::from_secs(1_000_000));
        assert!(latency.total().p99.unwrap() > Duration::from_secs(1_000));
    }

    #[test]
    fn the_last_seconds_forget_and_the_total_does_not() {
        let mut latency = Latency::default();
        latency.add(Duration::from_millis(5));
        for _ in 0..RECENT_TURNS {
            latency.turn();
        }
        assert!(latency.recent().p50.is_none());
        assert!(latency.total().p50.is_some());
    }
}
