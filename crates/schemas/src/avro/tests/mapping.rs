//! The mapping to JSON and back. The bytes are those of fastavro, where it has the type.

use sluicegate_reference as reference;

use super::*;

struct Row {
    /// The rule in the reference; empty: it is not a rule of its own.
    rule: &'static str,
    schema: &'static str,
    hex: &'static str,
    json: &'static str,
    /// Other JSON of the same bytes.
    taken: &'static [&'static str],
}

/// A rule, a schema, bytes, their JSON, and other JSON that gives these bytes.
const ROWS: &[Row] = &[
    row("`null`", r#""null""#, "", "null", &[]),
    row("`boolean`", r#""boolean""#, "01", "true", &[]),
    row("`int`", r#""int""#, "53", "-42", &[r#""-42""#, "-42.0"]),
    row("`long`", r#""long""#, "feffffffffffff1f", "9007199254740991", &[r#""9007199254740991""#]),
    row(
        "`long` beyond ±(2^53 - 1)",
        r#""long""#,
        "8280808080808020",
        r#""9007199254740993""#,
        &["9007199254740993"],
    ),
    row("", r#""long""#, "ffffffffffffffffff01", r#""-9223372036854775808""#, &["-9223372036854775808"]),
    row("`float`, `double`: the shortest number", r#""float""#, "cdcccc3d", "0.1", &["1e-1"]),
    row("", r#""double""#, "355800662deb41fe", "-1.5e+300", &["-1.5E300"]),
    row("", r#""double""#, "0000000000001440", "5.0", &["5"]),
    row("`float`, `double`: not finite", r#""double""#, "000000000000f87f", r#""NaN""#, &[]),
    row("", r#""float""#, "000080ff", r#""-Infinity""#, &[]),
    row("", r#""float""#, "0000807f", r#""Infinity""#, &[]),
    row("`string`", r#""string""#, "0ec3a9202271220a", r#""é \"q\"\n""#, &[]),
    row("`bytes`", r#""bytes""#, "06fbff00", r#""+/8A""#, &[r#""-_8A""#]),
    row("`fixed`", r#"{"type":"fixed","name":"F","size":2}"#, "fbff", r#""+/8=""#, &[r#""+/8""#]),
    row("`enum`", r#"{"type":"enum","name":"E","symbols":["open","paid"]}"#, "02", r#""paid""#, &[]),
    row("`array`", r#"{"type":"array","items":"int"}"#, "04020400", "[1,2]", &[]),
    row("", r#"{"type":"array","items":"int"}"#, "00", "[]", &[]),
    row("`map`", r#"{"type":"map","values":"int"}"#, "0402610202620400", r#"{"a":1,"b":2}"#, &[]),
    row("", r#"{"type":"map","values":"int"}"#, "00", "{}", &[]),
    row(
        "`record` in the schema's order; `a` has the default `\"x\"`",
        r#"{"type":"record","name":"R","fields":[{"name":"b","type":"int"},{"name":"a","type":"string","default":"x"}]}"#,
        "020278",
        r#"{"b":1,"a":"x"}"#,
        &[r#"{"a":"x","b":1}"#, r#"{"b":1}"#],
    ),
    row("", r#"{"type":"record","name":"R","fields":[]}"#, "", "{}", &[]),
    row("`[\"null\",\"string\"]`", r#"["null","string"]"#, "020261", r#""a""#, &[r#"{"string":"a"}"#]),
    row("", r#"["null","string"]"#, "00", "null", &[r#"{"null":null}"#]),
    row("", r#"["null"]"#, "00", "null", &[]),
    row(
        "`[\"null\",\"int\",\"string\"]`: the JSON tells the branch",
        r#"["null","int","string"]"#,
        "020a",
        "5",
        &[r#"{"int":5}"#],
    ),
    row(
        "`[\"string\",\"bytes\"]`: the JSON does not tell it",
        r#"["string","bytes"]"#,
        "020261",
        r#"{"bytes":"YQ=="}"#,
        &[],
    ),
    row("", r#"["string","long",{"type":"int","logicalType":"date"}]"#, "020a", r#"{"long":5}"#, &[]),
    row("", r#"["null","float","double"]"#, "00", "null", &[]),
    row(
        "",
        r#"[{"type":"fixed","name":"n.F","size":1},"bytes"]"#,
        "0061",
        r#"{"n.F":"YQ=="}"#,
        &[r#""YQ==""#],
    ),
    row(
        "`decimal` of scale 2",
        r#"{"type":"bytes","logicalType":"decimal","precision":6,"scale":2}"#,
        "04fb32",
        r#""-12.30""#,
        &[r#""-12.3""#, "-12.3"],
    ),
    row(
        "",
        r#"{"type":"fixed","name":"D","size":4,"logicalType":"decimal","precision":6,"scale":2}"#,
        "fffffb32",
        r#""-12.30""#,
        &[],
    ),
    row(
        "",
        r#"{"type":"bytes","logicalType":"decimal","precision":3,"scale":3}"#,
        "0207",
        r#""0.007""#,
        &["0.007"],
    ),
    row("", r#"{"type":"bytes","logicalType":"decimal","precision":3}"#, "0200", r#""0""#, &["0", r#""-0""#]),
    row(
        "",
        r#"{"type":"bytes","logicalType":"decimal","precision":50}"#,
        "220100000000000000000000000000000000",
        r#""340282366920938463463374607431768211456""#,
        &[],
    ),
    row("`big-decimal`", r#"{"type":"bytes","logicalType":"big-decimal"}"#, "0804fb3204", r#""-12.30""#, &[]),
    row(
        "`uuid`",
        r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#,
        "123456789abcdef0123456789abcdef0",
        r#""12345678-9abc-def0-1234-56789abcdef0""#,
        &[],
    ),
    row(
        "",
        r#"{"type":"string","logicalType":"uuid"}"#,
        "4831323334353637382d396162632d646566302d313233342d353637383961626364656630",
        r#""12345678-9abc-def0-1234-56789abcdef0""#,
        &[],
    ),
    row(
        "`date`",
        r#"{"type":"int","logicalType":"date"}"#,
        "88c002",
        r#""2026-01-31""#,
        &["20484", r#""20484""#],
    ),
    row("", r#"{"type":"int","logicalType":"date"}"#, "f3e457", r#""0001-01-01""#, &[]),
    row(
        "`date` beyond the years 0001 to 9999",
        r#"{"type":"int","logicalType":"date"}"#,
        "f5e457",
        "-719163",
        &[],
    ),
    row("", r#"{"type":"int","logicalType":"date"}"#, "c082e602", r#""9999-12-31""#, &[]),
    row("", r#"{"type":"int","logicalType":"date"}"#, "c282e602", "2932897", &[]),
    row(
        "`time-millis`",
        r#"{"type":"int","logicalType":"time-millis"}"#,
        "aab2992b",
        r#""12:34:56.789""#,
        &["45296789"],
    ),
    row(
        "`time-micros`",
        r#"{"type":"long","logicalType":"time-micros"}"#,
        "a898b1bed102",
        r#""12:34:56.789012""#,
        &[],
    ),
    row(
        "`time-millis`, `time-micros` beyond a day",
        r#"{"type":"long","logicalType":"time-micros"}"#,
        "8080bbdd8305",
        "86400000000",
        &[],
    ),
    row(
        "`timestamp-millis`, `-micros`, `-nanos`",
        r#"{"type":"long","logicalType":"timestamp-millis"}"#,
        "aaf2e4c08267",
        r#""2026-01-31T12:34:56.789Z""#,
        &[r#""2026-01-31T13:34:56.789+01:00""#, "1769862896789"],
    ),
    row(
        "",
        r#"{"type":"long","logicalType":"timestamp-micros"}"#,
        "a8989d94caeba406",
        r#""2026-01-31T12:34:56.789012Z""#,
        &[],
    ),
    row(
        "",
        r#"{"type":"long","logicalType":"timestamp-nanos"}"#,
        "f2fd8584aebbe88f31",
        r#""2026-01-31T12:34:56.789012345Z""#,
        &[],
    ),
    row(
        "",
        r#"{"type":"long","logicalType":"timestamp-nanos"}"#,
        "ffffffffffffffffff01",
        r#""1677-09-21T00:12:43.145224192Z""#,
        &[],
    ),
    row(
        "",
        r#"{"type":"long","logicalType":"timestamp-millis"}"#,
        "01",
        r#""1969-12-31T23:59:59.999Z""#,
        &[],
    ),
    row(
        "`local-timestamp-millis`, `-micros`, `-nanos`",
        r#"{"type":"long","logicalType":"local-timestamp-millis"}"#,
        "aaf2e4c08267",
        r#""2026-01-31T12:34:56.789""#,
        &["1769862896789"],
    ),
    row(
        "`duration`",
        r#"{"type":"fixed","name":"D","size":12,"logicalType":"duration"}"#,
        "0100000002000000ffffffff",
        r#"{"months":1,"days":2,"millis":4294967295}"#,
        &[],
    ),
    row(
        "unknown or invalid logical type: as without it",
        r#"{"type":"string","logicalType":"date"}"#,
        "0261",
        r#""a""#,
        &[],
    ),
    row("", r#"{"type":"bytes","logicalType":"decimal","precision":2,"scale":3}"#, "0261", r#""YQ==""#, &[]),
    row(
        "",
        r#"{"type":"fixed","name":"D","size":1,"logicalType":"decimal","precision":3}"#,
        "61",
        r#""YQ==""#,
        &[],
    ),
    // Defaults: bytes as text, and branches without names.
    row(
        "",
        r#"{"type":"record","name":"R","fields":[{"name":"a","type":"bytes","default":"\u00ff"},{"name":"b","type":["string","int"],"default":5}]}"#,
        "02ff020a",
        r#"{"a":"/w==","b":5}"#,
        &["{}", r#"{"a":"/w=="}"#],
    ),
    // Branches that are not named: an integer is no double, and a record is known by its fields.
    row("", r#"["double","float","long","int"]"#, "060a", r#"{"int":5}"#, &["5"]),
    row("", r#"["double","long"]"#, "020a", r#"{"long":5}"#, &["5", "5.0"]),
    row("", r#"["int","double"]"#, "02000000000000f83f", r#"{"double":1.5}"#, &["1.5"]),
    row("", r#"["long","string"]"#, "020235", r#"{"string":"5"}"#, &[r#""5""#]),
    row(
        "",
        r#"[{"type":"map","values":"int"},{"type":"record","name":"A","fields":[{"name":"x","type":"int"}]},{"type":"record","name":"B","fields":[{"name":"y","type":"int"}]}]"#,
        "040a",
        r#"{"B":{"y":5}}"#,
        &[r#"{"y":5}"#],
    ),
    // A member with the name of a branch, in a union that is plain.
    row("", r#"["null",{"type":"map","values":"string"}]"#, "020206737472026100", r#"{"str":"a"}"#, &[]),
    row(
        "",
        r#"["null",{"type":"map","values":"int"}]"#,
        "0202066d61700200",
        r#"{"map":1}"#,
        &[r#"{"map":{"map":1}}"#],
    ),
    row(
        "",
        r#"{"type":"record","name":"R","fields":[{"name":"R","type":["null","R"]}]}"#,
        "020200",
        r#"{"R":{"R":{"R":null}}}"#,
        &[],
    ),
    row(
        "",
        r#"{"type":"record","name":"a.List","fields":[{"name":"v","type":"int"},{"name":"next","type":["null","List"]}]}"#,
        "02020400",
        r#"{"v":1,"next":{"v":2,"next":null}}"#,
        &[r#"{"v":1,"next":{"a.List":{"v":2,"next":null}}}"#],
    ),
];

const fn row(
    rule: &'static str,
    schema: &'static str,
    hex: &'static str,
    json: &'static str,
    taken: &'static [&'static str],
) -> Row {
    Row { rule, schema, hex, json, taken }
}

#[test]
fn rows_decode_and_encode() {
    for Row { schema, hex, json, taken, .. } in ROWS {
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
        (r#""long""#, "80808000", "0"),
        (r#"{"type":"bytes","logicalType":"decimal","precision":3,"scale":1}"#, "06ffff85", r#""-12.3""#),
        (r#"{"type":"bytes","logicalType":"decimal","precision":3,"scale":1}"#, "00", r#""0.0""#),
        (r#"{"type":"bytes","logicalType":"big-decimal"}"#, "06020c03", r#""1200""#),
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
    let rules = ROWS.iter().filter(|row| !row.rule.is_empty());
    let rows: Vec<Vec<String>> = rules
        .map(|row| {
            let taken: Vec<String> = row.taken.iter().map(|json| code(json)).collect();
            vec![row.rule.to_owned(), code(row.json), taken.join(", ")]
        })
        .collect();
    let table = reference::table(&["Avro", "JSON", "also taken when writing"], &rows);
    reference::check("schemas.md", "avro", &table);
}
