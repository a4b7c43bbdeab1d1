//! Records as Kafka stores them, for the tests of this crate and of its modules.

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
    batch(offset, 0, 0, 1, &[14, 0, 0, 0, 1, 2, value, 0])
}
