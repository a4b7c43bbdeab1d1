//! A schema in any language.

use prost::encoding::encode_varint;
use sluicegate_protocol::SchemaType;

use crate::wire::Framed;
use crate::{DecodeError, EncodeError, Reference, SchemaError, avro, json_schema, protobuf};

/// A schema of one of these languages.
pub enum Schema {
    /// Avro.
    Avro(avro::Schema),
    /// Protobuf.
    Protobuf(protobuf::Schema),
    /// JSON Schema.
    JsonSchema(json_schema::Schema),
}

impl Schema {
    /// A schema in this language, with the schemas that it refers to, dependencies first.
    ///
    /// # Errors
    /// The text is not a schema, refers to others, or exceeds a bound.
    pub fn parse(kind: SchemaType, text: &str, references: &[Reference]) -> Result<Self, SchemaError> {
        Ok(match kind {
            SchemaType::Avro => Self::Avro(avro::Schema::parse(text, references)?),
            SchemaType::Protobuf => Self::Protobuf(protobuf::Schema::parse(text, references)?),
            SchemaType::JsonSchema => Self::JsonSchema(json_schema::Schema::parse(text, references)?),
        })
    }

    /// Its language.
    pub fn kind(&self) -> SchemaType {
        match self {
            Self::Avro(_) => SchemaType::Avro,
            Self::Protobuf(_) => SchemaType::Protobuf,
            Self::JsonSchema(_) => SchemaType::JsonSchema,
        }
    }

    /// Appends the JSON of one key or value, of at most `max_json` bytes. After an error, `out` is as before.
    ///
    /// # Errors
    /// The schema does not describe these bytes, or their JSON exceeds a bound.
    pub fn decode(&self, framed: &Framed<'_>, max_json: usize, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        match self {
            Self::Avro(schema) if schema.is_bytes() => {
                let payload = framed.payload();
                let mut value = Vec::with_capacity(payload.len().saturating_add(MAX_LENGTH));
                // Cannot be larger than a record.
                encode_varint((payload.len() as u64) << 1, &mut value);
                value.extend_from_slice(payload);
                schema.decode(&value, max_json, out)
            }
            Self::Avro(schema) => schema.decode(framed.payload(), max_json, out),
            Self::Protobuf(schema) => {
                let (indexes, message) = framed.message()?;
                schema.decode(&indexes, message, max_json, out)
            }
            Self::JsonSchema(schema) => schema.decode(framed.payload(), max_json, out),
        }
    }

    /// Appends the bytes that JSON stands for, without a schema id. `indexes` lead to the message of a Protobuf schema.
    /// After an error, `out` is as before.
    ///
    /// # Errors
    /// The schema does not allow this JSON.
    pub fn encode(&self, indexes: &[usize], json: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Avro(schema) if schema.is_bytes() => {
                let mut value = Vec::new();
                schema.encode(json, &mut value)?;
                let length =
                    value.iter().position(|byte| *byte < 0x80).map_or(0, |last| last.saturating_add(1));
                out.extend(value.drain(length..));
                Ok(())
            }
            Self::Avro(schema) => schema.encode(json, out),
            Self::Protobuf(schema) => schema.encode(indexes, json, out),
            Self::JsonSchema(schema) => schema.encode(json, out),
        }
    }
}

/// The bytes of a length, at most.
const MAX_LENGTH: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    #[test]
    fn bytes_alone_have_no_length_in_a_record() {
        let schema = Schema::parse(SchemaType::Avro, "\"bytes\"", &[]).unwrap();
        for bytes in [vec![], vec![1, 2, 255], vec![7; 100]] {
            let record = [&[0, 0, 0, 0, 5][..], &bytes].concat();
            let mut json = Vec::new();
            schema.decode(&wire::find(&record, None).unwrap(), 1000, &mut json).unwrap();
            let mut written = record[..5].to_vec();
            schema.encode(&[], &json, &mut written).unwrap();
            assert_eq!((json[0], written), (b'"', record));
        }
    }
}
