//! The mapping to JSON and back. The bytes are those of fastavro, where it has the type.

use sluicegate_reference as reference;

use super::*;

/// A rule of the reference, empty for a row that is no rule of its own; a schema, bytes, their JSON, and other JSON that
/// gives these bytes.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str]);

const ROWS: &[Row] = &[
    ("`null`", "null", "", "null", &[]),
    ("`boolean`", "boolean", "01", "true", &[]),
    ("`int`", "int", "53", "-42", &[r#""-42""#, "-42.0"]),
    ("`long`", "long", "feffffffffffff1f", "9007199254740991", &[r#""9007199254740991""#]),
    ("`long` beyond ±(2^53 - 1)", "long", "8280808080808020", r#""9007199254740993""#, &["9007199254740993"]),
    ("", "long", "ffffffffffffffffff01", r#""-9223372036854775808""#, &["-9223372036854775808"]),
    ("`float`, `double`: the shortest number", "float", "cdcccc3d", "0.1", &["1e-1"]),
    ("", "double", "355800662deb41fe", "-1.5e+300", &["-1.5E300"]),
    ("", "double", "0000000000001440", "5.0", &["5"]),
    ("`float`, `double`: not finite", "double", "000000000000f87f", r#""NaN""#, &[]),
    ("", "float", "000080ff", r#""-Infinity""#, &[]),
    ("", "float", "0000807f", r#""Infinity""#, &[]),
    ("`string`", "string", "0ec3a9202271220a", r#""é \"q\"\n""#, &[]),
    ("`bytes`", "bytes", "06fbff00", r#""+/8A""#, &[r#""-_8A""#]),
    ("`fixed`", "fixed 2", "fbff", r#""+/8=""#, &[r#""+/8""#]),
    ("`enum`", r#"{"type":"enum","name":"E","symbols":["open","paid"]}"#, "02", r#""paid""#, &[]),
    ("`array`", r#"{"type":"array","items":"int"}"#, "04020400", "[1,2]", &[]),
    ("", r#"{"type":"array","items":"int"}"#, "00", "[]", &[]),
    ("`map`", r#"{"type":"map","values":"int"}"#, "0402610202620400", r#"{"a":1,"b":2}"#, &[]),
    ("", r#"{"type":"map","values":"int"}"#, "00", "{}", &[]),
    (
        "`record` in the schema's order; `a` has the default `\"x\"`",
        r#"{"type":"record","name":"R","fields":[{"name":"b","type":"int"},{"name":"a","type":"string","default":"x"}]}"#,
        "020278",
        r#"{"b":1,"a":"x"}"#,
        &[r#"{"a":"x","b":1}"#, r#"{"b":1}"#],
    ),
    ("", r#"{"type":"record","name":"R","fields":[]}"#, "", "{}", &[]),
    ("`[\"null\",\"string\"]`", r#"["null","string"]"#, "020261", r#""a""#, &[r#"{"string":"a"}"#]),
    ("", r#"["null","string"]"#, "00", "null", &[r#"{"null":null}"#]),
    ("", r#"["null"]"#, "00", "null", &[]),
    (
        "`[\"null\",\"int\",\"string\"]`: the JSON tells the branch",
        r#"["null","int","string"]"#,
        "020a",
        "5",
        &[r#"{"int":5}"#],
    ),
    (
        "`[\"string\",\"bytes\"]`: the JSON does not tell it",
        r#"["string","bytes"]"#,
        "020261",
        r#"{"bytes":"YQ=="}"#,
        &[],
    ),
    ("", r#"["string","long",{"type":"int","logicalType":"date"}]"#, "020a", r#"{"long":5}"#, &[]),
    ("", r#"["null","float","double"]"#, "00", "null", &[]),
    ("", r#"[{"type":"fixed","name":"n.F","size":1},"bytes"]"#, "0061", r#"{"n.F":"YQ=="}"#, &[r#""YQ==""#]),
    ("`decimal` of scale 2", "bytes decimal 6 2", "04fb32", r#""-12.30""#, &[r#""-12.3""#, "-12.3"]),
    ("", "fixed 4 decimal 6 2", "fffffb32", r#""-12.30""#, &[]),
    ("", "bytes decimal 3 3", "0207", r#""0.007""#, &["0.007"]),
    ("", "bytes decimal 3", "0200", r#""0""#, &["0", r#""-0""#]),
    (
        "",
        "bytes decimal 50",
        "220100000000000000000000000000000000",
        r#""340282366920938463463374607431768211456""#,
        &[],
    ),
    ("`big-decimal`", "bytes big-decimal", "0804fb3204", r#""-12.30""#, &[]),
    (
        "`uuid`",
        "fixed 16 uuid",
        "123456789abcdef0123456789abcdef0",
        r#""12345678-9abc-def0-1234-56789abcdef0""#,
        &[],
    ),
    (
        "",
        "string uuid",
        "4831323334353637382d396162632d646566302d313233342d353637383961626364656630",
        r#""12345678-9abc-def0-1234-56789abcdef0""#,
        &[],
    ),
    ("`date`", "int date", "88c002", r#""2026-01-31""#, &["20484", r#""20484""#]),
    ("", "int date", "f3e457", r#""0001-01-01""#, &[]),
    ("`date` beyond the years 0001 to 9999", "int date", "f5e457", "-719163", &[]),
    ("", "int date", "c082e602", r#""9999-12-31""#, &[]),
    ("", "int date", "c282e602", "2932897", &[]),
    ("`time-millis`", "int time-millis", "aab2992b", r#""12:34:56.789""#, &["45296789"]),
    ("`time-micros`", "long time-micros", "a898b1bed102", r#""12:34:56.789012""#, &[]),
    ("`time-millis`, `time-micros` beyond a day", "long time-micros", "8080bbdd8305", "86400000000", &[]),
    (
        "`timestamp-millis`, `-micros`, `-nanos`",
        "long timestamp-millis",
        "aaf2e4c08267",
        r#""2026-01-31T12:34:56.789Z""#,
        &[r#""2026-01-31T13:34:56.789+01:00""#, "1769862896789"],
    ),
    ("", "long timestamp-micros", "a8989d94caeba406", r#""2026-01-31T12:34:56.789012Z""#, &[]),
    ("", "long timestamp-nanos", "f2fd8584aebbe88f31", r#""2026-01-31T12:34:56.789012345Z""#, &[]),
    ("", "long timestamp-nanos", "ffffffffffffffffff01", r#""1677-09-21T00:12:43.145224192Z""#, &[]),
    ("", "long timestamp-millis", "01", r#""1969-12-31T23:59:59.999Z""#, &[]),
    (
        "`local-timestamp-millis`, `-micros`, `-nanos`",
        "long local-timestamp-millis",
        "aaf2e4c08267",
        r#""2026-01-31T12:34:56.789""#,
        &["1769862896789"],
    ),
    (
        "`duration`",
        "fixed 12 duration",
        "0100000002000000ffffffff",
        r#"{"months":1,"days":2,"millis":4294967295}"#,
        &[],
    ),
    ("unknown or invalid logical type: as without it", "string date", "0261", r#""a""#, &[]),
    ("", "bytes decimal 2 3", "0261", r#""YQ==""#, &[]),
    ("", "fixed 1 decimal 3", "61", r#""YQ==""#, &[]),
    // Defaults: bytes as text, and branches without names.
    (
        "",
        r#"{"type":"record","name":"R","fields":[{"name":"a","type":"bytes","default":"\u00ff"},{"name":"b","type":["string","int"],"default":5}]}"#,
        "02ff020a",
        r#"{"a":"/w==","b":5}"#,
        &["{}", r#"{"a":"/w=="}"#],
    ),
    // Branches that are not named: an integer is no double, and a record is known by its fields.
    ("", r#"["double","float","long","int"]"#, "060a", r#"{"int":5}"#, &["5"]),
    ("", r#"["double","long"]"#, "020a", r#"{"long":5}"#, &["5", "5.0"]),
    ("", r#"["int","double"]"#, "02000000000000f83f", r#"{"double":1.5}"#, &["1.5"]),
    ("", r#"["long","string"]"#, "020235", r#"{"string":"5"}"#, &[r#""5""#]),
    (
        "",
        r#"[{"type":"map","values":"int"},{"type":"record","name":"A","fields":[{"name":"x","type":"int"}]},{"type":"record","name":"B","fields":[{"name":"y","type":"int"}]}]"#,
        "040a",
        r#"{"B":{"y":5}}"#,
        &[r#"{"y":5}"#],
    ),
    // A member with the name of a branch, in a union that is plain.
    ("", r#"["null",{"type":"map","values":"string"}]"#, "020206737472026100", r#"{"str":"a"}"#, &[]),
    (
        "",
        r#"["null",{"type":"map","values":"int"}]"#,
        "0202066d61700200",
        r#"{"map":1}"#,
        &[r#"{"map":{"map":1}}"#],
    ),
    (
        "",
        r#"{"type":"record","name":"R","fields":[{"name":"R","type":["null","R"]}]}"#,
        "020200",
        r#"{"R":{"R":{"R":null}}}"#,
        &[],
    ),
    (
        "",
        r#"{"type":"record","name":"a.List","fields":[{"name":"v","type":"int"},{"name":"next","type":["null","List"]}]}"#,
        "02020400",
        r#"{"v":1,"next":{"v":2,"next":null}}"#,
        &[r#"{"v":1,"next":{"a.List":{"v":2,"next":null}}}"#],
    ),
];

#[test]
fn rows_decode_and_encode() {
    for (_, schema, hex, json, taken) in ROWS {
        let bytes = unhex(hex);
        assert_eq!(decode(schema, &bytes).as_deref(), Ok(*json), "{schema} {hex}");
        for json in [json].into_iter().chain(*taken) {
            assert_eq!(encode(schema, json).as_deref(), Ok(*hex), "{schema} {json}");
        }
        for cut in 0..bytes.len() {
            assert!(decode(schema, &bytes[..cut]).is_err(), "{schema} {hex} cut at byte {cut}");
        }
        assert!(decode(schema, &[&bytes[..], &[0]].concat()).is_err(), "{schema} {hex} with a byte more");
        invariants::check(&parse(schema), &bytes, json.len());
    }
}

/// Bytes that encoding never writes.
#[test]
fn other_bytes_of_the_same_values_decode() {
    const ROWS: [(&str, &str, &str); 6] = [
        (r#"{"type":"array","items":"int"}"#, "0202010404020600", "[1,2,3]"),
        (r#"{"type":"map","values":"int"}"#, "010602610200", r#"{"a":1}"#),
        ("long", "80808000", "0"),
        ("bytes decimal 3 1", "06ffff85", r#""-12.3""#),
        ("bytes decimal 3 1", "00", r#""0.0""#),
        ("bytes big-decimal", "06020c03", r#""1200""#),
    ];
    for (schema, hex, json) in ROWS {
        assert_eq!(decode(schema, &unhex(hex)).as_deref(), Ok(json), "{schema} {hex}");
    }
}

/// Schemas as programs write them.
#[test]
fn schemas_are_read_as_others_read_them() {
    const ROWS: [(&str, &str); 12] = [
        (r#"{"type":"int"}"#, "1"),
        (r#"{"type":{"type":{"type":"int"}},"name":7}"#, "1"),
        (r#"{"type":["int"]}"#, "1"),
        (r#"["int","bytes"]"#, "1"),
        (r#"{"type":"int","logicalType":7,"doc":[]}"#, "1"),
        (r#""acme.Number""#, "1"),
        (r#"{"type":"acme.Number"}"#, "1"),
        (r#""com.acme.Inner""#, r#""S""#),
        (r#""Bare""#, r#""YQ==""#),
        (r#"{"type":"array","items":"com.acme.Inner"}"#, r#"["S"]"#),
        (
            r#"{"type":"record","name":"Outer","namespace":"com.acme","fields":[{"name":"a","type":"Inner"},{"name":"b","type":"Bare"}]}"#,
            r#"{"a":"S","b":"YQ=="}"#,
        ),
        (
            r#"{"type":"record","name":"x.Outer","namespace":"com.acme","aliases":["y"],"fields":[
                {"name":"a","type":{"type":"enum","name":"E","symbols":["S"],"default":"T"},"default":"U","order":"ignore"},
                {"name":"b","type":{"type":"error","name":"In","namespace":"","fields":[{"name":"e","type":"x.E"}]}},
                {"name":"c","type":"E"},{"name":"d","type":"In"},{"name":"e","type":["null",".In"]}]}"#,
            r#"{"a":"S","b":{"e":"S"},"c":"S","d":{"e":"S"},"e":{"e":"S"}}"#,
        ),
    ];
    let references = [
        ("acme.Number", r#""int""#),
        ("inner.avsc", r#"{"type":"enum","name":"Inner","namespace":"com.acme","symbols":["S"]}"#),
        ("inner again", r#"{"type":"enum","name":"Inner","namespace":"com.acme","symbols":["S"]}"#),
        ("Bare", r#"{"type":"fixed","name":"Bare","size":1}"#),
    ]
    .map(|(name, schema)| Reference { name: name.to_owned(), schema: schema.to_owned() });
    for (schema, json) in ROWS {
        let parsed = Schema::parse(schema, &references).unwrap_or_else(|error| panic!("{schema}: {error}"));
        let (mut bytes, mut out) = (Vec::new(), Vec::new());
        parsed.encode(json.as_bytes(), &mut bytes).unwrap_or_else(|error| panic!("{schema}: {error}"));
        parsed.decode(&bytes, 1 << 16, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), json, "{schema}");
    }
}

#[test]
fn reference_lists_the_mapping_of_avro() {
    let code = |json: &str| format!("`{json}`");
    let rules = ROWS.iter().filter(|(rule, ..)| !rule.is_empty());
    let row = |(rule, _, _, json, taken): &Row| {
        let taken: Vec<String> = taken.iter().map(|json| code(json)).collect();
        vec![(*rule).to_owned(), code(json), taken.join(", ")]
    };
    let rows: Vec<Vec<String>> = rules.map(row).collect();
    let table = reference::table(&["Avro", "JSON", "also taken when writing"], &rows);
    reference::check("schemas.md", "avro", &table);
}
