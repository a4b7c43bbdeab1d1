//! Encoded records as the entries of a table.

use prost::encoding::message;
use sluicegate_protocol::wire::number::{
    MESSAGE_HEADERS, MESSAGE_KEY, MESSAGE_OFFSET, MESSAGE_TIMESTAMP, MESSAGE_VALUE, MESSAGES,
};
use sluicegate_protocol::wire::{Fields, Value, header};
use sluicegate_protocol::{Header, KafkaMessage, is_removal_header};
use sluicegate_table::Entry;

use crate::System;

/// The first record as an entry; one without value removes its key.
pub(crate) fn without_value(records: &[u8]) -> Option<Entry<'_>> {
    Some(first(records)?.entry(|record| !record.has_value))
}

/// The same; a message of NATS with a marker among its headers removes its subject.
pub(crate) fn with_marker(records: &[u8]) -> Option<Entry<'_>> {
    Some(first(records)?.entry(|record| record.is_marker))
}

/// The timestamp of an encoded record, in milliseconds since 1970; 0 if it has none.
pub fn timestamp(record: &[u8]) -> i64 {
    first(record).map_or(0, |record| record.timestamp)
}

/// Appends the removal of the key of an encoded record, in the words of its system: its place, and nothing of its
/// content.
pub fn put_removal(system: System, record: &[u8], out: &mut Vec<u8>) {
    let Some(Record { offset, timestamp, key: Some(key), .. }) = first(record) else { return };
    let marker =
        system.marker.map(|(name, value)| Header { key: name.to_owned(), value: Some(value.into()) });
    let (key, headers) = (Some(key.to_vec().into()), marker.into_iter().collect());
    message::encode(MESSAGES, &KafkaMessage { offset, timestamp, key, headers, ..Default::default() }, out);
}

/// The first of some encoded records.
struct Record<'a> {
    len: usize,
    offset: i64,
    timestamp: i64,
    key: Option<&'a [u8]>,
    has_value: bool,
    /// Whether a header says that it removes its key.
    is_marker: bool,
}

impl<'a> Record<'a> {
    fn entry(self, removes: impl Fn(&Self) -> bool) -> Entry<'a> {
        Entry { position: self.offset, len: self.len, key: self.key, removes: removes(&self) }
    }
}

#[inline]
fn first(records: &[u8]) -> Option<Record<'_>> {
    let mut fields = Fields::of(records);
    let Ok((MESSAGES, Value::Bytes(content))) = fields.next()? else { return None };
    let len = records.len().checked_sub(fields.rest().len())?;
    let mut record = Record { len, offset: 0, timestamp: 0, key: None, has_value: false, is_marker: false };
    for field in Fields::of(content).flatten() {
        match field {
            (MESSAGE_OFFSET, Value::Varint(offset)) => record.offset = offset.cast_signed(),
            (MESSAGE_TIMESTAMP, Value::Varint(timestamp)) => record.timestamp = timestamp.cast_signed(),
            (MESSAGE_KEY, Value::Bytes(key)) => record.key = Some(key),
            (MESSAGE_VALUE, Value::Bytes(_)) => record.has_value = true,
            (MESSAGE_HEADERS, Value::Bytes(encoded)) => {
                let (name, value) = header(encoded);
                record.is_marker |= is_removal_header(name, value);
            }
            _ => {}
        }
    }
    Some(record)
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use sluicegate_protocol::KafkaFetchResp;

    use super::*;

    fn message(value: Option<&'static str>, headers: &[(&str, &'static str)]) -> Vec<u8> {
        let header =
            |(key, value): &(&str, &'static str)| Header { key: (*key).into(), value: Some((*value).into()) };
        let (value, headers) = (value.map(Into::into), headers.iter().map(header).collect());
        let key = Some("k".into());
        let message = KafkaMessage { offset: 7, timestamp: 8, key, value, headers, ..Default::default() };
        KafkaFetchResp { messages: vec![message], ..Default::default() }.encode_to_vec()
    }

    #[test]
    fn removals_are_what_the_system_says() {
        for (system, value, headers, want) in [
            (System::Kafka, None, &[][..], true),
            (System::Kafka, Some(""), &[("KV-Operation", "DEL")], false),
            (System::Nats, None, &[], false),
            (System::Nats, Some("x"), &[("a", "b"), ("KV-Operation", "DEL")], true),
            (System::Nats, Some(""), &[("KV-Operation", "PURGE")], true),
            (System::Nats, Some(""), &[("KV-Operation", "PUT")], false),
            (System::Nats, Some(""), &[("Nats-Marker-Reason", "MaxAge")], true),
        ] {
            let message = message(value, headers);
            let entry = (system.first_entry)(&message).unwrap();
            assert_eq!((entry.position, entry.len, entry.key), (7, message.len(), Some(&b"k"[..])));
            assert_eq!(entry.removes, want, "{system:?} {value:?} {headers:?}");
        }
    }

    #[test]
    fn removal_has_place_and_key_and_no_content() {
        for system in [System::Kafka, System::Nats] {
            let mut removal = Vec::new();
            put_removal(system, &message(Some("secret"), &[("tenant", "secret")]), &mut removal);
            let entry = (system.first_entry)(&removal).unwrap();
            assert_eq!((entry.position, entry.key, entry.removes), (7, Some(&b"k"[..]), true));
            assert_eq!(timestamp(&removal), 8);
            assert!(!removal.windows(6).any(|part| part == b"secret"));
        }
        let message = message(Some("v"), &[("a", "b")]);
        for end in 0..message.len() {
            assert!((System::Kafka.first_entry)(&message[..end]).is_none(), "{end}");
        }
    }
}
