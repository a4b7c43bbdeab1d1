//! Offsets up to which a fetch found nothing to deliver.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::lock::Lock;
use crate::log_version::LogVersion;
use crate::topic_partition::TopicPartition;

/// Caches where a repeated fetch continues, and in which version of the log: in another one, records can follow.
/// Entries live for [`MAX_AGE`], which bounds that effect for brokers without topic ids (before Kafka 3.1).
#[derive(Debug, Default)]
pub(crate) struct SkipCache {
    /// At most [`MAX_ENTRIES`].
    reached: Lock<HashMap<(String, i32, i64), Reached>>,
}

#[derive(Debug)]
struct Reached {
    offset: i64,
    version: LogVersion,
    at: Instant,
}

impl SkipCache {
    /// The offset at which a fetch at `offset` continues, and the version for which that holds.
    pub(crate) fn get(
        &self,
        target: TopicPartition<'_>,
        offset: i64,
        now: Instant,
    ) -> (i64, Option<LogVersion>) {
        let reached = self.reached.lock();
        // The map is usually empty: do not copy the name to find that out.
        if reached.is_empty() {
            return (offset, None);
        }
        match reached.get(&key(target, offset)) {
            Some(reached) if reached.is_valid(now) => (reached.offset, Some(reached.version)),
            _ => (offset, None),
        }
    }

    /// Stores that there is nothing to deliver from `offset` up to `reached`.
    pub(crate) fn insert(
        &self,
        target: TopicPartition<'_>,
        offset: i64,
        (reached, version): (i64, LogVersion),
        now: Instant,
    ) {
        let mut entries = self.reached.lock();
        if entries.len() >= MAX_ENTRIES {
            entries.retain(|_, reached| reached.is_valid(now));
        }
        if entries.len() >= MAX_ENTRIES {
            entries.clear();
        }
        entries.insert(key(target, offset), Reached { offset: reached, version, at: now });
    }

    /// Drops an entry, because the log has changed.
    pub(crate) fn remove(&self, target: TopicPartition<'_>, offset: i64) {
        self.reached.lock().remove(&key(target, offset));
    }
}

impl Reached {
    fn is_valid(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < MAX_AGE
    }
}

fn key(target: TopicPartition<'_>, offset: i64) -> (String, i32, i64) {
    (target.topic().to_owned(), target.partition(), offset)
}

const MAX_AGE: Duration = Duration::from_secs(30);

const MAX_ENTRIES: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::TopicId;

    const VERSION: LogVersion = LogVersion { topic_id: None, leader_epoch: 0 };

    fn target(partition: i32) -> TopicPartition<'static> {
        TopicPartition::parse("topic", partition).expect("a valid target")
    }

    #[test]
    fn repeated_fetch_continues_at_the_stored_offset() {
        let (cache, now) = (SkipCache::default(), Instant::now());
        let version = LogVersion { topic_id: TopicId::new(7), leader_epoch: 3 };
        assert_eq!(cache.get(target(0), 5, now), (5, None));
        cache.insert(target(0), 5, (900, version), now);
        assert_eq!(cache.get(target(0), 5, now), (900, Some(version)));
        assert_eq!(cache.get(target(0), 6, now), (6, None));
        assert_eq!(cache.get(target(1), 5, now), (5, None));
        cache.remove(target(0), 5);
        assert_eq!(cache.get(target(0), 5, now), (5, None));
    }

    #[test]
    fn entries_expire() {
        let (cache, now) = (SkipCache::default(), Instant::now());
        cache.insert(target(0), 5, (900, VERSION), now);
        assert_eq!(cache.get(target(0), 5, now + MAX_AGE), (5, None));
    }

    #[test]
    fn number_of_entries_is_bounded() {
        let (cache, now) = (SkipCache::default(), Instant::now());
        for offset in 0..3 * MAX_ENTRIES as i64 {
            cache.insert(target(0), offset, (offset + 1, VERSION), now);
            assert!(cache.reached.lock().len() <= MAX_ENTRIES);
        }
    }
}
