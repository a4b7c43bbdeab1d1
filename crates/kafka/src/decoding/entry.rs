//! One encoded record, with JSON in place of its value and beside its key: its other fields are copied as they are.

use prost::encoding::{
    WireType, bytes, encode_key, encode_varint, encoded_len_varint, key_len, message, string,
};
use sluicegate_protocol::Schema;
use sluicegate_protocol::wire::{Fields, Value, header, number};
use sluicegate_schemas::registry::Known;
use sluicegate_schemas::wire::{Part, SchemaId, find};

use super::LookedUp;

/// An entry of `KafkaFetchResp.messages` that was encoded here.
pub(super) struct Entry<'a> {
    pub(super) offset: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    /// All fields; those before that of the value, and those after it.
    fields: &'a [u8],
    before: &'a [u8],
    after: &'a [u8],
    has_headers: bool,
}

impl<'a> Entry<'a> {
    /// The first of encoded `messages`, and its size in bytes.
    pub(super) fn first(messages: &'a [u8]) -> Option<(Self, usize)> {
        let mut entries = Fields::of(messages);
        let (number::MESSAGES, Value::Bytes(fields)) = entries.next()?.ok()? else { return None };
        let mut entry = Self {
            offset: 0,
            key: None,
            value: None,
            fields,
            before: fields,
            after: &[],
            has_headers: false,
        };
        let mut rest = Fields::of(fields);
        let mut before = 0;
        while let Some(field) = rest.next() {
            match field.ok()? {
                (number::MESSAGE_OFFSET, Value::Varint(offset)) => entry.offset = offset.cast_signed(),
                (number::MESSAGE_KEY, Value::Bytes(key)) => entry.key = Some(key),
                (number::MESSAGE_VALUE, Value::Bytes(value)) => {
                    entry.value = Some(value);
                    (entry.before, entry.after) = (fields.get(..before)?, rest.rest());
                }
                (number::MESSAGE_HEADERS, _) => entry.has_headers = true,
                _ => {}
            }
            before = fields.len().checked_sub(rest.rest().len())?;
        }
        Some((entry, messages.len().checked_sub(entries.rest().len())?))
    }

    /// The value of the first header with this name.
    fn header(&self, name: &str) -> Option<&'a [u8]> {
        if !self.has_headers {
            return None;
        }
        Fields::of(self.fields)
            .flatten()
            .filter_map(|field| match field {
                (number::MESSAGE_HEADERS, Value::Bytes(encoded)) => Some(header(encoded)),
                _ => None,
            })
            .find(|(found, _)| *found == name.as_bytes())?
            .1
    }

    /// Appends it with another value, if one is given, and with further fields.
    fn write(&self, value: Option<&[u8]>, added: &[u8], out: &mut Vec<u8>) {
        let (before, after) =
            if value.is_some() { (self.before, self.after) } else { (self.fields, &[][..]) };
        let value_len = value.map_or(0, |value| {
            let head = key_len(number::MESSAGE_VALUE).saturating_add(encoded_len_varint(value.len() as u64));
            head.saturating_add(value.len())
        });
        let parts = [before.len(), value_len, after.len(), added.len()];
        encode_key(number::MESSAGES, WireType::LengthDelimited, out);
        encode_varint(parts.into_iter().fold(0, usize::saturating_add) as u64, out);
        out.extend_from_slice(before);
        if let Some(value) = value {
            encode_key(number::MESSAGE_VALUE, WireType::LengthDelimited, out);
            encode_varint(value.len() as u64, out);
            out.extend_from_slice(value);
        }
        out.extend_from_slice(after);
        out.extend_from_slice(added);
    }
}

/// Memory for one record after the other.
#[derive(Default)]
pub(super) struct Converter {
    key: Vec<u8>,
    value: Vec<u8>,
    added: Vec<u8>,
}

/// The JSON of a part of a record.
enum Json {
    /// No schema: it is as it is stored.
    Plain,
    /// JSON of a value with this schema.
    Decoded(Schema),
    /// A schema, and the reason why there is no JSON.
    Failed(String),
}

impl Converter {
    /// Appends a record with JSON in place of its value, and beside its key, if they have schemas. False if one of them
    /// is as it is stored although it has a schema.
    ///
    /// # Errors
    /// The schema that it needs, which is not known. Nothing is appended.
    pub(super) fn convert(
        &mut self,
        entry: &Entry<'_>,
        known: impl Fn(SchemaId) -> Option<LookedUp>,
        out: &mut Vec<u8>,
    ) -> Result<bool, SchemaId> {
        let key = json(Part::Key, entry, entry.key, &known, &mut self.key)?;
        let value = json(Part::Value, entry, entry.value, &known, &mut self.value)?;
        self.added.clear();
        let mut json = None;
        let value_fails = match value {
            Json::Plain => None,
            Json::Decoded(schema) => {
                json = Some(&*self.value);
                message::encode(number::MESSAGE_VALUE_SCHEMA, &schema, &mut self.added);
                None
            }
            Json::Failed(reason) => Some(reason),
        };
        let key_fails = match key {
            Json::Plain => None,
            Json::Decoded(schema) => {
                message::encode(number::MESSAGE_KEY_SCHEMA, &schema, &mut self.added);
                bytes::encode(number::MESSAGE_KEY_JSON, &self.key, &mut self.added);
                None
            }
            Json::Failed(reason) => Some(reason),
        };
        let not_decoded = match (key_fails, value_fails) {
            (None, None) => None,
            (None, Some(value)) => Some(value),
            (Some(key), None) => Some(format!("key: {key}")),
            (Some(key), Some(value)) => Some(format!("key: {key}; value: {value}")),
        };
        if let Some(reason) = &not_decoded {
            string::encode(number::MESSAGE_NOT_DECODED, reason, &mut self.added);
        }
        entry.write(json, &self.added, out);
        Ok(not_decoded.is_none())
    }
}

/// Puts the JSON of a part of a record into `out`.
fn json(
    part: Part,
    entry: &Entry<'_>,
    stored: Option<&[u8]>,
    known: impl Fn(SchemaId) -> Option<LookedUp>,
    out: &mut Vec<u8>,
) -> Result<Json, SchemaId> {
    let Some(framed) = stored.and_then(|stored| find(stored, entry.header(part.header()))) else {
        return Ok(Json::Plain);
    };
    let known = match known(framed.id) {
        None => return Err(framed.id),
        Some(Err(reason)) => return Ok(Json::Failed(reason)),
        Some(Ok(known)) => known,
    };
    let max_json = framed.payload().len().saturating_mul(MAX_GROWTH).saturating_add(MAX_EXTRA).min(MAX_JSON);
    out.clear();
    Ok(match known.schema.decode(&framed, max_json, out) {
        Ok(()) => Json::Decoded(told(&known)),
        Err(error) => Json::Failed(error.to_string()),
    })
}

/// A schema as clients are told of it.
fn told(known: &Known) -> Schema {
    let (id, guid) = match known.id {
        SchemaId::Number(id) => (id, String::new()),
        guid @ SchemaId::Guid(_) => (0, guid.to_string()),
    };
    Schema { id, guid, r#type: known.schema.kind().into() }
}

/// The JSON of a value, at most: so many times its bytes, and so many more, as names of members that its bytes are
/// too short to have.
const MAX_GROWTH: usize = 32;
const MAX_EXTRA: usize = 64 * 1024;
/// And so many in any case: twice what a stored record can have.
const MAX_JSON: usize = 16 * 1024 * 1024;
