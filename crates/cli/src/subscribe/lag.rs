//! Distance of a subscription to the log ends.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::log::Log;

/// In offsets, of at most 1,000 logs, the limit of a session. Shows the sum.
#[derive(Debug, Default)]
pub(super) struct Lag {
    behind: BTreeMap<Log, u64>,
    /// Lag and time of the last line.
    said: Option<(u64, Instant)>,
}

impl Lag {
    pub(super) fn note(&mut self, log: &Log, behind: u64) {
        self.behind.insert(log.clone(), behind);
    }

    /// A line, if there is news that are not 0, and the last one is a second old.
    pub(super) fn line(&mut self, now: Instant) -> Option<String> {
        let sum = self.sum();
        let is_news = |(said, at): (u64, Instant)| said != sum && now.duration_since(at) >= SECOND;
        if sum == 0 || !self.said.is_none_or(is_news) {
            return None;
        }
        self.said = Some((sum, now));
        let (log, most) = self.behind.iter().max_by_key(|(_, behind)| **behind)?;
        Some(format!("% {sum} behind, {most} of them in {log}"))
    }

    fn sum(&self) -> u64 {
        self.behind.values().copied().fold(0, u64::saturating_add)
    }
}

impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sum().fmt(f)
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_says_what_is_new_once_a_second() {
        let start = Instant::now();
        let mut lag = Lag::default();
        assert_eq!(lag.line(start), None);
        lag.note(&Log::partition("orders", 0), 1000);
        lag.note(&Log::partition("orders", 2), 234);
        let said = Some("% 1234 behind, 1000 of them in orders [0]".to_owned());
        assert_eq!((lag.line(start), lag.to_string().as_str()), (said, "1234"));
        assert_eq!(lag.line(start + SECOND), None, "nothing is new");
        lag.note(&Log::partition("orders", 0), 7);
        assert_eq!(lag.line(start + SECOND / 2), None, "too early");
        assert_eq!(lag.line(start + SECOND), Some("% 241 behind, 234 of them in orders [2]".to_owned()));
        lag.note(&Log::partition("orders", 0), 0);
        lag.note(&Log::partition("orders", 2), 0);
        assert_eq!(lag.line(start + SECOND * 3), None, "not behind");
    }
}
