//! The entries of a log, their headers and checks: record batches (Kafka protocol guide, "Record Batch"), or messages of the
//! formats before them.

use flate2::Crc;

use crate::cursor::Cursor;
use crate::{Corruption, RecordsError};

/// An entry with a valid checksum.
#[derive(Debug)]
pub(crate) enum Entry<'a> {
    Batch(Batch<'a>),
    Old(OldMessage),
}

impl<'a> Entry<'a> {
    /// Parses the entry at the front of `bytes`, whose first offset must be at least `min_offset`.
    pub(crate) fn parse(bytes: &'a [u8], min_offset: i64) -> Result<Parsed<'a, Self>, RecordsError> {
        let Some(prefix) = Prefix::read(bytes) else {
            return Ok(Parsed::Truncated { needs: HEADER_BYTES });
        };
        let Prefix { base_offset, magic, .. } = prefix;
        match magic {
            MAGIC => Ok(Batch::parse(bytes, prefix, min_offset)?.map(Entry::Batch)),
            0 | 1 => Ok(OldMessage::parse(bytes, prefix, min_offset)?.map(Entry::Old)),
            _ => Err(RecordsError::UnsupportedVersion { base_offset, magic }),
        }
    }
}

/// A message with a valid checksum. A compressed one contains others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OldMessage {
    /// Of a compressed message, the offset of the last one in it.
    pub(crate) offset: i64,
    pub(crate) magic: i8,
    /// The first offset after the message.
    pub(crate) next_offset: i64,
}

impl OldMessage {
    /// Parses the message at the front of `bytes`, whose offset must be at least `min_offset`.
    pub(crate) fn parse<'a>(
        bytes: &'a [u8],
        prefix: Prefix,
        min_offset: i64,
    ) -> Result<Parsed<'a, Self>, RecordsError> {
        let Prefix { base_offset: offset, len, magic } = prefix;
        let corrupt = |source| RecordsError::Corrupt { base_offset: offset, source };
        let min = if magic == 0 { MIN_LENGTH } else { MIN_LENGTH.saturating_add(TIMESTAMP) };
        let bad_length = || corrupt(Corruption::Length { len, min });
        let content = usize::try_from(len).ok().filter(|len| *len >= min).ok_or_else(bad_length)?;
        let size = content.saturating_add(LENGTH_ENDS_AT);
        let Some((whole, after)) = bytes.split_at_checked(size) else {
            return Ok(Parsed::Truncated { needs: size });
        };
        let mut whole = Cursor::new(whole);
        let _offset_and_length: Option<[u8; LENGTH_ENDS_AT]> = whole.array();
        let stored = u32::from_be_bytes(whole.array().ok_or_else(bad_length)?);
        let mut crc = Crc::new();
        crc.update(whole.rest());
        // The magic number of a corrupt batch can look like an old one, and its records must not be skipped.
        if crc.sum() != stored {
            return Err(corrupt(Corruption::Checksum { stored, computed: crc.sum() }));
        }
        if offset < min_offset {
            return Err(corrupt(Corruption::BaseOffset { offset, min: min_offset }));
        }
        let out_of_range = || corrupt(Corruption::LastOffset { delta: 0, base_offset: offset });
        let next_offset = offset.checked_add(1).ok_or_else(out_of_range)?;
        Ok(Parsed::Whole(Self { offset, magic, next_offset }, after))
    }
}

/// Checksum, magic, attributes, and the lengths of key and value.
const MIN_LENGTH: usize = 14;
/// Of magic 1.
const TIMESTAMP: usize = 8;

/// A batch with a valid header, whose records are not parsed yet.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) base_offset: i64,
    /// The delta of the last written record, which compaction may have removed.
    pub(crate) last_offset_delta: i32,
    /// The first offset after the batch.
    pub(crate) next_offset: i64,
    pub(crate) record_count: i32,
    /// −1 if the producer is not idempotent.
    pub(crate) producer_id: i64,
    /// The records, compressed as [`codec`](Self::codec) says.
    pub(crate) records: &'a [u8],
    attributes: u16,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl<'a> Batch<'a> {
    /// Parses the batch at the front of `bytes`, whose first offset must be at least `min_offset`.
    pub(crate) fn parse(
        bytes: &'a [u8],
        Prefix { base_offset, len, .. }: Prefix,
        min_offset: i64,
    ) -> Result<Parsed<'a, Self>, RecordsError> {
        let corrupt = |source| RecordsError::Corrupt { base_offset, source };
        let bad_length = || corrupt(Corruption::Length { len, min: LENGTH_MIN });
        let size = usize::try_from(len).map_err(|_| bad_length())?.saturating_add(LENGTH_ENDS_AT);
        if size < HEADER_BYTES {
            return Err(bad_length());
        }
        let Some((whole, after)) = bytes.split_at_checked(size) else {
            return Ok(Parsed::Truncated { needs: size });
        };
        let header = Header::read(whole).ok_or_else(bad_length)?;
        let batch = header.check(base_offset, min_offset).map_err(corrupt)?;
        Ok(Parsed::Whole(batch, after))
    }

    pub(crate) fn codec(&self) -> u16 {
        self.attributes & CODEC_BITS
    }

    /// Whether it has control records, such as transaction markers, instead of a client's.
    pub(crate) fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// Whether its records are part of a transaction.
    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Whether the broker has set the timestamp of all its records.
    pub(crate) fn has_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME_BIT != 0
    }

    /// The timestamp of the record with this delta, in milliseconds since 1970.
    #[inline]
    pub(crate) fn timestamp(&self, delta: i64) -> i64 {
        if self.has_log_append_time() {
            self.max_timestamp
        } else {
            // Wraps as in Kafka's own clients: an invalid timestamp makes no record unreadable.
            self.base_timestamp.wrapping_add(delta)
        }
    }
}

