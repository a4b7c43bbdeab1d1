//! Values without parts: their bytes, and what the schema expects in words.

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};
use serde_json::Value;

use super::{Decimal, Kind, Node, Nodes, decimal};

/// Appends the bytes of a value. None: the schema does not take it, and bytes can be left in `out`.
///
/// Avro 1.12, "Complex Types": in defaults, bytes are text, "where Unicode code points 0-255 are mapped to unsigned 8-bit
/// byte values 0-255".
pub(super) fn encode(kind: &Kind, value: &Value, is_default: bool, out: &mut Vec<u8>) -> Option<()> {
    if is_default && kind_of_bytes(kind) {
        let text = value.as_str()?.chars();
        let raw: Vec<u8> = text.map(|char| u8::try_from(char).ok()).collect::<Option<_>>()?;
        match fixed_size(kind) {
            Some(size) => append_fixed(out, &raw, size)?,
            None => append_bytes(out, &raw),
        }
        return Some(());
    }
    match kind {
        Kind::Null => value.as_null()?,
        Kind::Boolean => out.push(value.as_bool()?.into()),
        Kind::Int => append_long(out, i32::try_from(integer(value)?).ok()?.into()),
        Kind::Long => append_long(out, integer(value)?),
        Kind::Float => {
            let double = float(value)?;
            let float = double as f32;
            (float.is_infinite() == double.is_infinite()).then(|| out.extend(float.to_le_bytes()))?;
        }
        Kind::Double => out.extend(float(value)?.to_le_bytes()),
        Kind::Bytes => append_bytes(out, &base64(value.as_str()?)?),
        Kind::String => append_bytes(out, value.as_str()?.as_bytes()),
        Kind::UuidText => {
            let text = value.as_str()?;
            uuid(text)?;
            append_bytes(out, text.as_bytes());
        }
        Kind::Uuid => out.extend(uuid(value.as_str()?)?.to_be_bytes()),
        Kind::Decimal(decimal) => {
            let bytes = decimal::bytes(value, *decimal)?;
            match decimal.size {
                Some(_) => out.extend(bytes),
                None => append_bytes(out, &bytes),
            }
        }
        Kind::BigDecimal => {
            let (unscaled, scale) = decimal::parse(value, usize::MAX)?;
            let mut parts = Vec::new();
            append_bytes(&mut parts, &unscaled.to_signed_bytes_be());
            append_long(&mut parts, i64::try_from(scale).ok()?);
            append_bytes(out, &parts);
        }
        Kind::Time(kind) => {
            let text = value.as_str().and_then(|text| kind.parse(text));
            let number = text.or_else(|| integer(value))?;
            append_long(out, if kind.is_int() { i32::try_from(number).ok()?.into() } else { number });
        }
        Kind::Duration => {
            let parts = value.as_object().filter(|parts| parts.len() == 3)?;
            for name in ["months", "days", "millis"] {
                out.extend(u32::try_from(integer(parts.get(name)?)?).ok()?.to_le_bytes());
            }
        }
        Kind::Fixed(size) => append_fixed(out, &base64(value.as_str()?)?, *size)?,
        Kind::Enum(symbols) => append_long(out, *symbols.positions.get(value.as_str()?)?),
        Kind::Array(_) | Kind::Map(_) | Kind::Record(_) | Kind::Union(_) => return None,
    }
    Some(())
}

/// The schema's expectation, after "expected".
pub(super) fn expected(nodes: &Nodes, node: &Node) -> String {
    match &node.kind {
        Kind::Null => "null".to_owned(),
        Kind::Boolean => "true or false".to_owned(),
        Kind::Int => "an integer of 32 bits".to_owned(),
        Kind::Long => "an integer of 64 bits".to_owned(),
        Kind::Float => "a number of 32 bits".to_owned(),
        Kind::Double => "a number".to_owned(),
        Kind::Bytes => "base64".to_owned(),
        Kind::String => "a string".to_owned(),
        Kind::UuidText | Kind::Uuid => "a UUID".to_owned(),
        Kind::Decimal(Decimal { precision, scale, .. }) => {
            let before = precision - scale;
            format!("a decimal with at most {before} digits before and {scale} after the point")
        }
        Kind::BigDecimal => "a decimal".to_owned(),
        Kind::Time(kind) => kind.expected(),
        Kind::Duration => "\"months\", \"days\" and \"millis\", each of 32 bits".to_owned(),
        Kind::Fixed(size) => format!("base64 of {size} bytes"),
        Kind::Enum(symbols) => one_of(symbols.json.iter().map(|symbol| &**symbol)),
        Kind::Array(_) => "an array".to_owned(),
        Kind::Map(_) => "an object".to_owned(),
        Kind::Record(_) => format!("an object ({})", node.name),
        Kind::Union(union) => one_of(union.branches.iter().map(|branch| &*nodes.at(*branch).name)),
    }
}

/// A list for people, who read some of it.
pub(super) fn one_of<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 10;
    let more = if names.len() > SHOWN { ", ..." } else { "" };
    let names: Vec<&str> = names.take(SHOWN).collect();
    format!("one of {}{more}", names.join(", "))
}

fn kind_of_bytes(kind: &Kind) -> bool {
    matches!(kind, Kind::Bytes | Kind::BigDecimal | Kind::Decimal(_)) || fixed_size(kind).is_some()
}

fn fixed_size(kind: &Kind) -> Option<usize> {
    match kind {
        Kind::Fixed(size) => Some(*size),
        Kind::Uuid => Some(16),
        Kind::Duration => Some(12),
        Kind::Decimal(decimal) => decimal.size,
        _ => None,
    }
}

/// An integer, also as text, as pages have those beyond 2^53.
fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
            (float.abs() <= super::MAX_SAFE_INTEGER as f64).then_some(float as i64)
        }),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn float(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        _ => value.as_f64(),
    }
}

/// The number of a UUID in hexadecimal digits and hyphens (RFC 9562, section 4).
fn uuid(text: &str) -> Option<u128> {
    let digits = text.split('-').collect::<String>();
    let hyphens = text.char_indices().filter(|(_, char)| *char == '-').map(|(at, _)| at);
    let is_uuid = hyphens.eq([8, 13, 18, 23]) && digits.len() == 32;
    u128::from_str_radix(&digits, 16).ok().filter(|_| is_uuid && !digits.starts_with('+'))
}

/// The bytes of base64 in either alphabet, with and without padding, as everywhere in JSON.
fn base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Avro 1.12, "Primitive Types": variable length, zig-zag.
pub(super) fn append_long(out: &mut Vec<u8>, long: i64) {
    let mut left = ((long << 1) ^ (long >> 63)).cast_unsigned();
    while left >= 0x80 {
        out.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

pub(super) fn append_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    append_long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

fn append_fixed(out: &mut Vec<u8>, bytes: &[u8], size: usize) -> Option<()> {
    (bytes.len() == size).then(|| out.extend_from_slice(bytes))
}
