//! Writes one entry of `KafkaFetchResp.messages` (a `KafkaMessage`, `proto/pubsub.proto`).

mod header;

use crate::record::{Headers, Record};

/// A record in the fields of `KafkaMessage`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    offset: u64,
    timestamp: u64,
    /// 1 if the broker set the timestamp.
    timestamp_type: u64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: Headers<'a>,
    /// The size of the fields, without the entry's own tag and length.
    fields_len: usize,
}

impl<'a> Message<'a> {
    #[inline]
    pub(crate) fn new(offset: i64, timestamp: i64, is_log_append_time: bool, record: &Record<'a>) -> Self {
        let Record { key, value, headers, .. } = *record;
        let (offset, timestamp) = (offset.cast_unsigned(), timestamp.cast_unsigned());
        let timestamp_type = u64::from(is_log_append_time);
        let fields_len = number_len(offset)
            .saturating_add(number_len(timestamp))
            .saturating_add(bytes_len(key))
            .saturating_add(bytes_len(value))
            .saturating_add(headers.iter().map(header::len).fold(0, usize::saturating_add))
            .saturating_add(if is_log_append_time { TIMESTAMP_TYPE_LEN } else { 0 });
        Self { offset, timestamp, timestamp_type, key, value, headers, fields_len }
    }

    /// The size of the output of [`write`](Self::write).
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
        self.headers.iter().for_each(|header| header::write(header, out));
        if self.timestamp_type != 0 {
            write_varint(TIMESTAMP_TYPE, out);
            write_varint(self.timestamp_type, out);
        }
    }
}

/// The offset of the first message of some that were encoded here, and its encoded size in bytes; `None` at the end,
/// and for anything else.
#[inline]
pub fn first_message(messages: &[u8]) -> Option<(i64, usize)> {
    let (tag, rest) = messages.split_first()?;
    let (len, rest) = (*tag == MESSAGES).then(|| read_varint(rest))??;
    let fields = rest.get(..usize::try_from(len).ok()?)?;
    let size = messages.len().checked_sub(rest.len())?.checked_add(fields.len())?;
    let offset = match fields.split_first() {
        Some((tag, rest)) if *tag == OFFSET => read_varint(rest)?.0,
        // proto3 omits 0.
        Some(_) | None => 0,
    };
    Some((offset.cast_signed(), size))
}

// A tag is the field number shifted by three, plus the wire type: 0 varint, 2 length-delimited.
const MESSAGES: u8 = (1 << 3) | 2;
const OFFSET: u8 = 1 << 3;
const TIMESTAMP: u8 = 2 << 3;
const KEY: u8 = (3 << 3) | 2;
const VALUE: u8 = (4 << 3) | 2;
const TAG_BYTES: usize = 1;
/// Two bytes long.
const TIMESTAMP_TYPE: u64 = 1002 << 3;
const TIMESTAMP_TYPE_LEN: usize = 3;

// proto3 omits numbers of 0, but writes `optional` fields even if they are empty.

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

/// One byte per seven bits, at least one.
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
fn write_head(tag: u8, number: u64, out: &mut Vec<u8>) {
    out.push(tag);
    write_varint(number, out);
}

