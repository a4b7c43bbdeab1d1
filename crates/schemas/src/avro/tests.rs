//! Avro by its rules, each a row; by random schemas and values; and by bytes that mean harm.

mod bounds;
mod errors;
mod invariants;
mod mapping;
mod random;

use serde_json::{Value, json};

use super::*;

/// Parses JSON, or in short: a type, the size of `fixed`, a logical type, its precision and its scale.
fn parse(schema: &str) -> Schema {
    let mut words = schema.split(' ');
    let of = words.next().unwrap();
    let mut short = json!({"type": of, "name": "F"});
    let size = (of == "fixed").then_some("size");
    for (key, word) in size.into_iter().chain(["logicalType", "precision", "scale"]).zip(words) {
        short[key] = word.parse::<u32>().map_or(word.into(), Value::from);
    }
    let (short, is_short) = (short.to_string(), schema.starts_with(|first: char| first.is_ascii_lowercase()));
    let schema = if is_short { &short } else { schema };
    Schema::parse(schema, &[]).unwrap_or_else(|error| panic!("{schema}: {error}"))
}

#[track_caller]
fn decode(schema: &str, bytes: &[u8]) -> Result<String, String> {
    let mut out = Vec::new();
    let decoded = parse(schema).decode(bytes, 1 << 16, &mut out);
    decoded.map(|()| String::from_utf8(out).unwrap()).map_err(|error| error.to_string())
}

#[track_caller]
fn encode(schema: &str, json: &str) -> Result<String, String> {
    let mut out = Vec::new();
    let encoded = parse(schema).encode(json.as_bytes(), &mut out);
    encoded.map(|()| hex(&out)).map_err(|error| error.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
