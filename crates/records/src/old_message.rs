//! Messages of the format before record batches (magic 0 and 1), which are recognized but not supported.

use flate2::Crc;

use crate::{
    Corruption, RecordsError,
    cursor::Cursor,
    prefix::{LENGTH_ENDS_AT, Parsed, Prefix},
};

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
