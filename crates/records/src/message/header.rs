//! Writes one entry of `KafkaMessage.headers` (a `Header`).

use super::{bytes_len, delimited_len, varint_len, write_bytes, write_head, write_varint};

/// Key and value of a Kafka header.
type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// The size of the output of [`write()`]: at most three times Kafka's, because replacing invalid bytes of a key triples
/// them.
pub(super) fn len(header: Header<'_>) -> usize {
    let fields_len = fields_len(header);
    ENTRY.len().saturating_add(varint_len(fields_len as u64)).saturating_add(fields_len)
}

pub(super) fn write(header: Header<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&ENTRY);
    write_varint(fields_len(header) as u64, out);
    let (key, value) = header;
    let key_len = text_len(key);
    if key_len > 0 {
        write_head(KEY, key_len as u64, out);
        text(key).for_each(|part| out.extend_from_slice(part.as_bytes()));
    }
    write_bytes(VALUE, value, out);
}

fn fields_len((key, value): Header<'_>) -> usize {
    let key_len = match text_len(key) {
        0 => 0,
        len => delimited_len(len),
    };
    key_len.saturating_add(bytes_len(value))
}

fn text_len(key: &[u8]) -> usize {
    text(key).map(str::len).fold(0, usize::saturating_add)
}

/// A protobuf `string` must be UTF-8, but a key can be any bytes. Invalid sequences are replaced, as in the Java
/// client.
fn text(key: &[u8]) -> impl Iterator<Item = &str> {
    key.utf8_chunks().flat_map(|chunk| {
        let replacement = if chunk.invalid().is_empty() { "" } else { "\u{FFFD}" };
        [chunk.valid(), replacement]
    })
}

/// The tag of field 1001, length-delimited.
const ENTRY: [u8; 2] = [0xCA, 0x3E];
const KEY: u8 = (1 << 3) | 2;
const VALUE: u8 = (2 << 3) | 2;
