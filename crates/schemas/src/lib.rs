//! Values with a schema: their JSON, and the bytes that JSON stands for.
//!
//! - [`wire`]: where a record says which schema it was written with
//! - [`registry`]: the client of a schema registry, which caches schemas
//! - [`avro`], [`protobuf`], [`json_schema`]: a schema in each language, which decodes and encodes one value; [`schema`]:
//!   one in any
//!
//! Bytes, JSON and schemas are input alike: each call has bounds of depth and memory, and fails with a sentence instead of
//! exceeding them.

pub mod avro;
mod json;
pub mod json_schema;
pub mod protobuf;
pub mod registry;
pub mod schema;
#[cfg(test)]
mod tests;
pub mod wire;

#[cfg(test)]
extern crate self as sluicegate_schemas; // in invariants, which fuzz targets have, too

use thiserror::Error;

/// Levels of arrays and objects in a value's JSON, at most: those that leave an answer of a JSON session readable.
pub const MAX_DEPTH: usize = 59;

/// Bytes of a schema's text, of it and of each schema that it refers to, at most.
pub const MAX_SCHEMA_BYTES: usize = 1024 * 1024;

/// Schemas that a schema refers to, directly or not, at most.
pub const MAX_REFERENCES: usize = 100;

/// A schema that cannot be used, in words for operators and clients.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct SchemaError(pub String);

/// Bytes that a schema does not describe, or whose JSON is too deep or too large, in words for clients.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// JSON that a schema does not allow.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {expected}", if path.is_empty() { "the value" } else { path })]
pub struct EncodeError {
    /// A JSON Pointer to the part of the value (RFC 6901); empty: all of it.
    pub path: String,
    /// The schema's expectation, and what is there instead.
    pub expected: String,
}

/// A schema that another one refers to by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The name by which it is referred to: a full name in Avro, a file's path in Protobuf, a URL in JSON Schema.
    pub name: String,
    /// Its text.
    pub schema: String,
}