/// The rest of the header, unchecked.
struct Header<'a> {
    checksum: u32,
    /// The bytes under the checksum: from the attributes to the end.
    covered: &'a [u8],
    attributes: u16,
    last_offset_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    producer_id: i64,
    record_count: i32,
    records: &'a [u8],
}

impl<'a> Header<'a> {
    fn read(whole: &'a [u8]) -> Option<Self> {
        let mut bytes = Cursor::new(whole);
        let _prefix: [u8; PREFIX_BYTES] = bytes.array()?;
        let checksum = u32::from_be_bytes(bytes.array()?);
        let covered = bytes.rest();
        let attributes = u16::from_be_bytes(bytes.array()?);
        let last_offset_delta = i32::from_be_bytes(bytes.array()?);
        let base_timestamp = i64::from_be_bytes(bytes.array()?);
        let max_timestamp = i64::from_be_bytes(bytes.array()?);
        let producer_id = i64::from_be_bytes(bytes.array()?);
        let _epoch_and_sequence: [u8; 6] = bytes.array()?;
        let record_count = i32::from_be_bytes(bytes.array()?);
        let records = bytes.rest();
        Some(Self {
            checksum,
            covered,
            attributes,
            last_offset_delta,
            base_timestamp,
            max_timestamp,
            producer_id,
            record_count,
            records,
        })
    }

    fn check(self, base_offset: i64, min_offset: i64) -> Result<Batch<'a>, Corruption> {
        let computed = crc32c::crc32c(self.covered);
        if computed != self.checksum {
            return Err(Corruption::Checksum { stored: self.checksum, computed });
        }
        if base_offset < min_offset {
            return Err(Corruption::BaseOffset { offset: base_offset, min: min_offset });
        }
        let delta = self.last_offset_delta;
        let next_offset = u32::try_from(delta)
            .ok()
            .and_then(|delta| base_offset.checked_add(i64::from(delta))?.checked_add(1))
            .ok_or(Corruption::LastOffset { delta, base_offset })?;
        if self.record_count < 0 {
            return Err(Corruption::RecordCount { count: self.record_count });
        }
        Ok(Batch {
            base_offset,
            last_offset_delta: delta,
            next_offset,
            record_count: self.record_count,
            producer_id: self.producer_id,
            records: self.records,
            attributes: self.attributes,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
        })
    }
}

/// The supported format version.
pub(crate) const MAGIC: i8 = 2;
/// Up to and including the record count.
pub(crate) const HEADER_BYTES: usize = 61;
const LENGTH_MIN: usize = HEADER_BYTES - LENGTH_ENDS_AT;

// Attributes. With bit 6 (delete horizon) the base timestamp is that
// horizon, and the deltas are relative to it as usual.
const CODEC_BITS: u16 = 0b111;
const LOG_APPEND_TIME_BIT: u16 = 1 << 3;
const TRANSACTIONAL_BIT: u16 = 1 << 4;
const CONTROL_BIT: u16 = 1 << 5;

/// The start of a batch or message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prefix {
    pub(crate) base_offset: i64,
    pub(crate) len: i32,
    /// The format version.
    pub(crate) magic: i8,
}

/// The result of parsing the front of some bytes.
#[derive(Debug)]
pub(crate) enum Parsed<'a, T> {
    /// The parsed value, and the bytes after it.
    Whole(T, &'a [u8]),
    /// The bytes are truncated. The value needs at least this many.
    Truncated { needs: usize },
}

impl Prefix {
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Cursor::new(bytes);
        let base_offset = i64::from_be_bytes(bytes.array()?);
        let len = i32::from_be_bytes(bytes.array()?);
        let _epoch_or_checksum: [u8; 4] = bytes.array()?;
        let magic = i8::from_be_bytes(bytes.array()?);
        Some(Self { base_offset, len, magic })
    }
}

impl<'a, T> Parsed<'a, T> {
    pub(crate) fn map<U>(self, into: impl FnOnce(T) -> U) -> Parsed<'a, U> {
        match self {
            Self::Whole(value, after) => Parsed::Whole(into(value), after),
            Self::Truncated { needs } => Parsed::Truncated { needs },
        }
    }
}

/// First offset, length, leader epoch or checksum, and magic.
pub(crate) const PREFIX_BYTES: usize = 17;
/// The length field counts the bytes after it.
pub(crate) const LENGTH_ENDS_AT: usize = 12;
