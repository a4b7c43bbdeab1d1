//! How far reads have come that found nothing to deliver in all that one call may look through.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::api::TopicId;
use crate::lock::Lock;
use crate::target::Target;

/// Remembers where a repeated read goes on, and in which topic: an offset of one that was deleted and created again has a
/// new meaning. Entries live for [`MAX_AGE`], which bounds that for brokers that know no ids (before Kafka 3.1).
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// At most [`MAX_ENTRIES`].
    reached: Lock<HashMap<(String, i32, i64), Reached>>,
}

#[derive(Debug)]
struct Reached {
    offset: i64,
    topic_id: Option<TopicId>,
    at: Instant,
}

impl Progress {
    /// Where to read on for a read at `offset`, if the topic still is the given one.
    pub(crate) fn get(&self, target: Target<'_>, offset: i64, now: Instant) -> (i64, Option<TopicId>) {
        let reached = self.reached.lock();
        // The map is empty but for rare logs; do not copy the name to find that out.
        if reached.is_empty() {
            return (offset, None);
        }
        match reached.get(&key(target, offset)) {
            Some(reached) if reached.is_valid(now) => (reached.offset, reached.topic_id),
            _ => (offset, None),
        }
    }

    /// Notes that there is nothing to deliver from `offset` up to `reached`.
    pub(crate) fn note(
        &self,
        target: Target<'_>,
        offset: i64,
        (reached, topic_id): (i64, Option<TopicId>),
        now: Instant,
    ) {
        let mut entries = self.reached.lock();
        if entries.len() >= MAX_ENTRIES {
            entries.retain(|_, reached| reached.is_valid(now));
        }
        if entries.len() >= MAX_ENTRIES {
            entries.clear();
        }
        entries.insert(key(target, offset), Reached { offset: reached, topic_id, at: now });
    }

    /// The log is not as it was.
    pub(crate) fn forget(&self, target: Target<'_>, offset: i64) {
        self.reached.lock().remove(&key(target, offset));
    }
}

impl Reached {
    fn is_valid(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < MAX_AGE
    }
}

fn key(target: Target<'_>, offset: i64) -> (String, i32, i64) {
    (target.topic().to_owned(), target.partition(), offset)
}

const MAX_AGE: Duration = Duration::from_secs(30);

const MAX_ENTRIES: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn target(partition: i32) -> Target<'static> {
        Target::parse("topic", partition).expect("a valid target")
    }

    #[test]
    fn a_repeated_read_goes_on_where_the_last_one_came_to() {
        let (progress, now) = (Progress::default(), Instant::now());
        let topic_id = TopicId::new(7);
        assert_eq!(progress.get(target(0), 5, now), (5, None));
        progress.note(target(0), 5, (900, topic_id), now);
        assert_eq!(progress.get(target(0), 5, now), (900, topic_id));
        assert_eq!(progress.get(target(0), 6, now), (6, None));
        assert_eq!(progress.get(target(1), 5, now), (5, None));
        progress.forget(target(0), 5);
        assert_eq!(progress.get(target(0), 5, now), (5, None));
    }

    #[test]
    fn what_was_found_long_ago_is_not_used() {
        let (progress, now) = (Progress::default(), Instant::now());
        progress.note(target(0), 5, (900, None), now);
        assert_eq!(progress.get(target(0), 5, now + MAX_AGE), (5, None));
    }

    #[test]
    fn it_never_holds_more_than_its_bound() {
        let (progress, now) = (Progress::default(), Instant::now());
        for offset in 0..3 * MAX_ENTRIES as i64 {
            progress.note(target(0), offset, (offset + 1, None), now);
            assert!(progress.reached.lock().len() <= MAX_ENTRIES);
        }
    }
}
