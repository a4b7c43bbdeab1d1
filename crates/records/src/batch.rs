//! The header of a record batch, and the checks that need no more than it (Kafka protocol guide, "Record Batch").

use crate::{Corruption, RecordsError, cursor::Cursor, old::OldMessage};

/// What is at the front of the bytes.
#[derive(Debug)]
pub(crate) enum Parsed<'a> {
    /// A batch with a right checksum, and what follows it.
    Whole(Batch<'a>, &'a [u8]),
    /// A message of the format before batches, and what follows it.
    Old(OldMessage, &'a [u8]),
    /// The bytes end inside the batch, which needs at least so many.
    CutOff { needs: usize },
}

/// A batch whose header is in order; its records are not read yet.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) base_offset: i64,
    /// Of the last record that was written; compaction may have removed it since.
    pub(crate) last_offset_delta: i32,
    /// The first offset after the batch.
    pub(crate) next_offset: i64,
    pub(crate) record_count: i32,
    /// The records, compressed as [`codec`](Self::codec) says.
    pub(crate) records: &'a [u8],
    attributes: u16,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl<'a> Batch<'a> {
    /// Reads the batch at the front of `bytes`, whose first offset must be at least `min_offset`.
    pub(crate) fn parse(bytes: &'a [u8], min_offset: i64) -> Result<Parsed<'a>, RecordsError> {
        let Some(prefix) = Prefix::read(bytes) else {
            return Ok(Parsed::CutOff { needs: HEADER_BYTES });
        };
        let Prefix { base_offset, len, magic } = prefix;
        match magic {
            MAGIC => {}
            0 | 1 => return OldMessage::parse(bytes, prefix, min_offset),
            _ => return Err(RecordsError::UnsupportedVersion { base_offset, magic }),
        }
        let corrupt = |source| RecordsError::Corrupt { base_offset, source };
        let bad_length = || corrupt(Corruption::Length { len, min: LENGTH_MIN });
        let size = usize::try_from(len).map_err(|_| bad_length())?.saturating_add(LENGTH_ENDS_AT);
        if size < HEADER_BYTES {
            return Err(bad_length());
        }
        let Some((whole, after)) = bytes.split_at_checked(size) else {
            return Ok(Parsed::CutOff { needs: size });
        };
        let header = Header::read(whole).ok_or_else(bad_length)?;
        let batch = header.check(base_offset, min_offset).map_err(corrupt)?;
        Ok(Parsed::Whole(batch, after))
    }

    pub(crate) fn codec(&self) -> u16 {
        self.attributes & CODEC_BITS
    }

    /// Transaction markers and the like, which are no records of a user's.
    pub(crate) fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// Milliseconds since 1970, of the record with this delta.
    #[inline]
    pub(crate) fn timestamp(&self, delta: i64) -> i64 {
        if self.attributes & LOG_APPEND_TIME_BIT != 0 {
            self.max_timestamp
        } else {
            // Wraps as in Kafka's own clients: a producer's nonsense makes no record unreadable.
            self.base_timestamp.wrapping_add(delta)
        }
    }
}

/// What has the same place in all versions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prefix {
    pub(crate) base_offset: i64,
    pub(crate) len: i32,
    /// The format version.
    pub(crate) magic: i8,
}

impl Prefix {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Cursor::new(bytes);
        let base_offset = i64::from_be_bytes(bytes.array()?);
        let len = i32::from_be_bytes(bytes.array()?);
        let _epoch_or_checksum: [u8; 4] = bytes.array()?;
        let magic = i8::from_be_bytes(bytes.array()?);
        Some(Self { base_offset, len, magic })
    }
}

/// The rest of the header, unchecked.
struct Header<'a> {
    checksum: u32,
    /// From the attributes to the end.
    covered: &'a [u8],
    attributes: u16,
    last_offset_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
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
        let _producer_id_epoch_and_sequence: [u8; 14] = bytes.array()?;
        let record_count = i32::from_be_bytes(bytes.array()?);
        let records = bytes.rest();
        Some(Self {
            checksum,
            covered,
            attributes,
            last_offset_delta,
            base_timestamp,
            max_timestamp,
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
            records: self.records,
            attributes: self.attributes,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
        })
    }
}

/// The format version that this crate reads.
const MAGIC: i8 = 2;
/// First offset, length, leader epoch and magic.
const PREFIX_BYTES: usize = 17;
/// Up to and with the record count.
const HEADER_BYTES: usize = 61;
/// The length field counts what comes after it.
pub(crate) const LENGTH_ENDS_AT: usize = 12;
const LENGTH_MIN: usize = HEADER_BYTES - LENGTH_ENDS_AT;

// Attributes. Bit 4 (transactional) makes no difference to "read uncommitted"; with bit 6 (delete horizon) the base
// timestamp is that horizon and the deltas are relative to it, so it reads the same.
const CODEC_BITS: u16 = 0b111;
const LOG_APPEND_TIME_BIT: u16 = 1 << 3;
const CONTROL_BIT: u16 = 1 << 5;
