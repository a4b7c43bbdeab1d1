//! Messages and their JSON, schemas, and bounds of both.

use super::*;

const ORDER: &str = r#"
    syntax = "proto3";
    package shop;
    import "google/protobuf/any.proto";
    import "google/protobuf/duration.proto";
    import "google/protobuf/field_mask.proto";
    import "google/protobuf/struct.proto";
    import "google/protobuf/timestamp.proto";
    import "google/protobuf/wrappers.proto";
    import "confluent/meta.proto";
    import "confluent/type/decimal.proto";

    message Order {
        option (confluent.message_meta).doc = "An order";
        int64 order_id = 1 [(confluent.field_meta) = { tags: ["PII"] }];
        Status status = 2;
        repeated int32 lines = 3;
        map<string, Item> items = 4;
        oneof by { string card = 5; bool cash = 6; }
        optional double price = 7;
        bytes token = 8 [json_name = "secret"];
        Item first = 9;
        message Item { uint32 count = 1; }
        enum Status { UNKNOWN = 0; OPEN = 1; }
    }
    message Times { google.protobuf.Timestamp at = 1; google.protobuf.Duration took = 2; }
    message Known {
        google.protobuf.Struct any_json = 1;
        google.protobuf.Value value = 2;
        google.protobuf.Int64Value long = 3;
        google.protobuf.FieldMask mask = 4;
        google.protobuf.Any any = 5;
        confluent.type.Decimal decimal = 6;
    }
    message Numbers {
        float f = 1; double d = 2; sint32 s = 3; fixed64 x = 4; uint64 u = 5; sfixed32 y = 6;
        fixed32 z = 7; sint64 a = 8; sfixed64 b = 9;
    }
    message Tree { Tree left = 1; repeated Tree more = 2; }
    message Wrapped {
        google.protobuf.DoubleValue a = 1; google.protobuf.FloatValue b = 2; google.protobuf.Int32Value c = 3;
        google.protobuf.UInt32Value d = 4; google.protobuf.UInt64Value e = 5; google.protobuf.BoolValue f = 6;
        google.protobuf.StringValue g = 7; google.protobuf.BytesValue h = 8; google.protobuf.ListValue i = 9;
    }
"#;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn decode(schema: &Schema, indexes: &[usize], bytes: &[u8]) -> Result<String, String> {
    let mut out = b"x".to_vec();
    let result = schema.decode(indexes, bytes, 100_000, &mut out);
    let json = String::from_utf8(out.split_off(1)).unwrap();
    assert!(out == b"x" && (result.is_ok() || json.is_empty()));
    result.map(|()| json).map_err(|error| error.0)
}

fn encode(schema: &Schema, indexes: &[usize], json: &str) -> Result<Vec<u8>, String> {
    let mut out = b"x".to_vec();
    let result = schema.encode(indexes, json.as_bytes(), &mut out);
    let bytes = out.split_off(1);
    assert!(out == b"x" && (result.is_ok() || bytes.is_empty()));
    result.map(|()| bytes).map_err(|error| error.to_string())
}

