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
    batch(offset, 0, 0, 1, &record(0, &[value]))
}

/// A record without a key, so many offsets after the first one of its batch.
pub(crate) fn record(offset_delta: usize, value: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0]; // attributes and timestamp
    put_varint(offset_delta, &mut body);
    body.push(1); // no key
    put_varint(value.len(), &mut body);
    body.extend(value);
    body.push(0); // no headers
    let mut record = Vec::new();
    put_varint(body.len(), &mut record);
    record.extend(body);
    record
}

/// A number of a record: zigzag-encoded, seven bits in each byte.
fn put_varint(number: usize, out: &mut Vec<u8>) {
    let mut rest = number * 2;
    while rest >= 0x80 {
        out.push((rest % 0x80) as u8 | 0x80);
        rest /= 0x80;
    }
    out.push(rest as u8);
}
