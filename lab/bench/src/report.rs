//! Output of the benchmark.

#![expect(clippy::print_stdout, reason = "a program's output")]

use std::time::Duration;

/// Median and 99th percentile, in seconds.
pub(crate) fn percentiles(took: &[Duration]) -> (f64, f64) {
    let mut took = took.to_vec();
    took.sort_unstable();
    let percentile = |percent: usize| {
        let at = (took.len() * percent / 100).min(took.len().saturating_sub(1));
        took.get(at).map_or(0.0, Duration::as_secs_f64)
    };
    (percentile(50), percentile(99))
}

/// The middle one of some values; 0 without any.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

pub(crate) fn say(line: &str) {
    println!("{line}");
}
