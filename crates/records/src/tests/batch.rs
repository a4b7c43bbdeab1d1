//! Writes record batches according to the protocol guide, independently of the crate under test.

use std::io::Write;

/// A batch to write. Its fields are written as they are, valid or not.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) base_offset: i64,
    pub(crate) magic: i8,
    pub(crate) compression: Compression,
    /// Without the bits of the codec.
    pub(crate) attributes: u16,
    /// `None`: the delta of the last record.
    pub(crate) last_offset_delta: Option<i32>,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    /// `None`: the number of records.
    pub(crate) record_count: Option<i32>,
    pub(crate) records: Vec<Record>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) offset_delta: i32,
    pub(crate) timestamp_delta: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// A codec, and how its writers frame it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    SnappyRaw,
    SnappyXerial,
    Lz4,
    Lz4Linked,
    Zstd,
    /// An unassigned number.
    Unknown(u16),
}

pub(crate) const COMPRESSIONS: [Compression; 7] = [
    Compression::None,
    Compression::Gzip,
    Compression::SnappyRaw,
    Compression::SnappyXerial,
    Compression::Lz4,
    Compression::Lz4Linked,
    Compression::Zstd,
];

pub(crate) const LOG_APPEND_TIME: u16 = 1 << 3;
pub(crate) const TRANSACTIONAL: u16 = 1 << 4;
pub(crate) const CONTROL: u16 = 1 << 5;
pub(crate) const DELETE_HORIZON: u16 = 1 << 6;

impl Default for Batch {
    fn default() -> Self {
        Self {
            base_offset: 0,
            magic: 2,
            compression: Compression::None,
            attributes: 0,
            last_offset_delta: None,
            base_timestamp: 1_700_000_000_000,
            max_timestamp: 1_700_000_009_999,
            producer_id: -1,
            record_count: None,
            records: Vec::new(),
        }
    }
}

impl Batch {
    /// A batch of records without keys, one offset after the other.
    pub(crate) fn of_values<V: AsRef<[u8]>>(base_offset: i64, values: &[V]) -> Self {
        let records = (0..).zip(values).map(|(offset_delta, value)| Record {
            offset_delta,
            value: Some(value.as_ref().to_vec()),
            ..Record::default()
        });
        Self { base_offset, records: records.collect(), ..Self::default() }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn next_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_delta()) + 1
    }

    fn last_delta(&self) -> i32 {
        let of_records = self.records.last().map_or(0, |record| record.offset_delta);
        self.last_offset_delta.unwrap_or(of_records)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut records = Vec::new();
        for record in &self.records {
            record.write(&mut records);
        }
        self.bytes_around(&compress(self.compression, &records))
    }

    /// The batch with `records` as its (compressed) records section.
    pub(crate) fn bytes_around(&self, records: &[u8]) -> Vec<u8> {
        let count = self.record_count.unwrap_or(self.records.len() as i32);
        let mut covered = Vec::new();
        covered.extend((self.attributes | number(self.compression)).to_be_bytes());
        covered.extend(self.last_delta().to_be_bytes());
        covered.extend(self.base_timestamp.to_be_bytes());
        covered.extend(self.max_timestamp.to_be_bytes());
        covered.extend(self.producer_id.to_be_bytes());
        covered.extend((-1_i16).to_be_bytes()); // producer epoch
        covered.extend((-1_i32).to_be_bytes()); // base sequence
        covered.extend(count.to_be_bytes());
        covered.extend(records);

        let mut bytes = Vec::new();
        bytes.extend(self.base_offset.to_be_bytes());
        bytes.extend((covered.len() as i32 + 9).to_be_bytes());
        bytes.extend(3_i32.to_be_bytes()); // partition leader epoch
        bytes.extend(self.magic.to_be_bytes());
        bytes.extend(crc32c::crc32c(&covered).to_be_bytes());
        bytes.extend(covered);
        bytes
    }
}

impl Record {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut body = vec![0]; // attributes
        varint(self.timestamp_delta, &mut body);
        varint(self.offset_delta.into(), &mut body);
        nullable(self.key.as_deref(), &mut body);
        nullable(self.value.as_deref(), &mut body);
        varint(self.headers.len() as i64, &mut body);
        for (key, value) in &self.headers {
            nullable(Some(key), &mut body);
            nullable(value.as_deref(), &mut body);
        }
        varint(body.len() as i64, out);
        out.extend(body);
    }
}

fn nullable(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    varint(bytes.map_or(-1, |bytes| bytes.len() as i64), out);
    out.extend(bytes.unwrap_or_default());
}

pub(crate) fn varint(value: i64, out: &mut Vec<u8>) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

fn number(compression: Compression) -> u16 {
    match compression {
        Compression::None => 0,
        Compression::Gzip => 1,
        Compression::SnappyRaw | Compression::SnappyXerial => 2,
        Compression::Lz4 | Compression::Lz4Linked => 3,
        Compression::Zstd => 4,
        Compression::Unknown(number) => number,
    }
}

pub(crate) fn compress(compression: Compression, records: &[u8]) -> Vec<u8> {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    match compression {
        Compression::None | Compression::Unknown(_) => records.to_vec(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(records).and_then(|()| encoder.finish()).unwrap()
        }
        Compression::SnappyRaw => snap::raw::Encoder::new().compress_vec(records).unwrap(),
        Compression::SnappyXerial => {
            let mut stream = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
            for block in records.chunks(32 << 10) {
                let block = snap::raw::Encoder::new().compress_vec(block).unwrap();
                stream.extend((block.len() as u32).to_be_bytes());
                stream.extend(block);
            }
            stream
        }
        Compression::Lz4 | Compression::Lz4Linked => {
            let linked = compression == Compression::Lz4Linked;
            let mode = if linked { BlockMode::Linked } else { BlockMode::Independent };
            let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(mode);
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(records).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstd => zstd::encode_all(records, 1).unwrap(),
    }
}

/// Corrects the checksum of each complete batch at the front of `bytes`, so that mutations are not rejected by it.
pub(crate) fn seal(bytes: &mut [u8]) {
    let mut rest = bytes;
    while let Some(len) = rest.get(8..12) {
        let len = i32::from_be_bytes(len.try_into().unwrap());
        let Some(size) = usize::try_from(len).ok().map(|len| len + 12) else { return };
        if size < 21 || size > rest.len() {
            return;
        }
        let (batch, after) = rest.split_at_mut(size);
        let checksum = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&checksum.to_be_bytes());
        rest = after;
    }
}
