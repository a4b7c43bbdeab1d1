//! Numbers in headers, paths, queries and JSON strings, and times as numbers.

use std::time::{SystemTime, UNIX_EPOCH};

/// A whole number in decimal digits, with an optional minus sign.
pub fn whole_number(text: &str) -> Option<i64> {
    // Rust's parser also accepts a plus sign.
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// The milliseconds since 1970 of a time; 0 before that.
pub fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_with_an_optional_minus_sign() {
        for (text, want) in [("0", 0), ("007", 7), ("-1", -1), ("9223372036854775807", i64::MAX)] {
            assert_eq!(whole_number(text), Some(want), "{text}");
        }
        for text in ["", "-", "+1", "--1", "1.0", "1e2", "0x1", " 1", "9223372036854775808", "٣"] {
            assert_eq!(whole_number(text), None, "{text}");
        }
    }
}
