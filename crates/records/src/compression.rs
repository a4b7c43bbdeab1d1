//! Decompresses the records of a batch into one bounded buffer.

mod snappy;

use std::{
    fmt,
    io::{self, ErrorKind, Read},
};

use flate2::bufread::GzDecoder;
use lz4_flex::frame::FrameDecoder;
use zstd::{
    stream::read::Decoder as ZstdDecoder,
    zstd_safe::{DCtx, ResetDirective},
};

/// The buffer and the codec context that are kept from batch to batch.
///
/// During a batch the buffer takes up to twice the limit, because it grows by doubling. The codec's window takes 32 KiB
/// for gzip, up to 12 MiB for lz4, and up to 128 MiB of address space for zstd, of which the batch touches only what it
/// fills. [`release`](Self::release) keeps [`KEPT_BYTES`] of buffer and of zstd's context.
pub(crate) struct Decompressor {
    buffer: Vec<u8>,
    zstd: Option<DCtx<'static>>,
}

/// The compression of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// The failure of a decompression.
#[derive(Debug)]
pub(crate) enum Failure {
    TooLarge,
    Invalid(io::Error),
}

impl Decompressor {
    pub(crate) fn new() -> Self {
        Self { buffer: Vec::new(), zstd: None }
    }

    /// The decompressed bytes of `stored`: at most `max`, unless they are not compressed.
    pub(crate) fn decompress<'a>(
        &'a mut self,
        codec: Codec,
        stored: &'a [u8],
        max: usize,
    ) -> Result<&'a [u8], Failure> {
        let buffer = &mut self.buffer;
        buffer.clear();
        match codec {
            _ if stored.is_empty() => {}
            Codec::None => return Ok(stored),
            // RFC 1952, section 2.2: "A gzip file consists of a series of "members"".
            Codec::Gzip => gunzip(stored, max, buffer)?,
            Codec::Snappy => snappy::decompress(stored, max, buffer)?,
            Codec::Lz4 => read_bounded(FrameDecoder::new(stored), max, buffer)?,
            Codec::Zstd => {
                let context = match &mut self.zstd {
                    Some(context) => context,
                    none => none.insert(DCtx::try_create().ok_or(ErrorKind::OutOfMemory)?),
                };
                // A failed frame may have left it in the middle.
                context.reset(ResetDirective::SessionOnly).map_err(|_| ErrorKind::Other)?;
                read_bounded(ZstdDecoder::with_context(stored, context), max, buffer)?;
            }
        }
        Ok(buffer)
    }

    /// Frees the memory of an unusually large batch.
    pub(crate) fn release(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BYTES);
        self.zstd.take_if(|context| context.sizeof() > KEPT_BYTES);
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").field("capacity", &self.buffer.capacity()).finish_non_exhaustive()
    }
}

impl Codec {
    /// From the number in a batch's attributes.
    pub(crate) fn from_number(number: u16) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Invalid(error)
    }
}

impl From<ErrorKind> for Failure {
    fn from(kind: ErrorKind) -> Self {
        Self::Invalid(kind.into())
    }
}

/// Decompresses all members. Each after the first counts as [`MEMBER_BYTES`]: producers write one, and a batch can have
/// very many empty ones.
fn gunzip(stored: &[u8], max: usize, buffer: &mut Vec<u8>) -> Result<(), Failure> {
    let (mut rest, mut max) = (stored, max);
    loop {
        let mut member = GzDecoder::new(rest);
        read_bounded(&mut member, max.saturating_sub(buffer.len()), buffer)?;
        rest = member.into_inner();
        if rest.is_empty() {
            return Ok(());
        }
        max = max.checked_sub(MEMBER_BYTES).filter(|max| *max >= buffer.len()).ok_or(Failure::TooLarge)?;
    }
}

fn read_bounded(reader: impl Read, max: usize, buffer: &mut Vec<u8>) -> Result<(), Failure> {
    // One byte more than allowed tells too much from just enough.
    let most = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let len = reader.take(most).read_to_end(buffer)?;
    if len > max { Err(Failure::TooLarge) } else { Ok(()) }
}

/// The time for a member of gzip, as that for so many bytes.
const MEMBER_BYTES: usize = 8 << 10;

/// Enough for what producers send by default (batches of up to 1 MB, zstd windows of 2 MiB).
const KEPT_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap()
    }

    /// 64 MiB of zeros in each codec.
    fn bombs() -> [(Codec, Vec<u8>); 4] {
        let zeros = vec![0; 64 << 20];
        let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
        lz4.write_all(&zeros).unwrap();
        [
            (Codec::Gzip, gzip(&zeros)),
            (Codec::Snappy, snap::raw::Encoder::new().compress_vec(&zeros).unwrap()),
            (Codec::Lz4, lz4.finish().unwrap()),
            (Codec::Zstd, zstd::encode_all(&zeros[..], 19).unwrap()),
        ]
    }

    #[test]
    fn buffer_is_bounded_for_every_codec() {
        for (codec, bomb) in bombs() {
            let mut decompressor = Decompressor::new();
            for max in [0, 1, 1000, 1 << 20, 5_000_000] {
                let failure = decompressor.decompress(codec, &bomb, max).unwrap_err();
                assert!(matches!(failure, Failure::TooLarge), "{codec:?}, {max}: {failure:?}");
                let capacity = decompressor.buffer.capacity();
                assert!(capacity <= max.max(1000).saturating_mul(2), "{codec:?}: {capacity} of {max}");
            }
        }
    }

    #[test]
    fn members_of_gzip_are_bounded() {
        let mut decompressor = Decompressor::new();
        let two = [gzip(b"one "), gzip(b""), gzip(b"text")].concat();
        assert_eq!(decompressor.decompress(Codec::Gzip, &two, 1 << 20).unwrap(), b"one text");
        for (count, is_allowed) in [(128, true), (130, false), (100_000, false)] {
            let members = gzip(b"").repeat(count);
            let is_decompressed = decompressor.decompress(Codec::Gzip, &members, 1 << 20).is_ok();
            assert_eq!(is_decompressed, is_allowed, "{count} members in the time of 128");
        }
        for wrong in [&two[..two.len() - 1], &[&two[..], b"x"].concat()] {
            assert!(matches!(decompressor.decompress(Codec::Gzip, wrong, 1 << 20), Err(Failure::Invalid(_))));
        }
    }

    #[test]
    fn large_buffers_are_released() {
        for (codec, bomb) in bombs() {
            let mut decompressor = Decompressor::new();
            assert_eq!(decompressor.decompress(codec, &bomb, 64 << 20).unwrap().len(), 64 << 20);
            decompressor.release();
            assert!(decompressor.buffer.capacity() <= KEPT_BYTES, "{codec:?}");
            assert!(decompressor.zstd.is_none_or(|context| context.sizeof() <= KEPT_BYTES), "{codec:?}");
        }
    }

    #[test]
    fn failed_frame_leaves_the_decoder_usable() {
        let good = zstd::encode_all(&b"good"[..], 1).unwrap();
        let large = zstd::encode_all(&[7; 100_000][..], 1).unwrap();
        let mut decompressor = Decompressor::new();
        for bad in [&large[..large.len() / 2], &good[..good.len().saturating_sub(1)], b"nonsense"] {
            assert!(matches!(decompressor.decompress(Codec::Zstd, bad, 1 << 20), Err(Failure::Invalid(_))));
            assert_eq!(decompressor.decompress(Codec::Zstd, &good, 1 << 20).unwrap(), b"good");
        }
    }
}