/// Message, bytes, JSON; each way.
#[test]
fn messages_and_their_json() {
    let schema = Schema::parse(ORDER, &[]).unwrap();
    let rows: [(&[usize], &str, &str); 15] = [
        (&[0], "", r#"{"orderId":"0","status":"UNKNOWN","lines":[],"items":{},"secret":""}"#),
        (
            &[0],
            "08 ffffffffffffffff7f 10 01 1a 03 01 ac 02 22 07 0a 01 61 12 02 08 05 2a 00 39 0000000000000000
             42 02 ff fe 4a 00",
            r#"{"orderId":"9223372036854775807","status":"OPEN","lines":[1,300],"items":{"a":{"count":5}},"card":"","price":0.0,"secret":"//4=","first":{"count":0}}"#,
        ),
        (&[0], "10 07 30 01", r#"{"orderId":"0","status":7,"lines":[],"items":{},"cash":true,"secret":""}"#),
        (&[0, 1], "08 05", r#"{"count":5}"#),
        (
            &[1],
            "0a 0a 08 efedf7cb06 10 c0843d 12 08 08 05 10 80cab5ee01",
            r#"{"at":"2026-01-31T12:34:55.001Z","took":"5.500s"}"#,
        ),
        (&[2], "0a 0c 0a 0a 0a 01 61 12 05 1a 03 6f 70 65", r#"{"anyJson":{"a":"ope"}}"#),
        (&[2], "12 02 08 00", r#"{"value":null}"#),
        (&[2], "1a 02 08 07 22 05 0a 03 61 5f 62", r#"{"long":"7","mask":"aB"}"#),
        (
            &[2],
            "2a 22 0a 1c 74 79 70 65 2e 65 78 61 6d 70 6c 65 2f 73 68 6f 70 2e 4f 72 64 65 72 2e 49 74 65 6d 12 02 08 05",
            r#"{"any":{"@type":"type.example/shop.Order.Item","count":5}}"#,
        ),
        (&[2], "32 06 0a 02 04 d2 18 02", r#"{"decimal":{"value":"BNI=","precision":0,"scale":2}}"#),
        (
            &[3],
            "0d cdcccc3d 11 9a9999999999b93f 18 01 21 ffffffffffffffff 28 ffffffffffffffffff01 35 ffffffff
             3d 05000000 40 03 49 feffffffffffffff",
            r#"{"f":0.1,"d":0.1,"s":-1,"x":"18446744073709551615","u":"18446744073709551615","y":-1,"z":5,"a":"-2","b":"-2"}"#,
        ),
        (
            &[3],
            "0d 0000c07f 11 000000000000f0ff",
            r#"{"f":"NaN","d":"-Infinity","s":0,"x":"0","u":"0","y":0,"z":0,"a":"0","b":"0"}"#,
        ),
        (&[3], "0d 0000807f", r#"{"f":"Infinity","d":0.0,"s":0,"x":"0","u":"0","y":0,"z":0,"a":"0","b":"0"}"#),
        (
            &[5],
            "0a 09 09 000000000000f83f 12 05 0d 0000c03f 1a 02 08 07 22 02 08 07 2a 02 08 07 32 02 08 01 3a 03 0a 01 61
             42 03 0a 01 ff 4a 04 0a 02 20 01",
            r#"{"a":1.5,"b":1.5,"c":7,"d":7,"e":"7","f":true,"g":"a","h":"/w==","i":[true]}"#,
        ),
        (&[4], "0a 02 0a 00 12 00", r#"{"left":{"left":{"more":[]},"more":[]},"more":[{"more":[]}]}"#),
    ];
    for (indexes, bytes, json) in rows {
        let bytes = hex(bytes);
        assert_eq!(decode(&schema, indexes, &bytes), Ok(json.to_owned()), "{bytes:x?}");
        assert_eq!(encode(&schema, indexes, json), Ok(bytes.clone()), "{json}");
        for cut in 0..bytes.len() {
            drop(decode(&schema, indexes, &bytes[..cut]));
        }
    }
}

/// JSON that no decoding writes, and what a decoding makes of its bytes.
#[test]
fn more_json_is_taken_than_given() {
    let schema = Schema::parse(ORDER, &[]).unwrap();
    for (indexes, json, bytes) in [
        (0, r#" {"order_id": 1, "status": 1, "price": null} "#, "08 01 10 01"),
        (0, r#"{"orderId": "1", "lines": ["1"], "token": "_-8"}"#, "08 01 1a 01 01 42 02 ff ef"),
        (1, r#"{"at": "2026-01-31T13:34:55.001+01:00"}"#, "0a 0a 08 efedf7cb06 10 c0843d"),
        (
            2,
            r#"{"any": {"count": 5, "@type": "/shop.Order.Item"}}"#,
            "2a 16 0a 10 2f 73 68 6f 70 2e 4f 72 64 65 72 2e 49 74 65 6d 12 02 08 05",
        ),
    ] {
        assert_eq!(encode(&schema, &[indexes], json), Ok(hex(bytes)), "{json}");
    }
    // Fields that another version of the schema has are left out; the last of several values counts.
    assert_eq!(
        decode(&schema, &[0, 1], &hex("08 01 08 02 78 01 7b 78 01 7c")),
        Ok(r#"{"count":2}"#.to_owned())
    );
}

#[test]
fn decoding_fails_with_a_reason() {
    let schema = Schema::parse(ORDER, &[]).unwrap();
    let any = |url: &str| [&[0x2a, url.len() as u8 + 2, 0x0a, url.len() as u8], url.as_bytes()].concat();
    let nested = |levels: usize| {
        (0..levels).fold(Vec::new(), |inner, _| {
            let mut outer = vec![0x0a];
            prost::encoding::encode_varint(inner.len() as u64, &mut outer);
            [outer, inner].concat()
        })
    };
    let wide = [0x12, 0].repeat(20_000);
    for (indexes, bytes, want) in [
        (&[][..], vec![], "expected the indexes of a message instead of []"),
        (&[9], vec![], "expected the indexes of a message instead of [9]"),
        (&[0, 0, 0], vec![], "expected the indexes of a message instead of [0, 0, 0]"),
        (&[0], vec![0x08], "shop.Order: failed to decode Protobuf message: "),
        (&[0], vec![0x2a, 1, 0xff], "shop.Order: failed to decode Protobuf message: "),
        (&[2], any("type.example/none.Such"), "shop.Known: message 'none.Such' not found"),
        (&[2], any("nothing"), "shop.Known: unsupported type url 'nothing'"),
        (&[1], hex("0a 09 08 ffffffffffffff7f"), "shop.Times: timestamp out of range"),
        (&[4], nested(MAX_DEPTH), "shop.Tree: JSON of more than 59 levels"),
        (&[4], nested(5_000), "shop.Tree: failed to decode Protobuf message: "),
        (&[4], wide, "shop.Tree: JSON of more than 100000 bytes"),
    ] {
        let error = decode(&schema, indexes, &bytes).unwrap_err();
        assert!(error.starts_with(want), "{error} instead of {want}");
    }
}

#[test]
fn encoding_names_the_place_and_the_expectation() {
    let schema = Schema::parse(ORDER, &[]).unwrap();
    let long = format!(r#"{{"status": "{}"}}"#, "x".repeat(10_000));
    for (indexes, json, want) in [
        (0, "", "the value: EOF while parsing a value"),
        (0, "[]", "the value: invalid type: sequence, expected a map"),
        (0, "{} {}", "the value: trailing characters"),
        (0, r#"{"nothing": 1}"#, "the value: unrecognized field name 'nothing'"),
        (0, r#"{"status": "SHUT"}"#, "/status: unrecognized enum value 'SHUT'"),
        (0, r#"{"lines": [1, "x"]}"#, "/lines/1: invalid digit found in string"),
        (0, r#"{"items": {"a/b": {"count": -1}}}"#, "/items/a~1b/count: "),
        (0, r#"{"card": "a", "cash": true}"#, "the value: multiple fields provided for oneof 'by'"),
        (1, r#"{"at": "yesterday"}"#, "/at: invalid rfc3339 timestamp: invalid date"),
        (2, r#"{"any": {"@type": "/no.Such"}}"#, "/any: message 'no.Such' not found"),
        (0, &long, "/status: unrecognized enum value 'xxx"),
        (
            4,
            &format!("{}{{}}{}", r#"{"left":"#.repeat(MAX_DEPTH), "}".repeat(MAX_DEPTH)),
            "the value: JSON of more than 59 levels",
        ),
        (4, &format!(r#"{{"more":[{}{{}}]}}"#, "{},".repeat(100_000)), "the value: expected at most "),
    ] {
        let error = encode(&schema, &[indexes], json).unwrap_err();
        assert!(error.starts_with(want) && error.len() < 300, "{error} instead of {want}");
    }
}

fn reference(name: &str, schema: &str) -> Reference {
    Reference { name: name.to_owned(), schema: schema.to_owned() }
}

#[test]
fn references_and_serialized_descriptors_are_found() {
    let main = r#"syntax = "proto3"; import "a/item.proto"; message M { a.Item item = 1; google.type.Date day = 2; }
        import "google/type/date.proto";"#;
    let item = r#"syntax = "proto3"; package a; import public "b.proto"; message Item { B b = 1; }"#;
    let b = r#"syntax = "proto3"; package a; enum B { B0 = 0; }"#;
    let file = protox::file::File::from_source("any name", b).unwrap();
    let serialized = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(file.file_descriptor_proto().encode_to_vec())
    };
    for b in [b, &serialized] {
        let schema =
            Schema::parse(main, &[reference("b.proto", b), reference("a/item.proto", item)]).unwrap();
        let json = r#"{"item":{"b":"B0"},"day":{"year":2026,"month":0,"day":0}}"#;
        assert_eq!(decode(&schema, &[0], &hex("0a 00 12 03 08 ea 0f")), Ok(json.to_owned()));
    }
    // Confluent's registry writes maps as their entries.
    let entries = r#"syntax = "proto3"; message M { repeated PEntry p = 1;
        message PEntry { option map_entry = true; string key = 1; int32 value = 2; } }"#;
    let schema = Schema::parse(entries, &[]).unwrap();
    assert_eq!(decode(&schema, &[0], &hex("0a 05 0a 01 61 10 05")), Ok(r#"{"p":{"a":5}}"#.to_owned()));
}

#[test]
fn schemas_beyond_the_bounds_are_refused() {
    let nested = |levels: usize| ["message A {".repeat(levels), "}".repeat(levels)].concat();
    let option = ["option (a) = ", &"{ a: ".repeat(100_000), ";"].concat();
    for (schema, want) in [
        ("message {", "invalid Protobuf schema: the schema:1:9: "),
        ("message A { B b = 1; }", "invalid Protobuf schema: "),
        (r#"import "none.proto";"#, "invalid Protobuf schema: import 'none.proto' not found"),
        (r#"import "/etc/passwd";"#, "invalid Protobuf schema: the schema:1:8: "),
        (r#"import "the schema";"#, "invalid Protobuf schema: "),
        (&nested(80_000), "invalid Protobuf schema: the schema:1:"),
        (&option, "invalid Protobuf schema: expected '}', but reached end of file"),
        (
            "message M { repeated E p = 1; message E { option map_entry = true; optional double key = 1; optional int32 value = 2; } }",
            "invalid Protobuf schema: E: a map entry has a key = 1 and a value = 2",
        ),
        ("YgVwcm90bw==", "invalid Protobuf schema: syntax \"proto\" is not proto2 or proto3"),
        (r#"edition = "2023";"#, "invalid Protobuf schema: "),
        (&" ".repeat(crate::MAX_SCHEMA_BYTES + 1), "the schema has more than 1048576 bytes"),
    ] {
        let error = Schema::parse(schema, &[]).unwrap_err().0;
        assert!(error.starts_with(want) && error.len() < 300, "{error} instead of {want}");
    }
    let many = vec![reference("a", ""); crate::MAX_REFERENCES + 1];
    assert_eq!(Schema::parse("", &many).unwrap_err().0, "more than 100 references");
}

/// Messages of small parts, and those in `Any`, are refused before they are in memory.
#[test]
fn messages_that_take_too_much_memory_are_refused() {
    let schema = Schema::parse(ORDER, &[]).unwrap();
    let refused = |indexes: &[usize], bytes: &[u8]| {
        schema.decode(indexes, bytes, usize::MAX, &mut Vec::new()).unwrap_err().0
    };
    let len = |bytes: &[u8]| {
        let mut out = Vec::new();
        prost::encoding::encode_varint(bytes.len() as u64, &mut out);
        [&out, bytes].concat()
    };
    let submessages = [0x12, 0].repeat(500_000);
    let packed = [&[0x1a][..], &len(&[1; 1_000_000])].concat();
    let unknown = [0x78, 1].repeat(500_000);
    let tree = [&b"\x0a\x0a/shop.Tree"[..], &[0x12], &len(&submessages)].concat();
    let any = [&[0x2a][..], &len(&tree)].concat();
    let (head, tail) = tree.split_at(12);
    let merged = [&[0x2a][..], &len(tail), &[0x2a], &len(head)].concat();
    for (index, bytes) in [(4, submessages), (0, packed), (4, unknown), (2, any), (2, merged)] {
        assert!(refused(&[index], &bytes).ends_with(": message takes more memory than 64 MiB"), "{index}");
    }
    let text = [&[0x2a][..], &len(&[b'a'; 3_000_000])].concat();
    schema.decode(&[0], &text, usize::MAX, &mut Vec::new()).unwrap();
}
