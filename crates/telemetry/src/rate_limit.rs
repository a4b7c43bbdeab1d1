//! Limits how often clients can trigger a log line.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Allows one line per label and `PAUSE`. Memory: one entry per label in the code.
#[derive(Debug, Default)]
pub struct RateLimit {
    last: Mutex<HashMap<&'static str, Instant>>,
}

impl RateLimit {
    /// Whether a line with this label can be logged now.
    pub fn is_due(&self, label: &'static str) -> bool {
        let now = Instant::now();
        let mut last = self.last.lock();
        let is_due = last.get(label).is_none_or(|last| now.duration_since(*last) >= PAUSE);
        if is_due {
            last.insert(label, now);
        }
        is_due
    }
}

const PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_label_is_due_once_in_ten_seconds() {
        let limit = RateLimit::default();
        assert_eq!(["a", "a", "b", "a"].map(|label| limit.is_due(label)), [true, false, true, false]);
        tokio::time::advance(PAUSE).await;
        assert_eq!(["a", "a", "b"].map(|label| limit.is_due(label)), [true, false, true]);
    }
}
