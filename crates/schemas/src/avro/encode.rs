//! JSON of a value, as bytes (Avro 1.12, "Binary Encoding").

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{Field, Id, Kind, Node, Nodes, Schema, Union, scalar};
use crate::{EncodeError, MAX_DEPTH, MAX_SCHEMA_BYTES};

/// Steps for each byte of JSON. Defaults, and branches that are tried, take more of them than the bytes that are written.
const STEPS_PER_BYTE: usize = 16;

/// Steps for a branch that was tried and does not take the value: errors cost more than values.
const FAILED_CHOICE: usize = 64;

pub(super) fn encode(schema: &Schema, json: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let value: Value = serde_json::from_slice(json)
        .map_err(|error| EncodeError { path: String::new(), expected: format!("expected JSON: {error}") })?;
    let steps = json.len().saturating_mul(STEPS_PER_BYTE).saturating_add(MAX_SCHEMA_BYTES);
    let mut encoder = Encoder { nodes: &schema.nodes, out, steps, depth: 0, is_default: false };
    encoder.value(schema.root, &value)
}

pub(super) struct Encoder<'a> {
    pub(super) nodes: &'a Nodes,
    out: &'a mut Vec<u8>,
    /// Values, fields and bytes that are left to look at and to write.
    steps: usize,
    /// Arrays and objects around the value, at most `MAX_DEPTH`.
    depth: usize,
    /// Whether the value is a default of the schema.
    pub(super) is_default: bool,
}

impl<'a> Encoder<'a> {
    fn value(&mut self, id: Id, value: &Value) -> Result<(), EncodeError> {
        let node = self.nodes.at(id);
        if !self.spend(1) {
            return Err(
                self.error("expected a value with fewer defaults and choices among branches".to_owned())
            );
        }
        match (&node.kind, value) {
            (Kind::Array(items), Value::Array(values)) => self.array(*items, values),
            (Kind::Map(values), Value::Object(members)) => self.map(*values, members),
            (Kind::Record(fields), Value::Object(members)) => self.record(node, fields, members),
            (Kind::Union(union), value) => self.union(node, union, value),
            (kind, value) => {
                let start = self.out.len();
                if scalar::encode(kind, value, self.is_default, self.out).is_none() {
                    return Err(self.mismatch(node, &found(value)));
                }
                self.spend(self.out.len() - start);
                Ok(())
            }
        }
    }

    /// Counts steps. False: there are no more, and the next value is an error.
    pub(super) fn spend(&mut self, steps: usize) -> bool {
        self.steps = self.steps.saturating_sub(steps);
        self.steps > 0
    }

    fn array(&mut self, items: Id, values: &[Value]) -> Result<(), EncodeError> {
        self.nested(|encoder| {
            if !values.is_empty() {
                scalar::append_long(encoder.out, values.len() as i64);
            }
            for (at, value) in values.iter().enumerate() {
                encoder.value(items, value).map_err(|error| within(&at.to_string(), error))?;
            }
            encoder.out.push(0);
            Ok(())
        })
    }

    fn map(&mut self, values: Id, members: &Map<String, Value>) -> Result<(), EncodeError> {
        self.nested(|encoder| {
            if !members.is_empty() {
                scalar::append_long(encoder.out, members.len() as i64);
            }
            for (key, value) in members {
                scalar::append_bytes(encoder.out, key.as_bytes());
                encoder.value(values, value).map_err(|error| within(key, error))?;
            }
            encoder.out.push(0);
            Ok(())
        })
    }

    fn record(
        &mut self,
        node: &Node,
        fields: &[Field],
        members: &Map<String, Value>,
    ) -> Result<(), EncodeError> {
        self.nested(|encoder| {
            let mut known = 0;
            for field in fields {
                let encoded = match (members.get(&field.name), &field.default) {
                    (Some(value), _) => {
                        known += 1;
                        encoder.value(field.node, value)
                    }
                    (None, Some(default)) => encoder.default(field.node, default),
                    (None, None) => Err(encoder.mismatch(encoder.nodes.at(field.node), "nothing")),
                };
                encoded.map_err(|error| within(&field.name, error))?;
            }
            if known == members.len() {
                return Ok(());
            }
            let names: HashSet<&str> = fields.iter().map(|field| &*field.name).collect();
            let unknown = members.keys().find(|name| !names.contains(name.as_str()));
            let one_of = scalar::one_of(fields.iter().map(|field| &*field.name));
            let error = encoder.error(format!("expected a field of {} ({one_of})", node.name));
            Err(within(unknown.map_or("", |name| name), error))
        })
    }

    fn default(&mut self, node: Id, default: &Value) -> Result<(), EncodeError> {
        let was = std::mem::replace(&mut self.is_default, true);
        let encoded = self.value(node, default);
        self.is_default = was;
        encoded
    }

    fn union(&mut self, node: &Node, union: &Union, value: &Value) -> Result<(), EncodeError> {
        // The error of the branch that is named, or else of the best.
        let mut shown = None;
        let start = self.out.len();
        for choice in self.choices(union, value) {
            scalar::append_long(self.out, choice.at as i64);
            let encoded = match choice.name {
                Some(name) => self
                    .nested(|encoder| encoder.value(choice.node, choice.value))
                    .map_err(|error| within(name, error)),
                None => self.value(choice.node, choice.value),
            };
            let Err(error) = encoded else { return Ok(()) };
            self.out.truncate(start);
            self.spend(FAILED_CHOICE);
            if choice.name.is_some() || shown.is_none() {
                shown = Some(error);
            }
        }
        Err(shown.unwrap_or_else(|| self.mismatch(node, &found(value))))
    }

    /// Encodes the parts of an array or object.
    fn nested(
        &mut self,
        parts: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error(format!("expected at most {MAX_DEPTH} levels of arrays and objects")));
        }
        self.depth += 1;
        let encoded = parts(self);
        self.depth -= 1;
        encoded
    }

    fn mismatch(&self, node: &Node, found: &str) -> EncodeError {
        self.error(format!("expected {}, found {found}", scalar::expected(self.nodes, node)))
    }

    fn error(&self, mut expected: String) -> EncodeError {
        if self.is_default {
            expected.push_str(" (the default in the schema)");
        }
        EncodeError { path: String::new(), expected }
    }
}

/// A fault in a member or item (RFC 6901, section 3: "~" and "/" are escaped).
fn within(name: &str, mut error: EncodeError) -> EncodeError {
    let name = name.replace('~', "~0").replace('/', "~1");
    error.path.insert_str(0, &format!("/{name}"));
    error
}

/// The description of a value, with the first characters of text.
fn found(value: &Value) -> String {
    const SHOWN: usize = 40;
    match value {
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => match text.char_indices().nth(SHOWN) {
            Some((end, _)) => {
                let begin = text.get(..end).unwrap_or_default();
                format!("{}...", Value::from(begin))
            }
            None => value.to_string(),
        },
        scalar => scalar.to_string(),
    }
}
