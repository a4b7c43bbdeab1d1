//! The invariants for any schema and bytes, for the property tests and the fuzz target.

use serde_json::Value;
use sluicegate_schemas::MAX_DEPTH;
use sluicegate_schemas::avro::Schema;

/// A schema, NUL, bytes of a value, which are tried as JSON, too.
pub(crate) fn check_input(input: &[u8]) {
    let at = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let (schema, bytes) = input.split_at(at);
    let bytes = bytes.get(1..).unwrap_or_default();
    let Some(schema) = std::str::from_utf8(schema).ok().and_then(|text| Schema::parse(text, &[]).ok()) else {
        return;
    };
    check(&schema, bytes, 1 << 14);
    let mut written = Vec::new();
    if schema.encode(bytes, &mut written).is_ok() {
        check(&schema, &written, usize::MAX);
        assert!(written.len() <= 16 * bytes.len() + (1 << 20), "{} bytes", written.len());
    } else {
        assert!(written.is_empty());
    }
}

/// Decodes bytes. The JSON is valid and within its bounds, and the same once it is written and read again.
#[track_caller]
pub(crate) fn check(schema: &Schema, bytes: &[u8], max_json: usize) {
    let mut out = b"before".to_vec();
    if schema.decode(bytes, max_json, &mut out).is_err() {
        assert_eq!(out, b"before");
        return;
    }
    let json = out.strip_prefix(b"before").expect("JSON is appended");
    assert!(json.len() <= max_json, "{} bytes of {max_json}", json.len());
    let value: Value = serde_json::from_slice(json).expect("decoding writes JSON");
    assert!(depth(&value) <= MAX_DEPTH);
    let (mut written, mut again) = (Vec::new(), Vec::new());
    // Bytes can have what a schema does not allow: a string that is not a UUID, a decimal with too many digits.
    if schema.encode(json, &mut written).is_ok() {
        schema.decode(&written, usize::MAX, &mut again).expect("bytes that encoding wrote");
        assert_eq!(serde_json::from_slice::<Value>(&again).expect("decoding writes JSON"), value);
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
