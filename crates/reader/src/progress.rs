//! How far reads have come that found nothing to deliver in all that one call may look through.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::lock::Lock;
use crate::target::Target;

/// Remembers where a repeated read goes on. Entries live for [`MAX_AGE`], so that an offset which gets a new meaning, as in
/// a topic that was deleted and created again, is not passed over for long.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// At most [`MAX_ENTRIES`].
    reached: Lock<HashMap<(String, i32, i64), Reached>>,
}

#[derive(Debug)]
struct Reached {
    offset: i64,
    at: Instant,
}

impl Progress {
    /// Where to read on for a read at `offset`.
    pub(crate) fn get(&self, target: Target<'_>, offset: i64, now: Instant) -> i64 {
        let reached = self.reached.lock();
        // The map is empty but for rare logs; do not copy the name to find that out.
        if reached.is_empty() {
            return offset;
        }
        match reached.get(&key(target, offset)) {
            Some(reached) if reached.is_valid(now) => reached.offset,
            _ => offset,
        }
    }

    /// Notes that there is nothing to deliver from `offset` up to `reached`.
    pub(crate) fn note(&self, target: Target<'_>, offset: i64, reached: i64, now: Instant) {
        let mut entries = self.reached.lock();
        if entries.len() >= MAX_ENTRIES {
            entries.retain(|_, reached| reached.is_valid(now));
        }
        if entries.len() >= MAX_ENTRIES {
            entries.clear();
        }
        entries.insert(key(target, offset), Reached { offset: reached, at: now });
    }

    /// The log no longer is as it was.
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
        assert_eq!(progress.get(target(0), 5, now), 5);
        progress.note(target(0), 5, 900, now);
        assert_eq!(progress.get(target(0), 5, now), 900);
        assert_eq!(progress.get(target(0), 6, now), 6);
        assert_eq!(progress.get(target(1), 5, now), 5);
        progress.forget(target(0), 5);
        assert_eq!(progress.get(target(0), 5, now), 5);
    }

    #[test]
    fn what_was_found_long_ago_is_not_used() {
        let (progress, now) = (Progress::default(), Instant::now());
        progress.note(target(0), 5, 900, now);
        assert_eq!(progress.get(target(0), 5, now + MAX_AGE), 5);
    }

    #[test]
    fn it_never_holds_more_than_its_bound() {
        let (progress, now) = (Progress::default(), Instant::now());
        for offset in 0..3 * MAX_ENTRIES as i64 {
            progress.note(target(0), offset, offset + 1, now);
            assert!(progress.reached.lock().len() <= MAX_ENTRIES);
        }
    }
}
