//! Avro schemas (Apache Avro 1.12, "Specification"): binary values and their JSON.
//!
//! - `parse`: a schema's text becomes nodes, and names become positions of nodes
//! - `decode`: bytes become JSON text, into `output`, which is bounded
//! - `encode`: JSON becomes bytes; `branch` chooses among the branches of a union, `scalar` has values without parts
//! - `decimal`, `time`: the texts of logical types
//!
//! Depth is bounded by [`MAX_DEPTH`](crate::MAX_DEPTH), in schemas by the JSON parser's 128 levels. Memory is taken for
//! bytes that are there, and for JSON within the caller's bound.

mod branch;
mod decimal;
mod decode;
mod encode;
mod output;
mod parse;
mod scalar;
#[cfg(test)]
mod tests;
mod time;

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

use crate::{DecodeError, EncodeError, Reference, SchemaError};

/// A schema, ready to decode and encode values.
#[derive(Debug)]
pub struct Schema {
    nodes: Nodes,
    root: Id,
}

impl Schema {
    /// Parses a schema that refers to others, which are listed with dependencies first. Memory is within some 100 bytes for
    /// each byte of the texts.
    ///
    /// # Errors
    /// The text is not an Avro schema, names an unknown type, or exceeds [`MAX_SCHEMA_BYTES`](crate::MAX_SCHEMA_BYTES)
    /// or [`MAX_REFERENCES`](crate::MAX_REFERENCES).
    pub fn parse(text: &str, references: &[Reference]) -> Result<Self, SchemaError> {
        parse::parse(text, references)
    }

    /// Whether its values are bytes, which Confluent's serializers put into a record without their length.
    pub(crate) fn is_bytes(&self) -> bool {
        matches!(self.nodes.at(self.root).kind, Kind::Bytes)
    }

    /// Appends the JSON of a value, at most `max_json` bytes.
    ///
    /// # Errors
    /// The bytes are not one value of this schema, or its JSON has more than [`MAX_DEPTH`](crate::MAX_DEPTH) levels or
    /// `max_json` bytes. `out` is as before.
    pub fn decode(&self, bytes: &[u8], max_json: usize, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let start = out.len();
        let decoded = decode::decode(self, bytes, max_json, out);
        if decoded.is_err() {
            out.truncate(start);
        }
        decoded
    }

    /// Appends the bytes of a JSON value: at most 16 for each byte of `json`, and 1 MiB.
    ///
    /// # Errors
    /// `json` is not valid JSON or not a value of this schema; has more than [`MAX_DEPTH`](crate::MAX_DEPTH) levels; or
    /// needs too many defaults or choices of branches. `out` is as before.
    pub fn encode(&self, json: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        let encoded = encode::encode(self, json, out);
        if encoded.is_err() {
            out.truncate(start);
        }
        encoded
    }
}

/// The nodes of a schema and of those that it refers to.
#[derive(Debug, Default)]
struct Nodes(Vec<Node>);

impl Nodes {
    fn at(&self, Id(at): Id) -> &Node {
        #[expect(clippy::indexing_slicing, reason = "ids are made by `add`, and nodes are never removed")]
        &self.0[at]
    }

    fn add(&mut self, name: impl Into<Cow<'static, str>>, kind: Kind) -> Id {
        self.0.push(Node { name: name.into(), kind });
        Id(self.0.len() - 1)
    }
}

/// A node's position.
#[derive(Debug, Clone, Copy)]
struct Id(usize);

#[derive(Debug)]
struct Node {
    /// The name as a branch of a union: a full name, or the name of the type.
    name: Cow<'static, str>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    /// A string that has a UUID.
    UuidText,
    /// 16 bytes that are a UUID.
    Uuid,
    Decimal(Decimal),
    /// Bytes that have an unscaled value and its scale.
    BigDecimal,
    Time(time::Kind),
    /// Three numbers of 32 bits, in 12 bytes.
    Duration,
    Fixed(usize),
    Enum(Symbols),
    Array(Id),
    Map(Id),
    Record(Vec<Field>),
    Union(Union),
}

impl Kind {
    /// The kinds of JSON that decoding writes, as a set of bits.
    fn json(&self) -> u8 {
        use json::{ARRAY, BOOLEAN, NULL, NUMBER, OBJECT, STRING};
        match self {
            Self::Null => NULL,
            Self::Boolean => BOOLEAN,
            Self::Int => NUMBER,
            // Beyond 2^53, not finite, beyond the years of dates.
            Self::Long | Self::Float | Self::Double | Self::Time(_) => NUMBER | STRING,
            Self::Bytes | Self::String | Self::UuidText | Self::Uuid => STRING,
            Self::Decimal(_) | Self::BigDecimal | Self::Fixed(_) | Self::Enum(_) => STRING,
            Self::Array(_) => ARRAY,
            Self::Map(_) | Self::Record(_) | Self::Duration => OBJECT,
            Self::Union(_) => u8::MAX,
        }
    }
}

/// Kinds of JSON.
mod json {
    use serde_json::Value;

    pub(super) const NULL: u8 = 1;
    pub(super) const BOOLEAN: u8 = 2;
    pub(super) const NUMBER: u8 = 4;
    pub(super) const STRING: u8 = 8;
    pub(super) const ARRAY: u8 = 16;
    pub(super) const OBJECT: u8 = 32;

    pub(super) fn of(value: &Value) -> u8 {
        match value {
            Value::Null => NULL,
            Value::Bool(_) => BOOLEAN,
            Value::Number(_) => NUMBER,
            Value::String(_) => STRING,
            Value::Array(_) => ARRAY,
            Value::Object(_) => OBJECT,
        }
    }
}

/// The logical type `decimal`.
#[derive(Debug, Clone, Copy)]
struct Decimal {
    /// Digits, at least 1.
    precision: usize,
    /// Digits after the point, at most `precision`.
    scale: usize,
    /// The bytes of one, if it is `fixed`; enough for `precision` digits.
    size: Option<usize>,
}

#[derive(Debug)]
struct Symbols {
    /// In the schema's order, as JSON.
    json: Vec<Box<str>>,
    positions: HashMap<String, i64>,
}

#[derive(Debug)]
struct Field {
    name: String,
    /// The JSON before its value: a brace or comma, the name, a colon.
    key: Box<str>,
    node: Id,
    default: Option<Value>,
}

#[derive(Debug)]
struct Union {
    /// No unions.
    branches: Vec<Id>,
    /// Whether the JSON of a value tells its branch.
    is_plain: bool,
}

/// Longs whose neighbours are numbers of their own in a page: 2^53 - 1 (ECMAScript, `Number.MAX_SAFE_INTEGER`).
const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;
