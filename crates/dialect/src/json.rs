//! Checks a client's JSON, and removes the whitespace between its tokens. Numbers, strings, names and their order are
//! never parsed into values that could change them.
//!
//! [`list`] bounds the memory of arrays. [`mod@format`] has the keys and values of records, [`record`] those of Kafka.
//! `portable` tells which of others' JSON can be embedded.

pub mod format;
pub mod list;
pub(crate) mod portable;
pub mod record;

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A client's JSON without the byte order mark that some programs put before it (RFC 8259, section 8.1: "implementations
/// that parse JSON texts MAY ignore the presence of a byte order mark rather than treating it as an error").
pub fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

/// The bytes of base64 in JSON: of either alphabet, with and without padding (RFC 4648, sections 3.2, 4 and 5).
pub fn base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// The text of a client's bytes that are one JSON value, without whitespace around it.
///
/// # Errors
/// See [`value`].
pub fn parse(bytes: &[u8]) -> Result<&str, InvalidJson> {
    value(bytes).map(RawValue::get)
}

/// The same as a value. Needs no stack for nesting.
///
/// # Errors
/// The bytes are not valid JSON; says where, and what was expected.
pub fn value(bytes: &[u8]) -> Result<&RawValue, InvalidJson> {
    let text = std::str::from_utf8(without_bom(bytes))
        .map_err(|error| InvalidJson(format!("no UTF-8 after {} bytes", error.valid_up_to())))?;
    // The parser's errors describe the grammar and never repeat content.
    serde_json::from_str(text).map_err(|error| InvalidJson(error.to_string()))
}

/// The fault of a header whose key is there twice, in two spellings.
pub(crate) const KEY_AND_NAME: &str = "has key and name, expected one of them";

/// Not JSON.
#[derive(Debug, thiserror::Error)]
#[error("not valid JSON: {0}")]
pub struct InvalidJson(String);

/// Removes the whitespace between the tokens of valid JSON, and keeps every other byte.
pub fn compacted(json: &str) -> String {
    let mut text = json.to_owned();
    let mut in_string = false;
    let mut escaped = false;
    text.retain(|character| {
        let kept = in_string || !matches!(character, ' ' | '\t' | '\n' | '\r');
        in_string ^= character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        kept
    });
    text
}

/// A member's JSON, also if it is null. With `serde(default)`, only an absent member is None: a misspelt name must not
/// write null.
pub fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The JSON of a [`present`] member; None for null.
///
/// # Errors
/// The member is absent; says what was expected.
pub fn or_null(member: Option<&RawValue>) -> Result<Option<&RawValue>, &'static str> {
    let json = member.ok_or("missing, expected a value or null")?;
    Ok(Some(json).filter(|json| json.get() != "null"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::value;

    #[test]
    fn only_whitespace_between_tokens_is_removed() {
        for (json, want) in [
            (" 1 ", "1"),
            ("{ \"a b\" : [ 1 , 2 ] ,\r\n\t\"c\\\" \\\\\" : \" \" }", r#"{"a b":[1,2],"c\" \\":" "}"#),
            ("[123456789012345678901.10, 1e400, -0, 1E+2]", "[123456789012345678901.10,1e400,-0,1E+2]"),
            (r#"{"a": 1, "a": 2, "\u00e9\ud83d": "é\/"}"#, r#"{"a":1,"a":2,"\u00e9\ud83d":"é\/"}"#),
            ("\"\\\\\" ", "\"\\\\\""),
            (r#"["\\\"  \\", " "]"#, r#"["\\\"  \\"," "]"#),
        ] {
            parse(json.as_bytes()).unwrap();
            assert_eq!(compacted(json), want);
        }
    }

    #[track_caller]
    fn check(body: &[u8], want: &str) {
        let text = parse(body).unwrap_err().to_string();
        assert!(text.contains(want), "{text}");
    }

    #[test]
    fn invalid_json_is_refused_with_its_position() {
        check(b"", "not valid JSON: EOF while parsing a value at line 1 column 0");
        check(b"{\n  \"a\": 1,\n}", "key must be a string at line 3 column 1");
        check(b"1 2", "trailing characters at line 1 column 3");
        for number in ["01", "+1", "1.", "NaN", "0x1"] {
            check(number.as_bytes(), "line 1 column ");
        }
        for string in ["\"", "\"\\x\"", "\"\n\"", "'a'", "\"a\u{0}\""] {
            check(string.as_bytes(), "line ");
        }
        assert_eq!(parse(b"\xEF\xBB\xBF1").unwrap(), "1");
        check(b"\xEF\xBB\xBF\xEF\xBB\xBF1", "line 1 column 1");
        check(b"\"ab\xFF\"", "no UTF-8 after 3 bytes");
        check(b"{\"a\":1", "EOF while parsing an object at line 1 column 6");
    }

    #[test]
    fn deep_json_needs_little_stack_and_time() {
        let depth = 512 * 1024;
        let deep = "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(compacted(parse(deep.as_bytes()).unwrap()), deep);
        check("[".repeat(1 << 20).as_bytes(), "EOF while parsing a list");
        let objects = "{\"\":".repeat(1 << 18) + "1" + &"}".repeat(1 << 18);
        parse(objects.as_bytes()).unwrap();
    }

    proptest! {
        #[test]
        fn compacting_keeps_the_value(value in value(), gaps in prop::collection::vec("[ \t\r\n]{0,3}", 1..8)) {
            let compact = serde_json::to_string(&value).unwrap();
            let mut gaps = gaps.iter().cycle();
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            // Strings have no line breaks: each line break is between tokens, and more whitespace follows it.
            let json: String = pretty.split_inclusive('\n').flat_map(|line| [line, gaps.next().unwrap()]).collect();
            prop_assert_eq!(compacted(parse(json.as_bytes()).unwrap()), compact);
        }

        #[test]
        fn arbitrary_bytes_are_safe(body in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(text) = parse(&body) {
                let compact = compacted(text);
                prop_assert_eq!(compacted(parse(compact.as_bytes()).unwrap()), compact);
            }
        }
    }
}
