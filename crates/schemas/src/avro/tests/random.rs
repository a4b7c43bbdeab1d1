//! Random schemas with values, and random bytes.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::scalar::{append_bytes, append_long};
use super::*;

proptest! {
    #[test]
    fn random_values_are_the_same_after_json(tape in vec(any::<u8>(), 0..300)) {
        let mut tape = Tape { bytes: &tape, types: Vec::new() };
        let schema = tape.schema(4);
        let mut bytes = Vec::new();
        tape.value(&schema, 0, &mut bytes);
        let schema = schema.to_string();
        let json = decode(&schema, &bytes).unwrap_or_else(|error| panic!("{schema}: {error}"));
        prop_assert_eq!(encode(&schema, &json), Ok(hex(&bytes)), "{} {}", schema, json);
        invariants::check(&parse(&schema), &bytes, json.len());
    }

    #[test]
    fn random_bytes_stay_within_bounds(tape in vec(any::<u8>(), 0..300), bytes in vec(any::<u8>(), 0..100), max in 0..2000_usize) {
        let schema = Tape { bytes: &tape, types: Vec::new() }.schema(4).to_string();
        invariants::check(&parse(&schema), &bytes, max);
        invariants::check_input(&[schema.as_bytes(), b"\0", &bytes].concat());
    }
}

/// Random decisions: zeros once they are used up.
struct Tape<'a> {
    bytes: &'a [u8],
    types: Vec<Value>,
}

