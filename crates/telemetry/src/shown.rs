//! Names, times and durations as operators see them.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use ring::digest::{SHA256, digest};
use time::OffsetDateTime;

/// A name that a client or a gateway chose. OpenID Connect's subjects have at most 255 bytes: of one with more than 512,
/// this is the beginning and a hash, which is the same at every bridge.
pub fn name(name: &str) -> Cow<'_, str> {
    match cut(name) {
        None => Cow::Borrowed(name),
        Some(beginning) => Cow::Owned(format!("{beginning}{}", rest(name))),
    }
}

/// Whether `wanted` is a name, or its form in [`name`].
pub fn is_name(name: &str, wanted: &str) -> bool {
    // Names are hashed only if they begin as the wanted one.
    let is_shown = |beginning| wanted.strip_prefix(beginning).is_some_and(|end| end == rest(name));
    name == wanted || cut(name).is_some_and(is_shown)
}

/// The beginning of a long name; None: it is short.
fn cut(name: &str) -> Option<&str> {
    match name.len() > MAX_NAME_BYTES {
        true => name.get(..name.floor_char_boundary(MAX_NAME_BYTES)),
        false => None,
    }
}

/// The mark in place of the rest of a long name.
fn rest(name: &str) -> String {
    let hash = digest(&SHA256, name.as_bytes());
    let hash = hash.as_ref().first_chunk().copied().unwrap_or_default();
    format!("…{:016x}", u64::from_be_bytes(hash))
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
    fn long_names_are_cut_between_characters_and_told_apart() {
        let long = |end: &str| format!("{}é{end}", "x".repeat(511));
        for short in ["", "alice", &"x".repeat(512)] {
            assert_eq!(name(short), short);
        }
        assert_eq!(name(&long("")), format!("{}…67eedb403b801eae", "x".repeat(511)));
        assert_ne!(name(&long("a")), name(&long("b")));
        for all in [long(""), long("a")] {
            assert!(is_name(&all, &all) && is_name(&all, &name(&all)));
            assert!(!is_name(&all, &name(&long("b"))) && !is_name(&all, &"x".repeat(511)));
        }
    }
}
