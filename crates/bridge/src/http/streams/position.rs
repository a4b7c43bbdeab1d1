//! Offsets and cursors of streams: one text for each position, which sorts as the positions do.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use sluicegate_backend::number::whole_number;

/// A position in a stream: the topic's id, which a topic that is created again has not, and the offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// 0 where the cluster tells none.
    pub(super) topic_id: u128,
    pub(super) offset: i64,
}

impl Position {
    pub(super) fn new(topic_id: Option<u128>, offset: i64) -> Self {
        Self { topic_id: topic_id.unwrap_or_default(), offset: offset.max(0) }
    }

    /// The text, of 43 characters.
    pub(super) fn text(self) -> String {
        format!("{}_{:0DIGITS$}", BASE64.encode(self.topic_id.to_be_bytes()), self.offset)
    }

    /// Parses a text. None for others than those of [`Position::text`].
    pub(super) fn parse(text: &str) -> Option<Self> {
        // An id can have the separator in it, too.
        let (id, digits) = text.rsplit_once('_')?;
        let id: [u8; 16] = BASE64.decode(id).ok()?.try_into().ok()?;
        let offset = whole_number(digits).filter(|offset| *offset >= 0)?;
        (digits.len() == DIGITS).then_some(Self { topic_id: u128::from_be_bytes(id), offset })
    }
}

/// The cursor of an answer to a client with this one (section 8.1). It never goes back: the answer to a client of the same
/// interval, or of one that this bridge's clock has not reached, has a later one. That breaks loops of caches.
pub(super) fn cursor(of_client: Option<u64>) -> u64 {
    let begin = UNIX_EPOCH.checked_add(FIRST);
    let since = begin.and_then(|begin| SystemTime::now().duration_since(begin).ok()).unwrap_or_default();
    let now = since.as_secs() / INTERVAL_S;
    match of_client {
        Some(cursor) if cursor >= now => cursor.saturating_add(fastrand::u64(JITTER)),
        _ => now,
    }
}

/// The digits of an offset: those of the largest one.
const DIGITS: usize = 20;
/// 2024-10-09T00:00:00Z, since 1970.
const FIRST: Duration = Duration::from_secs(1_728_432_000);
const INTERVAL_S: u64 = 20;
/// In intervals: the protocol has 1 to 3,600 s.
const JITTER: RangeInclusive<u64> = 1..=3600 / INTERVAL_S;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_texts_are_no_positions() {
        let text = Position::new(Some(7), 5).text();
        assert_eq!(text, "AAAAAAAAAAAAAAAAAAAABw_00000000000000000005");
        let (negative, long) = (text.replace("_0", "_-"), format!("{text}0"));
        for text in ["", "_", "5", "-1", "now", &text[1..], &text[..42], &negative, &long] {
            assert_eq!(Position::parse(text), None, "{text}");
        }
    }

    #[test]
    fn cursor_never_goes_back() {
        let now = cursor(None);
        assert!(now > 100_000);
        assert!(cursor(Some(now - 1)) >= now);
        for cursor_of_client in [now, now + 1_000_000] {
            let next = cursor(Some(cursor_of_client));
            assert!(next > cursor_of_client && next <= cursor_of_client + 180);
        }
        assert_eq!(cursor(Some(u64::MAX)), u64::MAX);
    }

    proptest! {
        #[test]
        fn texts_sort_as_positions(id: u128, a in 0..=i64::MAX, b in 0..=i64::MAX) {
            let [a, b] = [a, b].map(|offset| Position::new(Some(id), offset));
            prop_assert_eq!(Position::parse(&a.text()), Some(a));
            prop_assert_eq!(a.text().cmp(&b.text()), a.offset.cmp(&b.offset));
        }
    }
}
