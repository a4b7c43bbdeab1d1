//! Decimals: a signed number in big-endian bytes, and how many of its digits are behind the point. Their JSON is text, which
//! keeps every digit: `"-12.30"`.

use num_bigint::BigInt;
use serde_json::Value;

use super::output::Output;
use crate::DecodeError;

/// Bytes of an unscaled value, at most. The time for its text grows with the square: some microseconds.
pub(super) const MAX_BYTES: usize = 512;

/// Digits of a decimal that is encoded, at most, and zeros that its scale adds.
const MAX_DIGITS: usize = 1_000;

/// Digits of numbers that a 64-bit float keeps (C's `DBL_DIG`).
const EXACT_DIGITS: usize = 15;

/// Writes the text of a decimal. A negative scale adds zeros.
pub(super) fn write(unscaled: &[u8], scale: i64, output: &mut Output<'_>) -> Result<(), DecodeError> {
    if unscaled.len() > MAX_BYTES {
        let len = unscaled.len();
        return Err(DecodeError(format!("a decimal has {len} bytes, at most {MAX_BYTES} are decoded")));
    }
    let text = match small(unscaled) {
        Some(small) => small.to_string(),
        None => BigInt::from_signed_bytes_be(unscaled).to_string(),
    };
    let digits = text.trim_start_matches('-');
    output.raw(b"\"")?;
    if digits.len() < text.len() {
        output.raw(b"-")?;
    }
    let zeros = usize::try_from(scale.unsigned_abs()).unwrap_or(usize::MAX);
    match scale {
        0 => output.raw(digits.as_bytes())?,
        ..0 => {
            output.raw(digits.as_bytes())?;
            output.zeros(if digits == "0" { 0 } else { zeros })?;
        }
        _ => {
            let (whole, fraction) = digits.split_at(digits.len().saturating_sub(zeros));
            output.raw(if whole.is_empty() { b"0" } else { whole.as_bytes() })?;
            output.raw(b".")?;
            output.zeros(zeros - fraction.len())?;
            output.raw(fraction.as_bytes())?;
        }
    }
    output.raw(b"\"")
}

fn small(bytes: &[u8]) -> Option<i128> {
    let mut wide = [if bytes.first().is_some_and(|byte| *byte >= 0x80) { 0xff } else { 0 }; 16];
    let at = wide.len().checked_sub(bytes.len())?;
    wide.get_mut(at..)?.copy_from_slice(bytes);
    Some(i128::from_be_bytes(wide))
}

/// The unscaled value of a decimal, and its digits after the point: of text without an exponent, or of a number of which a
/// float keeps every digit. None if there are more than `max_scale`.
pub(super) fn parse(value: &Value, max_scale: usize) -> Option<(BigInt, usize)> {
    let number;
    let text = match value {
        Value::String(text) => text,
        Value::Number(value) => {
            number = match (value.as_i128(), value.as_f64()) {
                (Some(integer), _) => integer.to_string(),
                (None, Some(float)) => float.to_string(),
                (None, None) => return None,
            };
            let digits = number.bytes().filter(u8::is_ascii_digit).count();
            if value.is_f64() && digits > EXACT_DIGITS {
                return None;
            }
            &number
        }
        _ => return None,
    };
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || text.len() > MAX_DIGITS {
        return None;
    }
    let fraction = if digits.contains('.') { fraction } else { "" };
    let unscaled = BigInt::parse_bytes(format!("{whole}{fraction}").as_bytes(), 10)?;
    let unscaled = if digits.len() < text.len() { -unscaled } else { unscaled };
    (fraction.len() <= max_scale).then_some((unscaled, fraction.len()))
}

/// The bytes of a decimal whose scale and precision are given by the schema.
pub(super) fn bytes(value: &Value, decimal: super::Decimal) -> Option<Vec<u8>> {
    let super::Decimal { precision, scale, size } = decimal;
    let (mut unscaled, digits) = parse(value, scale)?;
    let zeros = u32::try_from(scale - digits).ok().filter(|zeros| *zeros as usize <= MAX_DIGITS)?;
    if zeros > 0 {
        unscaled *= BigInt::from(10).pow(zeros);
    }
    if unscaled.magnitude().to_string().len() > precision {
        return None;
    }
    let bytes = unscaled.to_signed_bytes_be();
    let Some(size) = size else { return Some(bytes) };
    let sign = if unscaled.sign() == num_bigint::Sign::Minus { 0xff } else { 0 };
    let mut wide = vec![sign; size.checked_sub(bytes.len())?];
    wide.extend(bytes);
    Some(wide)
}
