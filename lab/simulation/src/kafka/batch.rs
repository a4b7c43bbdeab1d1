//! Batches as Kafka stores them, in format version 2.

use bytes::{BufMut, Bytes, BytesMut};

use super::log::{Batch, Record};

/// Appends the bytes of a batch.
pub(crate) fn encode(base: i64, batch: &Batch, output: &mut BytesMut) {
    let (attributes, records) = match batch.ends {
        None => (0, batch.records.iter().map(|record| of_record(base, record)).collect()),
        Some(commits) => (CONTROL, vec![of_marker(commits)]),
    };
    let attributes = attributes | if batch.producer.is_some() { TRANSACTIONAL } else { 0 };
    let mut checked = BytesMut::new();
    checked.put_i16(attributes);
    checked.put_i32(small(batch.end - base - 1));
    checked.put_i64(TIMESTAMP);
    checked.put_i64(TIMESTAMP);
    checked.put_i64(batch.producer.unwrap_or(-1));
    checked.put_i16(if batch.producer.is_some() { 0 } else { -1 });
    checked.put_i32(-1); // sequence
    checked.put_i32(small(records.len()));
    records.iter().for_each(|record| checked.put_slice(record));
    output.put_i64(base);
    output.put_i32(small(checked.len() + 9));
    output.put_i32(batch.epoch);
    output.put_u8(2);
    output.put_u32(crc32c::crc32c(&checked));
    output.put_slice(&checked);
}

fn of_record(base: i64, record: &Record) -> BytesMut {
    let mut body = BytesMut::new();
    body.put_u8(0);
    varint(0, &mut body); // timestamp
    varint(record.offset - base, &mut body);
    nullable(record.key.as_ref(), &mut body);
    nullable(record.value.as_ref(), &mut body);
    varint(0, &mut body); // headers
    sized(&body)
}

/// A record whose key says how the transaction ended.
fn of_marker(commits: bool) -> BytesMut {
    let record = Record {
        offset: 0,
        key: Some(Bytes::copy_from_slice(&[0, 0, 0, u8::from(commits)])),
        value: Some(Bytes::from_static(&[0; 6])),
    };
    of_record(0, &record)
}

fn nullable(bytes: Option<&Bytes>, output: &mut BytesMut) {
    match bytes {
        None => varint(-1, output),
        Some(bytes) => {
            varint(i64::from(small(bytes.len())), output);
            output.put_slice(bytes);
        }
    }
}

/// Bytes behind their length.
pub(crate) fn sized(body: &[u8]) -> BytesMut {
    let mut output = BytesMut::new();
    varint(i64::from(small(body.len())), &mut output);
    output.put_slice(body);
    output
}

/// Zigzag, seven bits a byte.
fn varint(value: i64, output: &mut BytesMut) {
    let mut left = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while left >= 0x80 {
        output.put_u8((left & 0x7F | 0x80) as u8);
        left >>= 7;
    }
    output.put_u8(left as u8);
}

fn small<N: TryInto<i32>>(number: N) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}

const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// The timestamp of all records.
pub(crate) const TIMESTAMP: i64 = 1_700_000_000_000;
