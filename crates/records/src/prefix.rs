//! The fields that all format versions have in common.

use crate::cursor::Cursor;

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
