//! Protobuf schemas: messages and their JSON (Protocol Buffers, "ProtoJSON Format").
//!
//! - `files`: a schema's text and those of its references become descriptors
//! - `cost`: memory that a message would take, before it is decoded

mod cost;
mod files;

use std::fmt::Display;
use std::io::{self, Write};

use prost::Message;
use prost_reflect::{
    DeserializeOptions, DynamicMessage, FileDescriptor, MessageDescriptor, SerializeOptions,
};
use serde_json::ser::Formatter;
use serde_path_to_error::{Path, Segment, Track};

use self::cost::Cost;
use crate::json::{Shape, push_step, shortened, too_deep, too_large};
use crate::{DecodeError, EncodeError, MAX_DEPTH, Reference, SchemaError};

/// Bytes that a message takes while it is decoded or encoded, at most, besides its bytes and its JSON.
pub const MAX_MEMORY: usize = 64 * 1024 * 1024;

/// The messages of a file and of those that it imports.
#[derive(Debug, Clone)]
pub struct Schema {
    file: FileDescriptor,
    /// Fields of the message that has most.
    widest: usize,
    /// Parts of a JSON text, at most.
    max_parts: usize,
}

impl Schema {
    /// Compiles a schema: a file's text, or a serialized `FileDescriptorProto` in Base64. An import finds the reference
    /// of that name, and the files that Google's and Confluent's libraries have built in; nothing is read.
    ///
    /// # Errors
    ///
    /// Text that is no Protobuf file of syntax 2 or 3, imports that are missing, and texts or references beyond the
    /// bounds.
    pub fn parse(text: &str, references: &[Reference]) -> Result<Self, SchemaError> {
        let file = files::compile(text, references)?;
        let pool = file.parent_pool();
        let widest = pool.all_messages().map(|message| message.fields().len()).max().unwrap_or_default();
        let oneofs = pool.all_messages().flat_map(|message| message.oneofs().collect::<Vec<_>>());
        let widest_oneof = oneofs.map(|oneof| oneof.fields().len()).max().unwrap_or_default().max(1);
        let structs = pool.get_message_by_name("google.protobuf.Struct").is_some();
        let memory = MAX_MEMORY / if structs { cost::PART_OF_STRUCT } else { cost::PART };
        let max_parts = memory.min(MAX_STEPS.checked_div(widest_oneof).unwrap_or(MAX_STEPS));
        Ok(Self { file, widest, max_parts })
    }

    /// Appends the JSON of a message; `indexes` is the path to its type, counted among the messages of the file and
    /// then among those within the last one.
    ///
    /// # Errors
    ///
    /// Indexes of no message, bytes that are not such a message, types in `Any` that the schema does not have, and JSON
    /// larger than `max_json` or deeper than [`MAX_DEPTH`]; then `out` is as before.
    pub fn decode(
        &self,
        indexes: &[usize],
        bytes: &[u8],
        max_json: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let descriptor = self.message(indexes).map_err(DecodeError)?;
        // Small messages cannot exceed the bound, so that most are not read twice.
        if bytes.len() > MAX_MEMORY / cost::WORST || self.widest > NARROW {
            Cost::check(&descriptor, bytes).map_err(|error| failed(&descriptor, error))?;
        }
        let message =
            DynamicMessage::decode(descriptor.clone(), bytes).map_err(|error| failed(&descriptor, error))?;
        let before = out.len();
        let writer = Bounded { out, end: before.saturating_add(max_json), max_json };
        let mut serializer = serde_json::Serializer::with_formatter(writer, Levels(0));
        let result = message
            .serialize_with_options(&mut serializer, &SerializeOptions::new().skip_default_fields(false));
        result.map_err(|error| {
            out.truncate(before);
            failed(&descriptor, error)
        })
    }

    /// Appends the message that JSON stands for; `indexes` as in [`decode`](Self::decode).
    ///
    /// # Errors
    ///
    /// Indexes of no message, bytes that are not one JSON value of at most [`MAX_DEPTH`] levels, and the first part that
    /// the message cannot have; then `out` is as before.
    pub fn encode(&self, indexes: &[usize], json: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let whole = |expected| EncodeError { path: String::new(), expected };
        let descriptor = self.message(indexes).map_err(whole)?;
        let shape = Shape::of(json);
        if let Some(error) = shape.too_deep() {
            return Err(whole(error));
        }
        if shape.parts > self.max_parts {
            return Err(whole(format!("expected at most {} parts", self.max_parts)));
        }
        let mut parser = serde_json::Deserializer::from_slice(json);
        let message = DynamicMessage::deserialize(descriptor.clone(), &mut parser)
            .and_then(|message| parser.end().map(|()| message))
            .map_err(|error| located(&descriptor, json, &error))?;
        out.reserve(message.encoded_len());
        message.encode_raw(out);
        Ok(())
    }

    fn message(&self, indexes: &[usize]) -> Result<MessageDescriptor, String> {
        let mut messages = indexes.iter();
        let first = messages.next().and_then(|first| self.file.messages().nth(*first));
        messages
            .fold(first, |message, index| message?.child_messages().nth(*index))
            .ok_or_else(|| format!("expected the indexes of a message instead of {indexes:?}"))
    }
}

fn failed(descriptor: &MessageDescriptor, error: impl Display) -> DecodeError {
    DecodeError(shortened(format!("{}: {error}", descriptor.full_name())))
}

/// The error of an encoding with its place, found by a second pass that keeps track of it.
fn located(descriptor: &MessageDescriptor, json: &[u8], error: &serde_json::Error) -> EncodeError {
    let mut parser = serde_json::Deserializer::from_slice(json);
    let mut track = Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut parser, &mut track);
    let again =
        DynamicMessage::deserialize_with_options(descriptor.clone(), tracked, &DeserializeOptions::new());
    let path = if again.is_err() { pointer(&track.path()) } else { String::new() };
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    EncodeError { path, expected: shortened(text.to_owned()) }
}

fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => push_step(&mut pointer, &index.to_string()),
            Segment::Map { key } => push_step(&mut pointer, key),
            Segment::Enum { variant } => push_step(&mut pointer, variant),
            Segment::Unknown => {}
        }
    }
    pointer
}

/// JSON up to a number of bytes.
struct Bounded<'a> {
    out: &'a mut Vec<u8>,
    end: usize,
    max_json: usize,
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.end.saturating_sub(self.out.len()) {
            return Err(io::Error::other(too_large(self.max_json)));
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// JSON without spaces, up to [`MAX_DEPTH`] levels.
struct Levels(usize);

impl Levels {
    fn deeper(&mut self) -> io::Result<()> {
        self.0 = self.0.saturating_add(1);
        if self.0 > MAX_DEPTH { Err(io::Error::other(too_deep())) } else { Ok(()) }
    }
}

impl Formatter for Levels {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.deeper()?;
        writer.write_all(b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0 = self.0.saturating_sub(1);
        writer.write_all(b"]")
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.deeper()?;
        writer.write_all(b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0 = self.0.saturating_sub(1);
        writer.write_all(b"}")
    }
}

/// Fields of a message, at most, for which the time of a small value is never worth a check.
const NARROW: usize = 256;

/// Members of oneofs that an encoding looks at, at most: each of a value's parts looks at those of its oneof.
const MAX_STEPS: usize = 100_000_000;

#[cfg(test)]
mod tests;
