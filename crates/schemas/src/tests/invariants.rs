//! Promises that hold for any schema and any bytes.

use std::sync::LazyLock;

use serde::de::IgnoredAny;
use sluicegate_schemas::{json_schema, protobuf};

/// Checks a Protobuf message and the same bytes as JSON. Without a schema, they are of one with a field of each kind.
pub(crate) fn check_protobuf(schema: &str, index: usize, bytes: &[u8]) {
    static KINDS: LazyLock<protobuf::Schema> =
        LazyLock::new(|| protobuf::Schema::parse(KINDS_TEXT, &[]).unwrap());
    let parsed = if schema.is_empty() { Ok(KINDS.clone()) } else { protobuf::Schema::parse(schema, &[]) };
    let Ok(schema) = parsed else { return };
    let (mut json, mut encoded) = (b"x".to_vec(), b"x".to_vec());
    if schema.encode(&[index], bytes, &mut encoded).is_ok() {
        schema.decode(&[index], &encoded[1..], MAX_JSON, &mut Vec::new()).ok();
    } else {
        assert_eq!(encoded, b"x");
    }
    if schema.decode(&[index], bytes, MAX_JSON, &mut json).is_ok() {
        assert!(json.len() <= MAX_JSON + 1);
        serde_json::from_slice::<IgnoredAny>(&json[1..]).unwrap();
        let mut again = Vec::new();
        if schema.encode(&[index], &json[1..], &mut again).is_ok() {
            schema.decode(&[index], &again, usize::MAX, &mut Vec::new()).unwrap();
        }
    } else {
        assert_eq!(json, b"x");
    }
}

/// Checks a value of a JSON Schema.
pub(crate) fn check_json_schema(schema: &str, bytes: &[u8]) {
    let Ok(schema) = json_schema::Schema::parse(schema, &[]) else { return };
    let (mut json, mut encoded) = (Vec::new(), Vec::new());
    let decoded = schema.decode(bytes, MAX_JSON, &mut json);
    assert_eq!(json, if decoded.is_ok() { bytes } else { b"" });
    match schema.encode(bytes, &mut encoded) {
        Ok(()) => assert!(encoded == bytes && decoded.is_ok() | (bytes.len() > MAX_JSON)),
        Err(error) => assert!(encoded.is_empty() && error.expected.chars().count() <= 201),
    }
}

const MAX_JSON: usize = 100_000;

const KINDS_TEXT: &str = r#"
    syntax = "proto2";
    import "google/protobuf/any.proto";
    import "google/protobuf/duration.proto";
    import "google/protobuf/field_mask.proto";
    import "google/protobuf/struct.proto";
    import "google/protobuf/timestamp.proto";
    import "google/protobuf/wrappers.proto";
    message Kinds {
        optional int32 a = 1; optional sint64 b = 2; optional fixed32 c = 3; optional double d = 4; optional bool e = 5;
        optional string f = 6; optional bytes g = 7; optional E h = 8; optional Kinds i = 9;
        repeated sint32 j = 10 [packed = true]; repeated Kinds k = 11; map<string, Kinds> l = 12; map<bool, float> m = 13;
        optional group N = 14 { optional int32 a = 1; }
        oneof o { uint64 p = 16; Kinds q = 17; }
        extensions 100 to 200;
        enum E { E0 = 0; E1 = 1; }
    }
    extend Kinds { optional Kinds extension = 100; }
    message Known {
        optional google.protobuf.Any a = 1; optional google.protobuf.Duration b = 2;
        optional google.protobuf.FieldMask c = 3; optional google.protobuf.Struct d = 4;
        optional google.protobuf.Timestamp e = 5; optional google.protobuf.DoubleValue f = 6;
        repeated google.protobuf.Any g = 7; optional google.protobuf.NullValue h = 8;
        map<int32, google.protobuf.Value> i = 9; optional google.protobuf.BytesValue j = 10;
    }
"#;
