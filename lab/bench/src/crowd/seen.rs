//! Counts of a crowd of clients, which several processes add up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The clients of one process, or of several.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seen {
    /// Sockets that are open, and subscribed if they want to be.
    pub(super) open: u64,
    /// Connections that ended or did not come about.
    pub(super) failed: u64,
    /// Records that arrived since the last report.
    pub(super) delivered: u64,
    /// Records that were left out, by their offsets.
    pub(super) lost: u64,
    /// Records that came again.
    pub(super) repeated: u64,
    latency: Latency,
}

/// The number of records by their time on the way: 8 classes for each doubling, from a microsecond on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Latency(Vec<u64>);

impl Seen {
    pub(super) fn deliver(&mut self, took: Duration) {
        let class = (took.as_secs_f64() * 1e6).max(1.0).log2() * CLASSES;
        // Saturates.
        let class = (class as usize).min(MAX_CLASS);
        if self.latency.0.len() <= class {
            self.latency.0.resize(class + 1, 0);
        }
        self.latency.0.iter_mut().skip(class).take(1).for_each(|count| *count += 1);
        self.delivered += 1;
    }

    /// Counts until now, which begin again at zero; open sockets stay.
    pub(super) fn take(&mut self) -> Self {
        let open = self.open;
        std::mem::replace(self, Self { open, ..Self::default() })
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.open += other.open;
        self.failed += other.failed;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.repeated += other.repeated;
        if self.latency.0.len() < other.latency.0.len() {
            self.latency.0.resize(other.latency.0.len(), 0);
        }
        self.latency.0.iter_mut().zip(&other.latency.0).for_each(|(sum, more)| *sum += more);
    }

    /// The time within which this share of the records arrived, in milliseconds: at most 9 % more than it was.
    pub(super) fn within(&self, share: f64) -> f64 {
        let wanted = self.delivered as f64 * share;
        let mut sum = 0.0;
        for (class, count) in self.latency.0.iter().enumerate() {
            sum += *count as f64;
            if sum >= wanted {
                return ((class + 1) as f64 / CLASSES).exp2() / 1e3;
            }
        }
        0.0
    }
}

/// Of each doubling.
const CLASSES: f64 = 8.0;
/// Some minutes.
const MAX_CLASS: usize = 230;
