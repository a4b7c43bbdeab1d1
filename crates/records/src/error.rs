//! Errors of the encoder: corrupt data, unsupported formats, exceeded limits.

use std::io;

use thiserror::Error;

/// The first requested batch or record cannot be encoded.
#[derive(Debug, Error)]
pub enum RecordsError {
    /// The bytes break the record batch format.
    #[error("batch at offset {base_offset} is corrupt")]
    Corrupt {
        /// The batch's first offset, from its header.
        base_offset: i64,
        /// The problem.
        source: Corruption,
    },
    /// A record of format version 0 or 1, from before Kafka 0.11.
    #[error(
        "record at offset {offset} has format version {magic}, only version 2 is supported: read on at offset \
         {next_offset}"
    )]
    OldFormat {
        /// The record's offset; of records compressed together, the last one's.
        offset: i64,
        /// The format version, "magic" in Kafka's terms.
        magic: i8,
        /// The first offset after all such records in the input.
        next_offset: i64,
    },
    /// A batch of a newer format version.
    #[error("batch at offset {base_offset} has format version {magic}, only version 2 is supported")]
    UnsupportedVersion {
        /// The batch's first offset.
        base_offset: i64,
        /// The format version, "magic" in Kafka's terms.
        magic: i8,
    },
    /// A batch with an unknown codec.
    #[error(
        "batch at offset {base_offset} is compressed with codec {codec}, only codecs 0 to 4 are supported"
    )]
    UnsupportedCodec {
        /// The batch's first offset.
        base_offset: i64,
        /// Bits 0 to 2 of the batch's attributes.
        codec: u16,
    },
    /// A batch decompresses to more than [`max_batch_bytes`](crate::Limits::max_batch_bytes).
    #[error(
        "batch at offset {base_offset} decompresses from {len} to more than the limit of {max} bytes, the next batch \
         is at offset {next_offset}"
    )]
    BatchTooLarge {
        /// The batch's first offset.
        base_offset: i64,
        /// The first offset after the batch.
        next_offset: i64,
        /// The compressed size of its records.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// A record's key, value and headers exceed [`max_record_bytes`](crate::Limits::max_record_bytes).
    #[error(
        "record of {len} bytes at offset {offset} exceeds the limit of {max}, the next record is at offset \
         {next_offset}"
    )]
    RecordTooLarge {
        /// The record's offset.
        offset: i64,
        /// The offset after it.
        next_offset: i64,
        /// The size of key, value and headers, as the limit counts them.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
}

/// Violations of the format by a batch.
#[derive(Debug, Error)]
pub enum Corruption {
    /// The declared length is negative or leaves no room for the header.
    #[error("length of {len} bytes is below the {min} of its header")]
    Length {
        /// The declared value.
        len: i32,
        /// The part of the header that the length includes.
        min: usize,
    },
    /// The checksum does not match.
    #[error("checksum is {computed:08x}, but {stored:08x} is stored")]
    Checksum {
        /// The CRC-32C of the header.
        stored: u32,
        /// The CRC-32C of the bytes.
        computed: u32,
    },
    /// The batch overlaps the one before it, or its offset is negative.
    #[error("first offset {offset} is below {min}")]
    BaseOffset {
        /// The batch's first offset.
        offset: i64,
        /// The lowest valid offset.
        min: i64,
    },
    /// The last offset is before the first one or beyond 64 bits.
    #[error("last offset, {delta} after the first offset {base_offset}, is out of range")]
    LastOffset {
        /// The last offset, relative to the first.
        delta: i32,
        /// The batch's first offset.
        base_offset: i64,
    },
    /// The number of records is negative.
    #[error("record count {count} is below 0")]
    RecordCount {
        /// The declared value.
        count: i32,
    },
    /// The records section does not decompress.
    #[error("its {len} bytes of {codec} data cannot be decompressed")]
    Compression {
        /// The codec's name.
        codec: &'static str,
        /// The compressed size of the records.
        len: usize,
        /// The codec's error.
        source: io::Error,
    },
    /// A record is malformed.
    #[error("record {index} of {count} {fault}")]
    Record {
        /// The index, from 0.
        index: i32,
        /// The declared number of records.
        count: i32,
        /// The problem.
        fault: RecordFault,
    },
    /// There are bytes after the last record.
    #[error("{left} bytes are left after the last of {count} records")]
    Trailing {
        /// The number of bytes.
        left: usize,
        /// The declared number of records.
        count: i32,
    },
}

/// Violations of the format by a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordFault {
    /// The record exceeds the bytes, or one of its parts exceeds the record.
    #[error("needs {needs} bytes, but only {left} are left")]
    CutOff {
        /// The size of the truncated part.
        needs: usize,
        /// The remaining bytes.
        left: usize,
    },
    /// A variable-length number is too long, or exceeds its type.
    #[error("has a number beyond {bits} bits")]
    Varint {
        /// The size of its type.
        bits: u32,
    },
    /// A length or count is negative, or below -1 (null) if it is nullable.
    #[error("has {part} of {len}, below {min}")]
    Negative {
        /// The name of the length or count.
        part: &'static str,
        /// The declared value.
        len: i32,
        /// The lowest valid value.
        min: i32,
    },
    /// The record is longer than its parts.
    #[error("leaves {left} of its {len} bytes unread")]
    Unread {
        /// The bytes after the last part.
        left: usize,
        /// The declared value.
        len: usize,
    },
    /// The offsets do not increase, or leave the batch's range.
    #[error("has offset delta {delta}, not within {min} to {max}")]
    Offset {
        /// The offset, relative to the batch's first.
        delta: i32,
        /// The lowest valid delta: one after the previous record's.
        min: i32,
        /// The highest valid delta: it leaves room for the remaining records.
        max: i32,
    },
}
