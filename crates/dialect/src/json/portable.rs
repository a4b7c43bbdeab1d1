//! JSON that strict parsers of other languages read. A document with one value that they refuse is lost as a whole, and
//! anybody who may write to a log can write such a value.

/// Whether strict parsers read these bytes, if they are JSON. One pass without a stack. The grammar of RFC 8259 has no
/// limits of its own:
///
/// - at most [`MAX_DEPTH`] levels of arrays and objects
/// - integers of 64 bits, with or without sign, which simdjson wants
/// - other numbers that are finite as doubles, which Go, orjson and RapidJSON want, in at most [`MAX_NUMBER`] characters
///   and with exponents up to [`MAX_EXPONENT`]
/// - escapes of surrogates in pairs, which jq, .NET, orjson and RapidJSON want
/// - names of at most [`MAX_NAME`] bytes
///
/// Fractions with more digits than a double has and escaped zeros are read everywhere, if not alike. Duplicate names are
/// left, too: few parsers refuse them unless they are told to.
pub(crate) fn is_portable(json: &[u8]) -> bool {
    scan(json).is_some()
}

fn scan(json: &[u8]) -> Option<()> {
    let (mut rest, mut depth) = (json, 0_usize);
    while let Some((first, behind)) = rest.split_first() {
        rest = match first {
            b'"' => behind_string(behind)?,
            b'-' | b'0'..=b'9' => behind_number(rest)?,
            b'[' | b'{' if depth == MAX_DEPTH => return None,
            b'[' | b'{' => {
                depth = depth.saturating_add(1);
                behind
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                behind
            }
            _ => behind,
        };
    }
    Some(())
}

/// The rest after a string or name that begins behind its quote.
fn behind_string(string: &[u8]) -> Option<&[u8]> {
    let mut rest = string;
    loop {
        let at = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        let (byte, behind) = rest.get(at..)?.split_first()?;
        if *byte == b'\\' {
            rest = behind_escape(behind)?;
            continue;
        }
        let len = string.len().saturating_sub(behind.len());
        let is_name = || behind.trim_ascii_start().starts_with(b":");
        return (len <= MAX_NAME || !is_name()).then_some(behind);
    }
}

/// The rest after an escape that begins behind its backslash.
fn behind_escape(escape: &[u8]) -> Option<&[u8]> {
    let Some(escaped) = escape.strip_prefix(b"u") else { return escape.get(1..) };
    let (first, rest) = code_unit(escaped)?;
    match first {
        0xD800..=0xDBFF => {
            let (second, rest) = code_unit(rest.strip_prefix(b"\\u")?)?;
            (0xDC00..=0xDFFF).contains(&second).then_some(rest)
        }
        0xDC00..=0xDFFF => None,
        _ => Some(rest),
    }
}

fn code_unit(escaped: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, rest) = escaped.split_first_chunk::<4>()?;
    Some((u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?, rest))
}

/// The rest after a number.
fn behind_number(json: &[u8]) -> Option<&[u8]> {
    let is_of_number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    let end = json.iter().position(|byte| !is_of_number(byte)).unwrap_or(json.len());
    let (number, rest) = json.split_at_checked(end)?;
    let is_small = number.len() <= ALWAYS_WHOLE && !number.iter().any(|byte| matches!(byte, b'e' | b'E'));
    (is_small || is_portable_number(std::str::from_utf8(number).ok()?)).then_some(rest)
}

fn is_portable_number(number: &str) -> bool {
    let is_finite = || number.len() <= MAX_NUMBER && number.parse().is_ok_and(f64::is_finite);
    match number.split_once(['e', 'E']) {
        Some((_, exponent)) => {
            exponent.parse().is_ok_and(|exponent: i64| exponent.unsigned_abs() <= MAX_EXPONENT) && is_finite()
        }
        None if number.contains('.') => number.len() <= ALWAYS_FINITE || is_finite(),
        None => number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok(),
    }
}

