//! Errors in words.

use super::*;

/// A record with fields of `fields`, in JSON.
fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"com.acme.Order","fields":[{fields}]}}"#)
}

#[test]
fn schemas_that_are_none_are_refused() {
    const ROWS: [(&str, &str); 15] = [
        ("string", "the schema is not valid JSON: expected value at line 1 column 1"),
        ("7", "expected a schema, found 7"),
        ("{}", r#"a schema has no "type""#),
        (r#""Order""#, r#"there is no type "Order""#),
        (r#"{"type":"enum","name":"a.E","symbols":["x","x"]}"#, r#"an enum has two symbols "x""#),
        (r#"{"type":"enum","name":"E","symbols":[7]}"#, "expected a symbol, found 7"),
        (r#"{"type":"enum","symbols":[]}"#, r#"a schema of type "enum" has no "name""#),
        (r#"{"type":"fixed","name":"F","size":-1}"#, r#""size" of type "fixed" is not a number of bytes"#),
        (r#"{"type":"array"}"#, r#"a schema of type "array" has no "items""#),
        (r#"{"type":"record","name":"R","fields":7}"#, r#""fields" of type "record" is not an array"#),
        (r#"{"type":"record","name":"R","fields":[7]}"#, "expected a field, found 7"),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}"#,
            r#"a record has two fields "a""#,
        ),
        (r#"["int",{"type":["int"]}]"#, "a union has a union as a branch"),
        (r#"["string",{"type":"string","logicalType":"uuid"}]"#, r#"a union has two branches "string""#),
        (
            r#"[{"type":"fixed","name":"F","size":1},{"type":"fixed","name":"F","size":1}]"#,
            r#"type "F" is defined twice"#,
        ),
    ];
    for (schema, error) in ROWS {
        assert_eq!(Schema::parse(schema, &[]).unwrap_err().to_string(), error, "{schema}");
    }
    let broken = Reference { name: "other.avsc".to_owned(), schema: "7".to_owned() };
    let error = Schema::parse(r#""int""#, std::slice::from_ref(&broken)).unwrap_err().to_string();
    assert_eq!(error, "other.avsc: expected a schema, found 7");
}

#[test]
fn bytes_that_are_no_value_are_refused() {
    const ROWS: [(&str, &str, &str); 16] = [
        ("boolean", "02", "at byte 1: a boolean is 2, not 0 or 1"),
        ("int", "8080808010", "at byte 5: an int is 2147483648, beyond 32 bits"),
        ("int", "80", "at byte 0: a number is cut off"),
        ("long", "80808080808080808002", "at byte 0: a number exceeds 64 bits"),
        ("long", "8080808080808080808000", "at byte 0: a number exceeds 64 bits"),
        ("double", "0000", "at byte 0: 8 bytes are needed, and 2 are left"),
        ("string", "0661", "at byte 1: 3 bytes are needed, and 1 are left"),
        ("string", "01", "at byte 1: -1 bytes are needed, and 0 are left"),
        ("string", "02ff", "at byte 2: a string before here is not UTF-8"),
        ("int", "0200", "at byte 1: the value ends, and 1 bytes are left"),
        (r#"["null","int"]"#, "04", "at byte 1: a union of 2 branches has position 2"),
        (r#"["null","int"]"#, "01", "at byte 1: a union of 2 branches has position -1"),
        (
            r#"{"type":"enum","name":"E","symbols":["A"]}"#,
            "02",
            "at byte 1: an enum of 1 symbols has position 1",
        ),
        ("bytes big-decimal", "0802070000", "at byte 4: bytes of a big-decimal are left behind its scale"),
        (r#"{"type":"array","items":"null"}"#, "feffffffffffffffff01", "the JSON has more than 65536 bytes"),
        ("bytes big-decimal", "0e0207feffffff0f", "the JSON has more than 65536 bytes"),
    ];
    for (schema, hex, error) in ROWS {
        assert_eq!(decode(schema, &unhex(hex)).unwrap_err(), error, "{schema} {hex}");
    }
}

#[test]
fn json_that_is_no_value_is_refused_with_its_place() {
    let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":6,"scale":2}"#;
    let order = record(&format!(
        r#"{{"name":"order","type":["null",{{"type":"record","name":"Item","fields":[{{"name":"a/m~","type":{decimal}}}]}}]}}"#
    ));
    let default = record(r#"{"name":"a","type":"int","default":"x"}"#);
    let lines = r#"{"type":"array","items":{"type":"map","values":"int"}}"#;
    let rows = [
        ("int", "{", "JSON: EOF while parsing an object at line 1 column 1"),
        ("int", "2147483648", "an integer of 32 bits, found 2147483648"),
        ("int", "1.5", "an integer of 32 bits, found 1.5"),
        ("long", "9223372036854775808", "an integer of 64 bits, found 9223372036854775808"),
        ("float", "1e39", "a number of 32 bits, found 1e+39"),
        ("double", r#""1""#, r#"a number, found "1""#),
        ("string", "[]", "a string, found an array"),
        ("bytes", r#""%""#, r#"base64, found "%""#),
        ("fixed 2", r#""YQ==""#, r#"base64 of 2 bytes, found "YQ==""#),
        (r#"{"type":"enum","name":"E","symbols":["A","B"]}"#, r#""C""#, r#"one of "A", "B", found "C""#),
        ("string uuid", r#""x""#, r#"a UUID, found "x""#),
        ("int date", r#""2026-02-29""#, r#"a date such as "2026-01-31", found "2026-02-29""#),
        (
            "long timestamp-millis",
            r#""2026-01-31T12:34:56.7891Z""#,
            r#"a timestamp such as "2026-01-31T12:34:56.789Z", with at most 3 digits after the point, found "2026-01-31T12:34:56.7891Z""#,
        ),
        (
            &*order,
            r#"{"order":{"a/m~":"1.234"}}"#,
            r#"/order/a~1m~0: expected a decimal with at most 4 digits before and 2 after the point, found "1.234""#,
        ),
        (
            &*order,
            r#"{"order":{"com.acme.Item":{"a/m~":12345,"x":1}}}"#,
            "/order/com.acme.Item/a~1m~0: expected a decimal with at most 4 digits before and 2 after the point, found 12345",
        ),
        (&*order, "{}", "/order: expected one of null, com.acme.Item, found nothing"),
        (&*order, r#"{"order":null,"x":1}"#, "/x: expected a field of com.acme.Order (one of order)"),
        (&*default, "{}", r#"/a: expected an integer of 32 bits, found "x" (the default in the schema)"#),
        (lines, r#"[{},{"a":1,"b":null}]"#, "/1/b: expected an integer of 32 bits, found null"),
        (r#"["int","string"]"#, "true", "one of int, string, found true"),
        (
            r#"["int","bytes","string"]"#,
            r#"{"int":"x"}"#,
            r#"/int: expected an integer of 32 bits, found "x""#,
        ),
        (
            "null",
            r#""0123456789012345678901234567890123456789X""#,
            r#"null, found "0123456789012345678901234567890123456789"..."#,
        ),
    ];
    for (schema, json, error) in rows {
        let of_all = format!("the value: expected {error}");
        let want = if error.starts_with('/') { error } else { &of_all };
        assert_eq!(encode(schema, json).unwrap_err(), want, "{schema} {json}");
    }
}
