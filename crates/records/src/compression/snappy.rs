//! Snappy in Kafka: one raw block (librdkafka), or the block stream of the xerial library (Java).

use std::io::{self, ErrorKind};

use snap::raw::{Decoder, decompress_len};

use super::Failure;
use crate::cursor::Cursor;

pub(super) fn decompress(stored: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    if stored.starts_with(&XERIAL_MAGIC) {
        return stream(stored, max, out);
    }
    block(stored, max, out)
}

/// A header, then blocks with big-endian lengths. Concatenated streams repeat the header.
fn stream(stored: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let mut bytes = Cursor::new(stored);
    while bytes.left() > 0 {
        if bytes.rest().starts_with(&XERIAL_MAGIC) {
            bytes.take(XERIAL_HEADER_BYTES).map_err(invalid)?;
            continue;
        }
        let len = bytes.array().map(u32::from_be_bytes).ok_or(ErrorKind::UnexpectedEof)?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        block(bytes.take(len).map_err(invalid)?, max, out)?;
    }
    Ok(())
}

fn block(stored: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let start = out.len();
    let len = decompress_len(stored).map_err(invalid)?;
    let end = start.checked_add(len).filter(|&end| end <= max).ok_or(Failure::TooLarge)?;
    out.resize(end, 0);
    let target = out.get_mut(start..).unwrap_or_default();
    Decoder::new().decompress(stored, target).map_err(invalid)?;
    Ok(())
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Invalid(io::Error::new(ErrorKind::InvalidData, error))
}

const XERIAL_MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
/// The magic, a version and the lowest compatible version.
const XERIAL_HEADER_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(bytes: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(bytes).unwrap()
    }

    fn xerial(blocks: &[&[u8]]) -> Vec<u8> {
        let mut wire = [&XERIAL_MAGIC[..], &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
        for block in blocks {
            let block = raw(block);
            wire.extend_from_slice(&u32::try_from(block.len()).unwrap().to_be_bytes());
            wire.extend_from_slice(&block);
        }
        wire
    }

    #[track_caller]
    fn check(wire: &[u8], want: &[u8]) {
        let mut out = Vec::new();
        decompress(wire, want.len(), &mut out).unwrap();
        assert_eq!(out, want);
        if let Some(too_few) = want.len().checked_sub(1) {
            let short = decompress(wire, too_few, &mut Vec::new());
            assert!(matches!(short, Err(Failure::TooLarge)), "{short:?}");
        }
    }

    #[test]
    fn raw_blocks_and_streams_are_read() {
        check(&raw(b"hello"), b"hello");
        check(&raw(b""), b"");
        check(&xerial(&[]), b"");
        check(&xerial(&[b"hello"]), b"hello");
        check(&xerial(&[b"hello, ", b"", b"world"]), b"hello, world");
        check(&[xerial(&[b"one "]), xerial(&[b"stream"])].concat(), b"one stream");
    }

    #[test]
    fn truncated_stream_and_block_over_the_limit_are_rejected() {
        let wire = xerial(&[b"hello, ", b"world"]);
        let block_ends = [16, 16 + 4 + raw(b"hello, ").len(), wire.len()];
        for cut in 1..wire.len() {
            let read = decompress(&wire[..cut], 100, &mut Vec::new());
            assert_eq!(read.is_ok(), block_ends.contains(&cut), "cut at byte {cut}: {read:?}");
        }
        let four_gib = [0xFF, 0xFF, 0xFF, 0xFF, 0x0F];
        let mut out = Vec::new();
        assert!(matches!(decompress(&four_gib, 1 << 20, &mut out), Err(Failure::TooLarge)));
        assert_eq!(out.capacity(), 0);
    }
}
