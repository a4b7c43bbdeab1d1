//! The entries of a log: batches, or messages of the format before them.

use crate::RecordsError;
use crate::batch::{Batch, HEADER_BYTES, MAGIC};
use crate::old_message::OldMessage;
use crate::prefix::{Parsed, Prefix};

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
