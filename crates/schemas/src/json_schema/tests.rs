//! JSON Schemas, the values that they allow, and bounds of both.

use std::time::Instant;

use super::*;
use crate::MAX_DEPTH;

fn reference(name: &str, schema: &str) -> Reference {
    Reference { name: name.to_owned(), schema: schema.to_owned() }
}

fn encode(schema: &Schema, json: &str) -> Result<(), String> {
    let mut out = b"x".to_vec();
    let result = schema.encode(json.as_bytes(), &mut out);
    let added = if result.is_ok() { json } else { "" };
    assert_eq!(out, format!("x{added}").as_bytes());
    result.map_err(|error| error.to_string())
}

#[test]
fn values_are_copied_as_they_are_written() {
    let schema = Schema::parse(r#"{"type": "object"}"#, &[]).unwrap();
    for json in [r#"{"a" : 1.50}"#, " [1]\n", "12345678901234567890123", r#""\u00e9""#] {
        let mut out = Vec::new();
        schema.decode(json.as_bytes(), json.len(), &mut out).unwrap();
        assert_eq!(out, json.as_bytes());
    }
}

/// Values that are not JSON, too large or too deep.
#[test]
fn values_beyond_the_bounds_are_refused() {
    let schema = Schema::parse("true", &[]).unwrap();
    let deep = |levels: usize| ["[".repeat(levels), "]".repeat(levels)].concat().into_bytes();
    let levels = format!("JSON of more than {MAX_DEPTH} levels");
    let rows: [(&[u8], &str); 7] = [
        (b"", "expected JSON: EOF while parsing a value at line 1 column 0"),
        (b"{} {}", "expected JSON: trailing characters at line 1 column 4"),
        (b"\"\xff\"", "expected JSON: invalid utf-8 sequence of 1 bytes from index 1"),
        (b"\0\0\0\0\x01{}", "expected JSON: expected value at line 1 column 1"),
        (&deep(MAX_DEPTH + 1), &levels),
        (&deep(50_000), &levels),
        (&vec![b' '; 100_001], "JSON of more than 100000 bytes"),
    ];
    for (bytes, want) in rows {
        let mut out = b"x".to_vec();
        assert_eq!(schema.decode(bytes, 100_000, &mut out).unwrap_err().0, want);
        assert_eq!(out, b"x");
    }
    schema.decode(&deep(MAX_DEPTH), 100_000, &mut Vec::new()).unwrap();
    assert_eq!(
        schema.encode(&deep(50_000), &mut Vec::new()).unwrap_err().to_string(),
        format!("the value: {levels}")
    );
}

/// The schema, a value, and the error.
#[test]
fn errors_name_the_place_and_the_expectation() {
    let order = r#"{"type": "object", "required": ["id"], "additionalProperties": false, "properties": {
        "id": {"type": "integer"}, "a/b": {"items": {"maxLength": 2}}, "at": {"format": "date-time"},
        "status": {"enum": ["open", "closed"]}}}"#;
    let recent = r##"{"$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": "#/$defs/a", "type": "string",
        "$defs": {"a": {}}}"##;
    for (schema, json, place, want) in [
        (order, r#"{"id": 1, "a/b": ["ab"], "at": "2026-01-31T00:00:00Z", "status": "open"}"#, "", ""),
        (order, r#"{"id": "x"}"#, "/id", r#"value is not of type "integer""#),
        (order, r#"{"id": 1, "a/b": ["a", "secret"]}"#, "/a~1b/1", "value is longer than 2 characters"),
        (order, "{}", "the value", r#""id" is a required property"#),
        (order, r#"{"id": 1, "at": "now"}"#, "/at", r#"value is not a "date-time""#),
        (order, r#"{"id": 1, "status": "x"}"#, "/status", r#"value is not one of "open" or "closed""#),
        (r#"{"pattern": "^a+$"}"#, r#""b""#, "the value", r#"value does not match "^a+$""#),
        // Drafts differ in what is beside a `$ref`, and in the keywords that they have.
        (r##"{"$ref": "#/definitions/a", "type": "string", "definitions": {"a": {}}}"##, "1", "", ""),
        (recent, "1", "the value", r#"value is not of type "string""#),
        (
            r#"{"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1, "exclusiveMinimum": true}"#,
            "1",
            "the value",
            "value is less than or equal to the minimum of 1",
        ),
        (
            r#"{"$schema": "http://example.com/ours", "type": "string"}"#,
            "1",
            "the value",
            r#"value is not of type "string""#,
        ),
        ("true", "1", "", ""),
        ("false", "1", "the value", "False schema does not allow value"),
    ] {
        let parsed = Schema::parse(schema, &[]).unwrap_or_else(|error| panic!("{schema}: {error}"));
        let refused = Err(format!("{place}: expected what the schema allows: {want}"));
        let want = if want.is_empty() { Ok(()) } else { refused };
        assert_eq!(encode(&parsed, json), want, "{schema} {json}");
    }
    let cut = encode(&Schema::parse("true", &[]).unwrap(), "nul").unwrap_err();
    assert_eq!(cut, "the value: expected JSON: EOF while parsing a value at line 1 column 3");
    let names: Vec<_> = (0..1000).map(|name| format!("\"{name}\"")).collect();
    let schema = Schema::parse(&format!(r#"{{"enum": [{}]}}"#, names.join(",")), &[]).unwrap();
    assert!(encode(&schema, "1").unwrap_err().len() < 300);
}

#[test]
fn references_are_found_by_name_and_id_and_nowhere_else() {
    let id = r#"{"$id": "http://example.com/id.json", "type": "integer"}"#;
    let of = r#"{"definitions": {"a": {"$ref": "of.json"}}}"#;
    for (schema, references) in [
        (r#"{"$ref": "id.json"}"#, vec![reference("id.json", id)]),
        (r#"{"$ref": "http://example.com/id.json"}"#, vec![reference("id.json", id)]),
        (r#"{"$ref": "id"}"#, vec![reference("id", r#"{"type": "integer"}"#)]),
        (
            r#"{"$id": "http://a.example/b/c.json", "$ref": "id.json#/definitions/a"}"#,
            vec![reference("id.json", of), reference("of.json", id)],
        ),
    ] {
        let parsed = Schema::parse(schema, &references).unwrap_or_else(|error| panic!("{schema}: {error}"));
        let refused = r#"the value: expected what the schema allows: value is not of type "integer""#;
        assert_eq!(encode(&parsed, "1"), Ok(()), "{schema}");
        assert_eq!(encode(&parsed, r#""x""#), Err(refused.to_owned()), "{schema}");
    }
    for uri in ["http://127.0.0.1:1/a", "file:///etc/passwd", "other.json", "xid.json"] {
        let schema = format!(r#"{{"$ref": "{uri}"}}"#);
        let error = Schema::parse(&schema, &[reference("id.json", id)]).unwrap_err();
        assert_eq!(error.0, format!("invalid JSON Schema: {uri} is not among the references"));
    }
}

/// Addresses and anchors within a schema.
#[test]
fn references_within_a_schema_are_followed() {
    for (keywords, json, want) in [
        (
            r##""properties":{"a":{"$ref":"#n"}},"$defs":{"n":{"$anchor":"n","type":"integer"}}"##,
            r#"{"a":"x"}"#,
            "/a: ",
        ),
        (
            r##""$id":"http://a.example/tree","$dynamicAnchor":"n","type":"object","properties":{"a":{"$dynamicRef":"#n"}}"##,
            r#"{"a":{"a":1}}"#,
            "/a/a: ",
        ),
        (
            r##""$id":"http://a.example/b","properties":{"a":{"$ref":"c"}},"$defs":{"c":{"$id":"c","$ref":"#/$defs/a%62",
                "$defs":{"ab":{"type":"integer"}}}}"##,
            r#"{"a":"x"}"#,
            "/a: ",
        ),
        (
            r#""$ref":"https://json-schema.org/draft/2020-12/schema""#,
            "{}",
            "the value: expected a schema without references to the schema of a draft",
        ),
    ] {
        let schema = format!(r#"{{"$schema":"https://json-schema.org/draft/2020-12/schema",{keywords}}}"#);
        let error = encode(&Schema::parse(&schema, &[]).unwrap(), json).unwrap_err();
        assert!(error.starts_with(want), "{schema} {error}");
    }
}

#[test]
fn schemas_beyond_the_bounds_are_refused() {
    for (schema, want) in [
        ("{", "the schema is not JSON: EOF while parsing an object at line 1 column 1"),
        (r#"{"type": "number or so"}"#, "invalid JSON Schema: "),
        (r#"{"pattern": "(?=a)b"}"#, "invalid JSON Schema: "),
        (r#"{"pattern": "((a{100}){100}){100}"}"#, "invalid JSON Schema: "),
        (
            &format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)),
            "the schema is not JSON: recursion limit",
        ),
        (
            &format!(r#"{{"{}":[{}1]}}"#, "x".repeat(100_000), r#"{"$anchor":"a"},"#.repeat(1_000)),
            "more than 16 MiB of places of $id and $anchor",
        ),
        (&" ".repeat(MAX_SCHEMA_BYTES + 1), "the schema has more than 1048576 bytes"),
    ] {
        let error = Schema::parse(schema, &[]).unwrap_err().0;
        assert!(error.starts_with(want) && error.len() < 1000, "{error}");
    }
    let endless = reference("b", r#"{"$ref":"a/b"}"#);
    for (schema, references) in
        [(r#"{"$ref":"b"}"#, &[endless][..]), (r#"{"$ref":"a/json-schema:///"}"#, &[])]
    {
        let error = Schema::parse(schema, references).unwrap_err().0;
        let levels = error.matches("a/").count();
        assert!(error.ends_with(" is not among the references") && levels <= MAX_ADDRESSES, "{error}");
    }
    let many = vec![reference("a", "true"); MAX_REFERENCES + 1];
    assert_eq!(Schema::parse("true", &many).unwrap_err().0, "more than 100 references");
}

/// Schemas that refer to themselves, in circles, often or in long chains.
#[test]
fn recursive_schemas_end() {
    let nested = format!("{}1{}", r#"{"a":"#.repeat(MAX_DEPTH), "}".repeat(MAX_DEPTH));
    let chain = |links: usize, of: &dyn Fn(usize) -> String| {
        let links: Vec<_> = (0..links).map(|link| format!(r#""d{link}":{}"#, of(link))).collect();
        format!(
            r##"{{"$ref":"#/definitions/d0","definitions":{{{},"last":{{"type":"string"}}}}}}"##,
            links.join(",")
        )
    };
    let next = |link: usize, links: usize| {
        let name = if link + 1 == links { "last".to_owned() } else { format!("d{}", link + 1) };
        format!(r##"{{"$ref":"#/definitions/{name}"}}"##)
    };
    let recent = |schema: &str| {
        schema.replacen('{', r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","#, 1)
    };
    // Each level of a value is visited twice as often as the one around it.
    let twice = |keywords: &str, reference: &str| {
        let branch = |name| format!(r##"{{"properties":{{"a":{{{reference}}}}},"required":["{name}"]}}"##);
        format!(r##"{{{keywords},"anyOf":[{{"type":"integer"}},{},{}]}}"##, branch("b"), branch("c"))
    };
    for schema in [
        r##"{"$ref": "#"}"##.to_owned(),
        r##"{"allOf": [{"$ref": "#"}]}"##.to_owned(),
        r##"{"not": {"$ref": "#"}}"##.to_owned(),
        r##"{"$ref": "#/definitions/a", "definitions": {"a": {"$ref": "#/definitions/b"}, "b": {"$ref": "#/definitions/a"}}}"##.to_owned(),
        twice(r#""title":"""#, r##""$ref":"#""##),
        r##"{"allOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}], "type": ["object", "string"]}"##.to_owned(),
        twice(r##""$schema":"https://json-schema.org/draft/2020-12/schema","$anchor":"n""##, r##""$ref":"#n""##),
        twice(r##""$schema":"https://json-schema.org/draft/2020-12/schema","$dynamicAnchor":"n""##, r##""$dynamicRef":"#n""##),
        twice(r##""$schema":"https://json-schema.org/draft/2019-09/schema","$recursiveAnchor":true"##, r##""$recursiveRef":"#""##),
        twice(r##""$id":"http://a.example/n""##, r##""$ref":"n""##),
        twice(r##""$id":"http://a.example/n""##, r##""$ref":"http://a.example/n#""##),
        format!(
            r##"{{"$id":"http://a.example/a","properties":{{"a":{{"$ref":"#"}}}},"definitions":{{"a":{}}}}}"##,
            twice(r##""$id":"http://a.example/a""##, r##""$ref":"#""##)
        ),
        chain(40, &|link| { let next = next(link, 40); format!(r#"{{"allOf":[{next},{next}]}}"#) }),
        chain(40, &|link| { let next = next(link, 40); format!(r#"{{"anyOf":[{next},{next}]}}"#) }),
        chain(1_999, &|link| next(link, 1_999)),
        chain(1_999, &|link| {
            let next = if link == 1_998 { "json-schema.org/draft-07/schema".to_owned() } else { format!("a.example/{}", link + 1) };
            format!(r##"{{"$id":"http://a.example/{link}","allOf":[{{"$ref":"http://{next}#"}}]}}"##)
        }),
        chain(20_000, &|link| next(link, 20_000)),
        // Branches are visited again to find what they evaluate, and compiled again.
        recent(&chain(40, &|link| format!(r#"{{"allOf":[{}],"unevaluatedProperties":false}}"#, next(link, 40)))),
        recent(&(0..40).fold(r#"{"properties":{"a":{}}}"#.to_owned(), |inner, _| format!(r#"{{"anyOf":[{inner}],"unevaluatedProperties":false}}"#))),
        recent(&(0..40).fold("{}".to_owned(), |inner, _| format!(r#"{{"if":{inner},"unevaluatedItems":false}}"#))),
        recent(&chain(40, &|link| { let next = next(link, 40); format!(r#"{{"anyOf":[{next},{next}]}}"#) }).replacen('{', r#"{"unevaluatedItems":false,"then":{"$ref":"http://json-schema.org/draft-07/schema"},"#, 1)),
    ] {
        let start = Instant::now();
        match Schema::parse(&schema, &[]) {
            Ok(parsed) => drop([&*nested, "[1]"].map(|value| encode(&parsed, value))),
            Err(error) => assert!(error.0.starts_with("more than "), "{error}"),
        }
        assert!(start.elapsed().as_secs() < 10, "{schema:.200}");
    }
}