/// The most levels of arrays and objects in a key or value, so that no answer has more than 64, the limit of .NET's
/// parsers. The answer with most levels around a value has five: `{"results":[{"messages":[{"value":…}]}]}`.
pub(crate) const MAX_DEPTH: usize = 64 - 5;
// Filters match the same values.
const _: () = assert!(MAX_DEPTH == sluicegate_delivery::MAX_JSON_DEPTH);
/// Jackson's limit.
const MAX_NUMBER: usize = 1000;
/// Jackson's limit, in bytes with the quote.
const MAX_NAME: usize = 50_000;
/// The largest double is 1.8e308. RapidJSON refuses exponents above it, even of zero.
const MAX_EXPONENT: u64 = 308;
/// The largest double has 309 digits.
const ALWAYS_FINITE: usize = 300;
/// The smallest integer has 19 digits.
const ALWAYS_WHOLE: usize = 18;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;
    use serde_json::value::RawValue;

    use super::*;
    use crate::testing::nested;

    #[track_caller]
    fn check(json: &[u8], want: bool) {
        serde_json::from_slice::<&RawValue>(json).unwrap();
        assert_eq!(is_portable(json), want, "{}", json.escape_ascii());
    }

    /// jq, Go, Python's json, orjson, Jackson, Gson and JSON.parse read all that is portable. Each of the others is refused
    /// by one of them or, by their documentation, by simdjson, RapidJSON or .NET's parsers.
    #[test]
    fn json_that_strict_parsers_refuse_is_not_portable() {
        let objects = |depth: usize| r#"{"a\\":"#.repeat(depth) + "1" + &"}".repeat(depth);
        let siblings = format!("[{}1]", format!("{},", nested(MAX_DEPTH - 1)).repeat(3));
        let string = format!(r#"["{}\"{}"]"#, "[".repeat(1000), "{".repeat(1000));
        for json in [
            "1",
            &siblings,
            &string,
            "[-0,1E+2,0e308,1e-00308,1.7976931348623157e308,18446744073709551616.5]",
            "[-9223372036854775808,18446744073709551615]",
            r#"["\ud83d\uDE00","\\ud800","\u0000\uffff","1e999"]"#,
            r#"{"a":1,"a":2,"":3}"#,
        ] {
            check(json.as_bytes(), true);
        }
        let numbers =
            r#"1e999 {"a":[-1E400]} 1.7976931348623159e308 18446744073709551616 -9223372036854775809 0e309"#;
        let others =
            r#"1e-309 0e99999999999999999999 {"\ud800":1} "\ud800" "\udc00" "\ud800\ud800" "\uDFFF\uD800""#;
        for json in numbers.split(' ').chain(others.split(' ')).chain([r#""\ud800\n""#, r#""\ud800x""#]) {
            check(json.as_bytes(), false);
        }
        let zeros = |count| format!("1{}.0", "0".repeat(count));
        let number = |digits: usize| format!("0.{}", "3".repeat(digits - 2));
        let name = |len: usize| format!(r#"{{"{}" : "{}"}}"#, "a".repeat(len), "b".repeat(2 * MAX_NAME));
        for (fits, exceeds) in [
            (nested(MAX_DEPTH), nested(MAX_DEPTH + 1)),
            (objects(MAX_DEPTH), objects(MAX_DEPTH + 1)),
            (zeros(308), zeros(309)),
            (number(MAX_NUMBER), number(MAX_NUMBER + 1)),
            (name(MAX_NAME - 1), name(MAX_NAME)),
        ] {
            check(fits.as_bytes(), true);
            check(exceeds.as_bytes(), false);
        }
    }

    #[test]
    fn hostile_bytes_need_no_stack() {
        assert!(!is_portable("[".repeat(10 << 20).as_bytes()));
        assert!(is_portable("]".repeat(10 << 20).as_bytes()));
        assert!(!is_portable(b"\"\\"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// serde_json is as strict as those parsers where it makes values of what it reads.
        #[test]
        fn portable_json_is_what_a_strict_parser_reads(
            string in r#""(\\u[dD][89abcdEF]0[0-9]|\\\\|\\n|[a-z]){0,5}""#,
            number in r"-?[1-9]{1,3}(\.[0-9])?([eE]\+?[0-9]{1,3})?",
        ) {
            let json = format!("[{number},{{{string}:{string}}}]");
            prop_assert!(serde_json::from_str::<&RawValue>(&json).is_ok());
            prop_assert_eq!(is_portable(json.as_bytes()), serde_json::from_str::<Value>(&json).is_ok(), "{}", json);
        }
    }
}
