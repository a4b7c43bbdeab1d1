//! Schemas, bytes and JSON that would take more stack, memory or time than there is.

use super::*;
use crate::{MAX_DEPTH, MAX_REFERENCES, MAX_SCHEMA_BYTES};

const TREE: &str =
    r#"{"type":"record","name":"T","fields":[{"name":"t","type":{"type":"array","items":"T"}}]}"#;

#[test]
fn deep_values_are_refused() {
    // A record and an array for each level, of which the innermost is empty.
    let bytes = |levels: usize| [vec![2; levels], vec![0; levels + 1]].concat();
    let json = |levels: usize| r#"{"t":["#.repeat(levels) + r#"{"t":[]}"# + &"]}".repeat(levels);
    let levels = (MAX_DEPTH - 2) / 2;
    assert_eq!(decode(TREE, &bytes(levels)), Ok(json(levels)));
    assert_eq!(encode(TREE, &json(levels)), Ok(hex(&bytes(levels))));
    assert_eq!(decode(TREE, &bytes(levels + 1)).unwrap_err(), "the JSON has more than 59 levels");
    let error = encode(TREE, &json(levels + 1)).unwrap_err();
    assert!(error.ends_with("/t: expected at most 59 levels of arrays and objects"), "{error}");
    let error = encode(TREE, &json(100_000)).unwrap_err();
    assert!(error.contains("recursion limit exceeded"), "{error}");
}

#[test]
fn types_that_contain_themselves_are_refused() {
    let schema = r#"{"type":"record","name":"R","fields":[{"name":"r","type":"R","default":{}}]}"#;
    assert_eq!(decode(schema, &[]).unwrap_err(), "the JSON has more than 59 levels");
    let error = encode(schema, "{}").unwrap_err();
    assert!(
        error.ends_with("/r: expected at most 59 levels of arrays and objects (the default in the schema)"),
        "{error}"
    );
}

/// Records that are told apart at the bottom only, defaults within defaults, and long defaults of short JSON.
#[test]
fn choices_and_defaults_are_bounded() {
    const FEWER: &str = "expected a value with fewer defaults and choices among branches";
    let record = |name: &str| {
        format!(
            r#"{{"type":"record","name":"{name}","fields":[{{"name":"r","type":["int","string","A","B"]}}]}}"#
        )
    };
    let union = record("A").replace(r#""A","B"]"#, &format!(r#""A",{}]"#, record("B")));
    let json = r#"{"r":"#.repeat(50) + "null" + &"}".repeat(50);
    let error = encode(&union, &json).unwrap_err();
    assert!(error.ends_with("/r: expected one of int, string, A, B, found null"), "{error}");

    let of_null = r#"{"type":"record","name":"R0","fields":[{"name":"n","type":"null","default":null}]}"#;
    let mut defaults = of_null.to_owned();
    for at in 1..20 {
        defaults = format!(
            r#"{{"type":"record","name":"R{at}","fields":[{{"name":"a","type":{defaults},"default":{{}}}},{{"name":"b","type":"R{}","default":{{}}}}]}}"#,
            at - 1
        );
    }
    let error = encode(&defaults, "{}").unwrap_err();
    assert!(error.contains(FEWER), "{error}");

    let text = "x".repeat(1000);
    let long = format!(
        r#"{{"type":"array","items":{{"type":"record","name":"R","fields":[{{"name":"a","type":"string","default":"{text}"}}]}}}}"#
    );
    assert!(encode(&long, &format!("[{}{{}}]", "{},".repeat(500))).is_ok());
    let error = encode(&long, &format!("[{}{{}}]", "{},".repeat(5000))).unwrap_err();
    assert!(error.contains(FEWER), "{error}");
}

#[test]
fn json_is_never_larger_than_the_bound() {
    let schema = parse(r#"{"type":"array","items":"string"}"#);
    let bytes = unhex("0402610a01010101010000"); // escapes take six times the bytes
    let mut whole = Vec::new();
    let bytes = &bytes[..bytes.len() - 1];
    schema.decode(bytes, usize::MAX, &mut whole).unwrap();
    for max in 0..whole.len() {
        let mut out = Vec::new();
        let error = schema.decode(bytes, max, &mut out).unwrap_err();
        assert_eq!(error.to_string(), format!("the JSON has more than {max} bytes"));
        assert!(out.is_empty() && out.capacity() <= 2 * whole.len());
    }
}

#[test]
fn large_schemas_are_refused() {
    let error =
        |text: &str, references: &[Reference]| Schema::parse(text, references).unwrap_err().to_string();
    let large = format!("\"int\"{}", " ".repeat(MAX_SCHEMA_BYTES));
    assert_eq!(error(&large, &[]), "the schema has 1048581 bytes, at most 1048576 are read");
    let reference = Reference { name: "r".to_owned(), schema: r#""int""#.to_owned() };
    let many = vec![reference; MAX_REFERENCES + 1];
    assert_eq!(error(r#""int""#, &many), "101 schemas are referred to, at most 100 can be");
    let deep = r#"{"type":"#.repeat(100_000);
    assert!(error(&deep, &[]).contains("recursion limit exceeded"));
    let name = format!(r#"{{"type":"fixed","name":"{}","size":1}}"#, "n".repeat(2000));
    assert_eq!(error(&name, &[]), "a name has 2000 bytes with its namespace, at most 512 are read");
}
