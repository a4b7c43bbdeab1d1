//! Parses one record of a batch in place (Kafka protocol guide, "Record").

use crate::{RecordFault, cursor::Cursor};

/// A record, which borrows from the decompressed records of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Headers<'a>,
}

/// The validated headers of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Headers<'a> {
    count: usize,
    /// Keys and values in wire format.
    entries: &'a [u8],
    /// The size of the count and the entries.
    len: usize,
}

impl<'a> Record<'a> {
    /// Parses the record at the front of `records`, and validates all its lengths.
    #[inline]
    pub(crate) fn read(records: &mut Cursor<'a>) -> Result<Self, RecordFault> {
        let len = length("a length", records.varint()?)?;
        let mut body = Cursor::new(records.take(len)?);
        body.take(ATTRIBUTES_BYTES)?;
        let timestamp_delta = body.varlong()?;
        let offset_delta = body.varint()?;
        let key = nullable("a key length", &mut body)?;
        let value = nullable("a value length", &mut body)?;
        let headers = Headers::read(&mut body)?;
        match body.left() {
            0 => Ok(Self { timestamp_delta, offset_delta, key, value, headers }),
            left => Err(RecordFault::Unread { left, len }),
        }
    }

    /// The size of key, value and headers, with [`HEADER_BYTES`] extra for each header.
    pub(crate) fn len(&self) -> usize {
        let len = |field: Option<&[u8]>| field.map_or(0, <[u8]>::len);
        len(self.key).saturating_add(len(self.value)).saturating_add(self.headers.weight())
    }
}

impl<'a> Headers<'a> {
    /// Parses the headers at the front of `body`.
    #[inline]
    pub(crate) fn read(body: &mut Cursor<'a>) -> Result<Self, RecordFault> {
        let len = body.left();
        let count = length("a header count", body.varint()?)?;
        let entries = body.rest();
        for _ in 0..count {
            header(body)?;
        }
        Ok(Self { count, entries, len: len.saturating_sub(body.left()) })
    }

    fn weight(self) -> usize {
        self.count.saturating_mul(HEADER_BYTES).saturating_add(self.len)
    }

    /// Keys and values, in order.
    #[inline]
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        let mut entries = Cursor::new(self.entries);
        (0..self.count).map_while(move |_| header(&mut entries).ok())
    }
}

fn header<'a>(body: &mut Cursor<'a>) -> Result<(&'a [u8], Option<&'a [u8]>), RecordFault> {
    let key = length("a header's key length", body.varint()?)?;
    Ok((body.take(key)?, nullable("a header's value length", body)?))
}

#[inline]
fn nullable<'a>(part: &'static str, body: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, RecordFault> {
    match body.varint()? {
        NULL => Ok(None),
        len => {
            let len = usize::try_from(len).map_err(|_| RecordFault::Negative { part, len, min: NULL })?;
            body.take(len).map(Some)
        }
    }
}

#[inline]
fn length(part: &'static str, len: i32) -> Result<usize, RecordFault> {
    usize::try_from(len).map_err(|_| RecordFault::Negative { part, len, min: 0 })
}

/// The length of a field that is absent.
const NULL: i32 = -1;
/// Overhead charged per header. A header can have two bytes on the wire, so a record within the limits could hold
/// millions, and each costs its decoder about this much.
const HEADER_BYTES: usize = 32;
/// No bit of a record's own attributes has a meaning yet.
const ATTRIBUTES_BYTES: usize = 1;

#[cfg(test)]
mod tests {
    use super::*;

    /// Length, attributes, timestamp delta 5, offset delta 1, key `k`, value `vw`, one header `h` without a value.
    const WHOLE: [u8; 13] = [24, 0, 10, 2, 2, b'k', 4, b'v', b'w', 2, 2, b'h', 1];

    fn read(wire: &[u8]) -> Result<Record<'_>, RecordFault> {
        Record::read(&mut Cursor::new(wire))
    }

    #[test]
    fn record_borrows_its_parts() {
        let record = read(&WHOLE).unwrap();
        assert_eq!((record.timestamp_delta, record.offset_delta), (5, 1));
        assert_eq!((record.key, record.value), (Some(&b"k"[..]), Some(&b"vw"[..])));
        assert_eq!(record.headers.iter().collect::<Vec<_>>(), [(&b"h"[..], None)]);
        assert_eq!(record.len(), 7 + 32);
        let record = read(&[12, 0, 0, 0, 1, 0, 0]).unwrap();
        assert_eq!((record.key, record.value), (None, Some(&b""[..])));
    }

    #[test]
    fn truncated_record_is_rejected() {
        for cut in 0..WHOLE.len() {
            let fault = read(&WHOLE[..cut]).unwrap_err();
            assert!(matches!(fault, RecordFault::CutOff { .. }), "cut at byte {cut}: {fault}");
        }
    }

    #[test]
    fn part_beyond_the_record_and_negative_length_are_rejected() {
        let negative = |part, len, min| RecordFault::Negative { part, len, min };
        for (at, byte, want) in [
            (0, 22, RecordFault::CutOff { needs: 1, left: 0 }),
            (4, 18, RecordFault::CutOff { needs: 9, left: 8 }),
            (6, 14, RecordFault::CutOff { needs: 7, left: 6 }),
            (10, 8, RecordFault::CutOff { needs: 4, left: 2 }),
            (9, 0, RecordFault::Unread { left: 3, len: 12 }),
            (0, 1, negative("a length", -1, 0)),
            (4, 3, negative("a key length", -2, -1)),
            (6, 5, negative("a value length", -3, -1)),
            (9, 1, negative("a header count", -1, 0)),
            (10, 1, negative("a header's key length", -1, 0)),
            (12, 3, negative("a header's value length", -2, -1)),
        ] {
            let mut wire = WHOLE;
            wire[at] = byte;
            assert_eq!(read(&wire), Err(want));
        }
    }
}