#[inline]
fn write_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[inline]
fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7F).checked_shl(u32::try_from(index).ok()?.saturating_mul(7))?;
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(index.saturating_add(1)..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};
    use prost::Message as _;
    use prost::bytes::Bytes;
    use sluicegate_protocol::{Header, KafkaFetchResp, KafkaMessage};

    use super::*;
    use crate::cursor::Cursor;

    type Headed<'a> = (&'a [u8], Option<&'a [u8]>);

    #[track_caller]
    fn check(offset: i64, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Headed<'_>]) {
        let wire = headers_on_the_wire(headers);
        let headers_read = Headers::read(&mut Cursor::new(&wire)).unwrap();
        let record = Record { timestamp_delta: 0, offset_delta: 0, key, value, headers: headers_read };
        let bytes = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
        let header = |(key, value): &Headed<'_>| Header {
            key: String::from_utf8_lossy(key).into(),
            value: bytes(*value),
        };
        for is_log_append_time in [false, true] {
            let message = Message::new(offset, timestamp, is_log_append_time, &record);
            let mut ours = b"before".to_vec();
            message.write(&mut ours);
            let messages = vec![KafkaMessage {
                offset,
                timestamp,
                key: bytes(key),
                value: bytes(value),
                headers: headers.iter().map(header).collect(),
                timestamp_type: is_log_append_time.into(),
                ..KafkaMessage::default()
            }];
            let theirs = KafkaFetchResp { messages, next_offset: 0, ..Default::default() }.encode_to_vec();
            assert_eq!(ours.strip_prefix(b"before"), Some(&theirs[..]));
            assert_eq!(message.len(), theirs.len());
            assert_eq!(first_message(&[&theirs[..], b"after"].concat()), Some((offset, theirs.len())));
        }
    }

    /// As Kafka has them: a count, then keys and values, each with its length, all numbers in zigzag.
    fn headers_on_the_wire(headers: &[Headed<'_>]) -> Vec<u8> {
        let mut wire = Vec::new();
        let write_len = |len: usize, wire: &mut Vec<u8>| write_varint((len as u64).saturating_mul(2), wire);
        write_len(headers.len(), &mut wire);
        for (key, value) in headers {
            write_len(key.len(), &mut wire);
            wire.extend(*key);
            match value {
                Some(value) => {
                    write_len(value.len(), &mut wire);
                    wire.extend(*value);
                }
                None => wire.push(1),
            }
        }
        wire
    }

    #[test]
    fn message_matches_prost() {
        check(0, 0, None, None, &[]);
        check(0, 0, Some(b""), Some(b""), &[]);
        check(1, 1, Some(b"k"), Some(b"v"), &[]);
        check(-1, i64::MIN, None, Some(b"v"), &[]);
        check(i64::MAX, -1, Some(b"k"), None, &[]);
        check(i64::MAX, -1, Some(b"k"), Some(b""), &[]);
        for bits in 0..63 {
            check(1 << bits, (1 << bits) - 1, None, None, &[]);
        }
        for len in [126, 127, 128, 129, 16_383, 16_384, 2_097_151, 2_097_152] {
            check(7, 1_700_000_000_000, Some(&vec![1; len]), None, &[]);
            check(7, 1_700_000_000_000, None, Some(&vec![1; len]), &[]);
        }
    }

    #[test]
    fn cut_message_has_no_end() {
        let fields = Headers::read(&mut Cursor::new(&[0])).unwrap();
        let record =
            Record { timestamp_delta: 0, offset_delta: 0, key: None, value: Some(b"value"), headers: fields };
        let mut bytes = Vec::new();
        Message::new(1 << 40, 7, false, &record).write(&mut bytes);
        for cut in 0..bytes.len() {
            assert_eq!(first_message(&bytes[..cut]), None, "cut at byte {cut}");
        }
        assert_eq!(
            first_message(&[MESSAGES, 11, OFFSET, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255]),
            None
        );
    }

    #[test]
    fn headers_match_prost() {
        let check = |headers: &[Headed<'_>]| check(1, 2, None, Some(b"v"), headers);
        check(&[(b"", None)]);
        check(&[(b"", Some(b"")), (b"k", None), (b"k", Some(b"v")), (b"k", Some(b"v"))]);
        for bytes in [&b"\xFF"[..], b"a\xFFb", b"\xE2\x82", b"\xE2\x82x\xF0\x9F\x92", "é€💧".as_bytes()]
        {
            check(&[(bytes, Some(bytes))]);
        }
        for len in [121, 122, 123, 124, 125, 126, 127, 128, 16_383, 16_384] {
            check(&[(&vec![b'k'; len], None), (b"", Some(&vec![1; len])), (&vec![0xFF; len], Some(b""))]);
        }
    }

    proptest! {
        #[test]
        fn random_bytes_are_read_within_their_end(bytes in vec(any::<u8>(), 0..30)) {
            if let Some((_, size)) = first_message(&bytes) {
                prop_assert!((2..=bytes.len()).contains(&size));
            }
        }

        #[test]
        fn random_messages_match_prost(
            offset: i64,
            timestamp: i64,
            key in option::of(vec(any::<u8>(), 0..300)),
            value in option::of(vec(any::<u8>(), 0..300)),
            headers in vec((vec(any::<u8>(), 0..9), option::of(vec(any::<u8>(), 0..150))), 0..4),
        ) {
            let headers: Vec<_> = headers.iter().map(|(key, value)| (&key[..], value.as_deref())).collect();
            check(offset, timestamp, key.as_deref(), value.as_deref(), &headers);
        }
    }
}
