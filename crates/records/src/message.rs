//! Writes one entry of `KafkaFetchResp.messages` (a `KafkaMessage`, `proto/pubsub.proto`).

/// A record as the contract has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    offset: u64,
    timestamp: u64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    /// Bytes of the fields, without the entry's own tag and length.
    fields_len: usize,
}

impl<'a> Message<'a> {
    #[inline]
    pub(crate) fn new(offset: i64, timestamp: i64, key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Self {
        let (offset, timestamp) = (offset.cast_unsigned(), timestamp.cast_unsigned());
        let fields_len = number_len(offset)
            .saturating_add(number_len(timestamp))
            .saturating_add(bytes_len(key))
            .saturating_add(bytes_len(value));
        Self { offset, timestamp, key, value, fields_len }
    }

    /// Bytes that [`write`](Self::write) appends.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        delimited_len(self.fields_len)
    }

    #[inline]
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.reserve(self.len());
        write_head(MESSAGES, self.fields_len as u64, out);
        write_number(OFFSET, self.offset, out);
        write_number(TIMESTAMP, self.timestamp, out);
        write_bytes(KEY, self.key, out);
        write_bytes(VALUE, self.value, out);
    }
}

// A tag is the field's number shifted by three, with the wire type below: 0 a varint, 2 length-delimited.
const MESSAGES: u8 = (1 << 3) | 2;
const OFFSET: u8 = 1 << 3;
const TIMESTAMP: u8 = 2 << 3;
const KEY: u8 = (3 << 3) | 2;
const VALUE: u8 = (4 << 3) | 2;
const TAG_BYTES: usize = 1;

// proto3 leaves a number of 0 out. What is `optional` is there even where it is empty.

#[inline]
fn number_len(value: u64) -> usize {
    if value == 0 { 0 } else { TAG_BYTES.saturating_add(varint_len(value)) }
}

#[inline]
fn bytes_len(value: Option<&[u8]>) -> usize {
    value.map_or(0, |value| delimited_len(value.len()))
}

#[inline]
fn delimited_len(len: usize) -> usize {
    TAG_BYTES.saturating_add(varint_len(len as u64)).saturating_add(len)
}

/// One byte for every seven bits, at least one.
#[inline]
fn varint_len(value: u64) -> usize {
    ((value | 1).ilog2() / 7).saturating_add(1) as usize
}

#[inline]
fn write_number(tag: u8, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        write_head(tag, value, out);
    }
}

#[inline]
fn write_bytes(tag: u8, value: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        write_head(tag, value.len() as u64, out);
        out.extend_from_slice(value);
    }
}

#[inline]
fn write_head(tag: u8, mut number: u64, out: &mut Vec<u8>) {
    out.push(tag);
    while number >= 0x80 {
        out.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};
    use prost::Message as _;
    use prost::bytes::Bytes;
    use sluicegate_protocol::{KafkaFetchResp, KafkaMessage};

    use super::*;

    #[track_caller]
    fn check(offset: i64, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        let message = Message::new(offset, timestamp, key, value);
        let mut ours = b"before".to_vec();
        message.write(&mut ours);
        let [key, value] = [key, value].map(|bytes| bytes.map(Bytes::copy_from_slice));
        let messages = vec![KafkaMessage { offset, timestamp, key, value }];
        let theirs = KafkaFetchResp { messages }.encode_to_vec();
        assert_eq!(ours.strip_prefix(b"before"), Some(&theirs[..]));
        assert_eq!(message.len(), theirs.len());
    }

    #[test]
    fn a_message_is_the_bytes_that_prost_writes() {
        check(0, 0, None, None);
        check(0, 0, Some(b""), Some(b""));
        check(1, 1, Some(b"k"), Some(b"v"));
        check(-1, i64::MIN, None, Some(b"v"));
        check(i64::MAX, -1, Some(b"k"), None);
        check(i64::MAX, -1, Some(b"k"), Some(b""));
        for bits in 0..63 {
            check(1 << bits, (1 << bits) - 1, None, None);
        }
        for len in [126, 127, 128, 129, 16_383, 16_384, 2_097_151, 2_097_152] {
            check(7, 1_700_000_000_000, Some(&vec![1; len]), None);
            check(7, 1_700_000_000_000, None, Some(&vec![1; len]));
        }
    }

    proptest! {
        #[test]
        fn any_message_is_the_bytes_that_prost_writes(
            offset: i64,
            timestamp: i64,
            key in option::of(vec(any::<u8>(), 0..300)),
            value in option::of(vec(any::<u8>(), 0..300)),
        ) {
            check(offset, timestamp, key.as_deref(), value.as_deref());
        }
    }
}
