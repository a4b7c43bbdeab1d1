//! The entries of a log: batches, or messages of the format before them. Both begin with the same fields.

use crate::RecordsError;
use crate::batch::{Batch, HEADER_BYTES, MAGIC};
use crate::cursor::Cursor;
use crate::old_message::OldMessage;

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
