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
    /// Records that were left out, by their offsets.
    pub(super) lost: u64,
    /// Records that came again.
    pub(super) repeated: u64,
    /// Records by the milliseconds that they were on their way.
    took: Vec<u64>,
}

impl Seen {
    pub(super) fn deliver(&mut self, took: Duration) {
        // Of those that took longer, the last counter has all.
        let ms = usize::try_from(took.as_millis()).unwrap_or(MAX_MS).min(MAX_MS);
        self.took.resize(self.took.len().max(ms + 1), 0);
        self.took.iter_mut().skip(ms).take(1).for_each(|count| *count += 1);
    }

    pub(super) fn delivered(&self) -> f64 {
        self.took.iter().sum::<u64>() as f64
    }

    /// Counts until now, which begin again at zero; open sockets stay.
    pub(super) fn take(&mut self) -> Self {
        let open = self.open;
        std::mem::replace(self, Self { open, ..Self::default() })
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.open += other.open;
        self.failed += other.failed;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.took.resize(self.took.len().max(other.took.len()), 0);
        self.took.iter_mut().zip(&other.took).for_each(|(sum, more)| *sum += more);
    }

    /// The milliseconds within which this share of the records arrived.
    pub(super) fn within(&self, share: f64) -> f64 {
        let (wanted, mut sum) = (self.delivered() * share, 0.0);
        let late = self.took.iter().take_while(|count| {
            sum += **count as f64;
            sum < wanted
        });
        (late.count() + 1) as f64
    }
}

/// A minute.
const MAX_MS: usize = 60_000;
