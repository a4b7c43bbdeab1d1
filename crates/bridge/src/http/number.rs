//! Numbers in headers, paths and queries.

/// A whole number in decimal digits, with a minus sign or none.
pub(super) fn whole_number(text: &str) -> Option<i64> {
    // Rust's parser takes a plus sign, too.
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_with_a_minus_sign_or_none() {
        for (text, want) in [("0", 0), ("007", 7), ("-1", -1), ("9223372036854775807", i64::MAX)] {
            assert_eq!(whole_number(text), Some(want), "{text}");
        }
        for text in ["", "-", "+1", "--1", "1.0", "1e2", "0x1", " 1", "9223372036854775808", "٣"] {
            assert_eq!(whole_number(text), None, "{text}");
        }
    }
}
