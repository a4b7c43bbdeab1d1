//! The nesting of JSON that becomes a part of an answer.

/// The most levels of arrays and objects in a key or value. Many parsers refuse a level 128, among them serde_json by
/// default. The answer with most levels around a value has five: `{"results":[{"messages":[{"value":…}]}]}`.
pub const MAX_DEPTH: usize = 127 - 5;

/// Whether these bytes, if they are JSON, have more than [`MAX_DEPTH`] levels. Needs no stack.
pub(super) fn is_exceeded(bytes: &[u8]) -> bool {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for byte in bytes {
        in_string ^= *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        match byte {
            b'[' | b'{' if !in_string => depth = depth.saturating_add(1),
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::nested;

    #[test]
    fn levels_are_counted_outside_strings() {
        let objects = |depth: usize| r#"{"a\\":"#.repeat(depth) + "1" + &"}".repeat(depth);
        let siblings = format!("[{}1]", format!("{},", nested(MAX_DEPTH - 1)).repeat(3));
        let string = format!(r#"["{}\"{}"]"#, "[".repeat(1000), "{".repeat(1000));
        for json in ["1".to_owned(), nested(MAX_DEPTH), objects(MAX_DEPTH), siblings, string] {
            serde_json::from_str::<serde_json::Value>(&json).unwrap();
            assert!(!is_exceeded(json.as_bytes()), "{json}");
        }
        for json in [nested(MAX_DEPTH + 1), objects(MAX_DEPTH + 1), nested(1000)] {
            assert!(is_exceeded(json.as_bytes()), "{json}");
        }
    }

    #[test]
    fn hostile_bytes_need_no_stack() {
        assert!(is_exceeded("[".repeat(10 << 20).as_bytes()));
        assert!(!is_exceeded("]".repeat(10 << 20).as_bytes()));
        assert!(!is_exceeded(b"\"\\"));
    }
}
