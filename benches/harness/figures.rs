//! Medians and percentiles.

/// The middle value; of an even number of them, the lower one.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get(sorted.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(f64::NAN)
}

/// Median, 99th and 99.9th percentile of times in microseconds, told in milliseconds.
pub(crate) fn percentiles(times_us: &mut [i64]) -> [(&'static str, f64); 3] {
    times_us.sort_unstable();
    let ms = |share: f64| {
        // The smallest value that is not below so many of them.
        let rank = (share * times_us.len() as f64).ceil() as usize;
        let value = times_us.get(rank.saturating_sub(1));
        value.map_or(f64::NAN, |us| *us as f64 / 1e3)
    };
    [
        ("p50 ms", ms(0.5)),
        ("p99 ms", ms(0.99)),
        ("p99.9 ms", ms(0.999)),
    ]
}