impl Tape<'_> {
    fn below(&mut self, end: u8) -> u8 {
        let [byte] = self.take();
        byte % end
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        let len = N.min(self.bytes.len());
        let (bytes, rest) = self.bytes.split_at(len);
        taken[..len].copy_from_slice(bytes);
        self.bytes = rest;
        taken
    }

    /// Small numbers as often as large ones.
    fn long(&mut self) -> i64 {
        let shift = self.below(64);
        i64::from_le_bytes(self.take()) >> shift
    }

    fn text(&mut self) -> String {
        (0..self.below(5))
            .map(|_| ['a', '"', 'é', '\n', '/', '~', '\u{1f600}'][usize::from(self.below(7))])
            .collect()
    }

    fn schema(&mut self, depth: u8) -> Value {
        let name = format!("n{}.t", self.types.len());
        let fixed = |size: u8, logical: &str| json!({"type": "fixed", "name": name, "size": size, "logicalType": logical});
        let schema = match self.below(if depth == 0 { 16 } else { 20 }) {
            at @ 0..8 => json!(parse::PRIMITIVES[usize::from(at)]),
            8 => {
                const LOGICAL: [(&str, &str); 11] = [
                    ("string", "uuid"),
                    ("bytes", "big-decimal"),
                    ("int", "date"),
                    ("int", "time-millis"),
                    ("long", "time-micros"),
                    ("long", "timestamp-millis"),
                    ("long", "timestamp-micros"),
                    ("long", "timestamp-nanos"),
                    ("long", "local-timestamp-millis"),
                    ("long", "local-timestamp-micros"),
                    ("long", "local-timestamp-nanos"),
                ];
                let (of, logical) = LOGICAL[usize::from(self.below(11))];
                json!({"type": of, "logicalType": logical})
            }
            9 => json!({"type": "bytes", "logicalType": "decimal", "precision": 19, "scale": self.below(20)}),
            10 => {
                let mut decimal = fixed(10, "decimal");
                decimal["precision"] = json!(19);
                decimal["scale"] = json!(self.below(20));
                decimal
            }
            11 => fixed(12, "duration"),
            12 => fixed(16, "uuid"),
            13 => fixed(self.below(4), ""),
            14 => json!({"type": "enum", "name": name, "symbols": ["A", "\"B", "C"]}),
            // A type that is known or being defined, where it is not needed.
            15 => match usize::from(self.below(8)) {
                at if at < self.types.len() => json!(["null", self.types[at]["name"]]),
                _ => json!("null"),
            },
            16 => json!({"type": "array", "items": self.schema(depth - 1)}),
            17 => json!({"type": "map", "values": self.schema(depth - 1)}),
            18 => {
                let mut branches = vec![json!("null")];
                let mut names = BTreeSet::from(["null".to_owned()]);
                for _ in 0..self.below(4) {
                    let branch = self.schema(depth - 1);
                    let of = branch.get("name").or_else(|| branch.get("type")).unwrap_or(&branch);
                    if !branch.is_array() && names.insert(of.to_string()) && branch != "null" {
                        branches.push(branch);
                    }
                }
                json!(branches)
            }
            _ => {
                let at = self.types.len();
                self.types.push(json!({"type": "record", "name": name}));
                let fields: Vec<Value> = (0..self.below(5))
                    .map(|at| json!({"name": format!("f{at}\""), "type": self.schema(depth - 1)}))
                    .collect();
                self.types[at]["fields"] = json!(fields);
                return self.types[at].clone();
            }
        };
        if schema.get("name").is_some() {
            self.types.push(schema.clone());
        }
        schema
    }

    /// Appends a value in the bytes that encoding writes.
    fn value(&mut self, schema: &Value, depth: u8, out: &mut Vec<u8>) {
        let of = match schema {
            Value::Array(branches) => {
                // Types that contain themselves end.
                let at = if depth > 40 { 0 } else { self.below(branches.len() as u8) };
                append_long(out, at.into());
                return self.value(&branches[usize::from(at)], depth, out);
            }
            Value::String(name) => match self.types.iter().find(|known| known["name"] == *name).cloned() {
                Some(schema) => return self.value(&schema, depth + 1, out),
                None => name,
            },
            schema => schema["type"].as_str().unwrap(),
        };
        let size = schema["size"].as_u64().map_or(0, |size| size as usize);
        match (of, schema["logicalType"].as_str().unwrap_or_default()) {
            ("null", _) => {}
            ("boolean", _) => out.push(self.below(2)),
            ("int", _) => append_long(out, i64::from(self.long() as i32)),
            ("long", _) => append_long(out, self.long()),
            ("float", _) => {
                let float = f32::from_le_bytes(self.take());
                out.extend(if float.is_nan() { f32::NAN } else { float }.to_le_bytes());
            }
            ("double", _) => {
                let double = f64::from_le_bytes(self.take());
                out.extend(if double.is_nan() { f64::NAN } else { double }.to_le_bytes());
            }
            ("string", "uuid") => {
                let digits = hex(&self.take::<16>());
                let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
                append_bytes(out, parts.join("-").as_bytes());
            }
            ("string", _) => append_bytes(out, self.text().as_bytes()),
            ("bytes", "decimal") => {
                append_bytes(out, &num_bigint::BigInt::from(self.long()).to_signed_bytes_be())
            }
            ("bytes", "big-decimal") => {
                let mut parts = Vec::new();
                append_bytes(&mut parts, &num_bigint::BigInt::from(self.long()).to_signed_bytes_be());
                append_long(&mut parts, self.below(30).into());
                append_bytes(out, &parts);
            }
            ("bytes", _) => append_bytes(out, self.text().as_bytes()),
            ("fixed", "decimal") => out.extend(&i128::from(self.long()).to_be_bytes()[16 - size..]),
            ("fixed", _) => out.extend(&self.take::<16>()[..size]),
            ("enum", _) => append_long(out, self.below(3).into()),
            ("array", _) => {
                let count = self.below(4);
                if count > 0 {
                    append_long(out, count.into());
                }
                (0..count).for_each(|_| self.value(&schema["items"], depth + 1, out));
                out.push(0);
            }
            ("map", _) => {
                let keys: BTreeSet<String> = (0..self.below(4)).map(|_| self.text()).collect();
                if !keys.is_empty() {
                    append_long(out, keys.len() as i64);
                }
                for key in keys {
                    append_bytes(out, key.as_bytes());
                    self.value(&schema["values"], depth + 1, out);
                }
                out.push(0);
            }
            _ => schema["fields"]
                .as_array()
                .unwrap()
                .iter()
                .for_each(|field| self.value(&field["type"], depth + 1, out)),
        }
    }
}
