//! Places of schema ids in records: in front of a key or value, and in headers (Confluent's wire format).
//!
//! | place | bytes |
//! |---|---|
//! | in front | `00`, id (4 bytes, big endian), with Protobuf: message indexes |
//! | header | `00`, id (4 bytes), or `01`, GUID (16 bytes); with Protobuf: message indexes |
//!
//! A header is looked at first: if it has an id, nothing is in front of the key or value.

use std::fmt;

use crate::DecodeError;

/// The part of a record that has a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// Its key.
    Key,
    /// Its value.
    Value,
}

impl Part {
    /// The name of the header with its schema's id.
    pub const fn header(self) -> &'static str {
        match self {
            Self::Key => "__key_schema_id",
            Self::Value => "__value_schema_id",
        }
    }
}

/// The id of a schema in its registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SchemaId {
    /// Unique in a registry (and its context).
    Number(u32),
    /// Unique among registries.
    Guid([u8; 16]),
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Guid(bytes) => {
                let hex = format!("{:032x}", u128::from_be_bytes(*bytes));
                for (at, digit) in hex.chars().enumerate() {
                    if matches!(at, 8 | 12 | 16 | 20) {
                        f.write_str("-")?;
                    }
                    write!(f, "{digit}")?;
                }
                Ok(())
            }
        }
    }
}

/// A key or value that says which schema it was written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framed<'a> {
    /// The schema's id.
    pub id: SchemaId,
    /// Bytes after the id, of the header if it was there.
    after_id: &'a [u8],
    /// The key or value, if the id was in a header.
    whole: Option<&'a [u8]>,
}

impl<'a> Framed<'a> {
    /// The bytes that Avro and JSON Schema describe.
    pub fn payload(&self) -> &'a [u8] {
        self.whole.unwrap_or(self.after_id)
    }

    /// The path to the message among those of its schema, and the message's bytes. Only schemas in Protobuf have them.
    ///
    /// # Errors
    ///
    /// Indexes that end too early, are negative, or are more than [`MAX_INDEXES`].
    pub fn message(&self) -> Result<(Vec<usize>, &'a [u8]), DecodeError> {
        let mut bytes = self.after_id;
        let indexes = indexes(&mut bytes).ok_or_else(|| {
            DecodeError(format!(
                "expected at most {MAX_INDEXES} Protobuf message indexes after the schema id"
            ))
        })?;
        Ok((indexes, self.whole.unwrap_or(bytes)))
    }
}

/// Finds the id of a key or value in the value of its [header](Part::header), if the record has one, or in front of
/// `bytes`. Without an id it has no schema. A header of another form is ignored.
pub fn find<'a>(bytes: &'a [u8], header: Option<&'a [u8]>) -> Option<Framed<'a>> {
    if let Some((id, after_id)) = header.and_then(id) {
        return Some(Framed { id, after_id, whole: Some(bytes) });
    }
    match id(bytes)? {
        (id @ SchemaId::Number(_), after_id) => Some(Framed { id, after_id, whole: None }),
        (SchemaId::Guid(_), _) => None, // nobody writes them in front, and other formats begin with 01 too
    }
}

/// Appends what is in front of a key or value: a schema's id, with Protobuf the indexes of the message.
pub fn prefix(id: u32, indexes: Option<&[usize]>, out: &mut Vec<u8>) {
    header(SchemaId::Number(id), indexes, out);
}

/// Appends the value of a [header](Part::header): a schema's id, with Protobuf the indexes of the message.
pub fn header(id: SchemaId, indexes: Option<&[usize]>, out: &mut Vec<u8>) {
    match id {
        SchemaId::Number(number) => {
            out.push(NUMBER);
            out.extend(number.to_be_bytes());
        }
        SchemaId::Guid(guid) => {
            out.push(GUID);
            out.extend(guid);
        }
    }
    match indexes {
        None => {}
        Some([] | [0]) => out.push(0),
        Some(indexes) => {
            push_varint(indexes.len(), out);
            indexes.iter().for_each(|index| push_varint(*index, out));
        }
    }
}

fn id(bytes: &[u8]) -> Option<(SchemaId, &[u8])> {
    match bytes.split_first()? {
        (&NUMBER, rest) => {
            rest.split_first_chunk().map(|(id, rest)| (SchemaId::Number(u32::from_be_bytes(*id)), rest))
        }
        (&GUID, rest) => rest.split_first_chunk().map(|(id, rest)| (SchemaId::Guid(*id), rest)),
        _ => None,
    }
}

fn indexes(bytes: &mut &[u8]) -> Option<Vec<usize>> {
    match varint(bytes)? {
        0 => Some(vec![0]),
        count if count <= MAX_INDEXES => (0..count).map(|_| varint(bytes)).collect(),
        _ => None,
    }
}

/// A zigzag varint of 32 bits that is not negative.
fn varint(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0_u64;
    for shift in (0..35).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            let positive = value & 1 == 0 && value <= u64::from(u32::MAX);
            return positive.then_some(value >> 1)?.try_into().ok();
        }
    }
    None
}

fn push_varint(value: usize, out: &mut Vec<u8>) {
    let mut value = (value as u64) << 1;
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Message indexes of a record, at most: as many as Protobuf's own compiler allows levels of messages.
pub const MAX_INDEXES: usize = 32;

const NUMBER: u8 = 0;
const GUID: u8 = 1;

#[cfg(test)]
mod tests;
