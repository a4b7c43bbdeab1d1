//! Names, times and durations as operators see them.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

/// The beginning of a name that a client or a gateway chose, at most 512 bytes. OpenID Connect's subjects have at most
/// 255.
pub fn name(name: &str) -> &str {
    name.get(..name.floor_char_boundary(MAX_NAME_BYTES)).unwrap_or_default()
}

/// A time in UTC, with milliseconds (RFC 3339). All of these years have the same length, so that they sort as text.
pub fn time(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    let milli = at.millisecond();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z", u8::from(month))
}

/// Whole milliseconds.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

const MAX_NAME_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_length() {
        let at = |millis| time(SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
        assert_eq!(at(1_764_046_800_000), "2025-11-25T05:00:00.000Z");
        assert_eq!(at(1_764_046_805_120), "2025-11-25T05:00:05.120Z");
    }

    #[test]
    fn names_are_cut_between_characters() {
        assert_eq!(name("alice"), "alice");
        assert_eq!(name(&format!("{}é", "x".repeat(511))), "x".repeat(511));
    }
}
