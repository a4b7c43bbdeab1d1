//! Records as Kafka stores them, for the tests of this crate and of its modules.

use sluicegate_records::{BatchProducer, BatchRecord, encode_batch};

/// A batch with `records` as its uncompressed records section.
pub(crate) fn batch(
    base_offset: i64,
    last_offset_delta: i32,
    attributes: i16,
    count: i32,
    records: &[u8],
) -> Vec<u8> {
    let mut checked = Vec::new();
    checked.extend(attributes.to_be_bytes());
    checked.extend(last_offset_delta.to_be_bytes());
    checked.extend([0; 16]); // first and last timestamp
    checked.extend([0xFF; 14]); // no producer
    checked.extend(count.to_be_bytes());
    checked.extend(records);
    let mut batch = Vec::new();
    batch.extend(base_offset.to_be_bytes());
    batch.extend(i32::try_from(checked.len() + 9).expect("a short batch").to_be_bytes());
    batch.extend([0; 4]); // leader epoch
    batch.push(2);
    batch.extend(crc32c::crc32c(&checked).to_be_bytes());
    batch.extend(checked);
    batch
}

/// A batch of one record without a key, whose value is one byte.
pub(crate) fn one_record(offset: i64, value: u8) -> Vec<u8> {
    batch(offset, 0, 0, 1, &records(&[&[value]]))
}

/// The records section of a batch with these values, without keys.
pub(crate) fn records(values: &[&[u8]]) -> Vec<u8> {
    let (timestamp, producer) = (0, BatchProducer { id: -1, epoch: -1, sequence: -1 });
    let values = values.iter().map(|value| Some(*value));
    let records =
        values.map(|value| BatchRecord { timestamp, key: None, value, headers: std::iter::empty() });
    encode_batch(producer, &records.collect::<Vec<_>>()).split_off(61)
}
