//! Why records cannot be encoded: the stored bytes are wrong, this version cannot read them, or a limit says no.

use std::io;

use thiserror::Error;

/// The first batch or record that was wanted cannot be encoded.
#[derive(Debug, Error)]
pub enum RecordsError {
    /// The bytes break the record batch format.
    #[error("batch at offset {base_offset} is corrupt")]
    Corrupt {
        /// The batch's first offset, as its header has it.
        base_offset: i64,
        /// What is wrong with it.
        source: Corruption,
    },
    /// A record of format version 0 or 1, as Kafka wrote them before 0.11.
    #[error(
        "record at offset {offset} has format version {magic}, only version 2 is supported: read on at offset {next_offset}"
    )]
    OldFormat {
        /// The record's offset; of records that are compressed together, that of the last one.
        offset: i64,
        /// The format version, "magic" in Kafka's terms.
        magic: i8,
        /// The first offset after all such records that are known.
        next_offset: i64,
    },
    /// A batch newer than this crate reads.
    #[error("batch at offset {base_offset} has format version {magic}, only version 2 is supported")]
    UnsupportedVersion {
        /// The batch's first offset.
        base_offset: i64,
        /// The format version, "magic" in Kafka's terms.
        magic: i8,
    },
    /// A batch that is compressed in a way which this crate does not know.
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
        "batch at offset {base_offset} decompresses from {len} to more than the limit of {max} bytes, the next batch is at offset {next_offset}"
    )]
    BatchTooLarge {
        /// The batch's first offset.
        base_offset: i64,
        /// The first offset after the batch.
        next_offset: i64,
        /// Bytes of its records as they are stored.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// A record's key, value and headers exceed [`max_record_bytes`](crate::Limits::max_record_bytes).
    #[error(
        "record of {len} bytes at offset {offset} exceeds the limit of {max}, the next record is at offset {next_offset}"
    )]
    RecordTooLarge {
        /// The record's offset.
        offset: i64,
        /// Where to go on without it.
        next_offset: i64,
        /// Bytes of key, value and headers, as the limit counts them.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
}

/// How a batch breaks the format.
#[derive(Debug, Error)]
pub enum Corruption {
    /// The declared length is negative or leaves no room for the header.
    #[error("length of {len} bytes is below the {min} of its header")]
    Length {
        /// As declared.
        len: i32,
        /// The part of the header that this length counts.
        min: usize,
    },
    /// The bytes are not those that were written.
    #[error("checksum is {computed:08x} where {stored:08x} is stored")]
    Checksum {
        /// CRC-32C in the header.
        stored: u32,
        /// CRC-32C of the bytes.
        computed: u32,
    },
    /// The batch begins before the batch in front of it ends, or below 0.
    #[error("first offset {offset} is below {min}")]
    BaseOffset {
        /// The batch's first offset.
        offset: i64,
        /// The first offset that would be in order.
        min: i64,
    },
    /// The last offset is before the first one or beyond 64 bits.
    #[error("last offset, {delta} after the first offset {base_offset}, is out of range")]
    LastOffset {
        /// Last offset, relative to the first.
        delta: i32,
        /// The batch's first offset.
        base_offset: i64,
    },
    /// The number of records is negative.
    #[error("record count {count} is below 0")]
    RecordCount {
        /// As declared.
        count: i32,
    },
    /// The records section does not decompress.
    #[error("its {len} bytes of {codec} data cannot be decompressed")]
    Compression {
        /// The codec's name.
        codec: &'static str,
        /// Bytes of the records as they are stored.
        len: usize,
        /// The codec's reason.
        source: io::Error,
    },
    /// A record is malformed.
    #[error("record {index} of {count} {fault}")]
    Record {
        /// Counted from 0.
        index: i32,
        /// Records in the batch, as declared.
        count: i32,
        /// What is wrong with it.
        fault: RecordFault,
    },
    /// There are bytes after the last record.
    #[error("{left} bytes are left after the last of {count} records")]
    Trailing {
        /// How many bytes.
        left: usize,
        /// Records in the batch, as declared.
        count: i32,
    },
}

/// How a record breaks the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordFault {
    /// The bytes end inside the record, or the record's length inside one of its parts.
    #[error("needs {needs} bytes where {left} are left")]
    CutOff {
        /// For the part that is cut off.
        needs: usize,
        /// In front of the end.
        left: usize,
    },
    /// A variable-length number does not end, or does not fit its type.
    #[error("has a number beyond {bits} bits")]
    Varint {
        /// What its type holds.
        bits: u32,
    },
    /// A length or count is negative where none or only -1 (null) may be.
    #[error("has {part} of {len}, below {min}")]
    Negative {
        /// Which length.
        part: &'static str,
        /// As declared.
        len: i32,
        /// The least valid value.
        min: i32,
    },
    /// The parts end before the record's length.
    #[error("leaves {left} of its {len} bytes unread")]
    Unread {
        /// Bytes after the last part.
        left: usize,
        /// As declared.
        len: usize,
    },
    /// Offsets do not increase from record to record within the batch's range.
    #[error("has offset delta {delta}, not within {min} to {max}")]
    Offset {
        /// Offset, relative to the batch's first.
        delta: i32,
        /// One after that of the record before.
        min: i32,
        /// That of the batch's last record, less one for each record in between.
        max: i32,
    },
}
