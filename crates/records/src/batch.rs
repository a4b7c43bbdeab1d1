//! Encodes records to write as one batch of an idempotent producer (Kafka protocol guide, "Record Batch").

use crc32c::crc32c;

/// A producer, and the place of a batch among its records in the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchProducer {
    /// The producer's id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// The sequence of the first record.
    pub sequence: i32,
}

/// A record to write.
#[derive(Debug, Clone)]
pub struct BatchRecord<'a, H> {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// None: null.
    pub key: Option<&'a [u8]>,
    /// None: null.
    pub value: Option<&'a [u8]>,
    /// The headers' names and values, in their order.
    pub headers: H,
}

/// One batch of `records`, without compression. Without records it is one that brokers refuse.
pub fn encode_batch<'a, H>(producer: BatchProducer, records: &[BatchRecord<'a, H>]) -> Vec<u8>
where
    H: Iterator<Item = (&'a str, Option<&'a [u8]>)> + Clone,
{
    let timestamps = || records.iter().map(|record| record.timestamp);
    let (first, latest) = (timestamps().next().unwrap_or(-1), timestamps().max().unwrap_or(-1));
    let count = i32::try_from(records.len()).unwrap_or(i32::MAX);
    let mut body = Vec::new();
    body.extend(0_i16.to_be_bytes()); // attributes: no compression, the producer's time, no transaction
    body.extend(count.saturating_sub(1).to_be_bytes());
    body.extend(first.to_be_bytes());
    body.extend(latest.to_be_bytes());
    body.extend(producer.id.to_be_bytes());
    body.extend(producer.epoch.to_be_bytes());
    body.extend(producer.sequence.to_be_bytes());
    body.extend(count.to_be_bytes());
    let mut one = Vec::new();
    for (delta, record) in (0_i64..).zip(records) {
        one.clear();
        one.push(0); // attributes
        varint(&mut one, record.timestamp.saturating_sub(first));
        varint(&mut one, delta);
        bytes(&mut one, record.key);
        bytes(&mut one, record.value);
        varint(&mut one, length(record.headers.clone().count()));
        for (name, value) in record.headers.clone() {
            bytes(&mut one, Some(name.as_bytes()));
            bytes(&mut one, value);
        }
        varint(&mut body, length(one.len()));
        body.extend_from_slice(&one);
    }
    let mut batch = Vec::with_capacity(body.len().saturating_add(HEAD));
    batch.extend(0_i64.to_be_bytes()); // the broker gives the offset
    let len = u32::try_from(body.len().saturating_add(AFTER_LENGTH)).unwrap_or(u32::MAX);
    batch.extend(len.to_be_bytes());
    batch.extend((-1_i32).to_be_bytes()); // the leader's epoch
    batch.push(FORMAT);
    batch.extend(crc32c(&body).to_be_bytes());
    batch.append(&mut body);
    batch
}

/// VARINT and VARLONG, in zigzag encoding.
fn varint(out: &mut Vec<u8>, value: i64) {
    let mut left = (value << 1 ^ value >> 63).cast_unsigned();
    while left >= 0x80 {
        out.push(left.to_le_bytes()[0] | 0x80);
        left >>= 7;
    }
    out.push(left.to_le_bytes()[0]);
}

/// A length and as many bytes; −1 for null.
fn bytes(out: &mut Vec<u8>, value: Option<&[u8]>) {
    varint(out, value.map_or(-1, |value| length(value.len())));
    out.extend_from_slice(value.unwrap_or_default());
}

fn length(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

/// Offset, length, the leader's epoch, format and checksum.
const HEAD: usize = 21;
/// The part of it that the length counts.
const AFTER_LENGTH: usize = 9;
/// The version of the format.
const FORMAT: u8 = 2;
