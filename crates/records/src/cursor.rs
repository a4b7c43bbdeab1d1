//! Reads Kafka's fixed and variable-length numbers from a byte slice.

use crate::RecordFault;

/// The unread bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next `N` bytes: a big-endian number, for `from_be_bytes`.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*head)
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], RecordFault> {
        let cut_off = RecordFault::CutOff { needs: len, left: self.rest.len() };
        let (head, rest) = self.rest.split_at_checked(len).ok_or(cut_off)?;
        self.rest = rest;
        Ok(head)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<i32, RecordFault> {
        let value = self.unsigned_varint(VARINT_BYTES, i32::BITS)?;
        let value = u32::try_from(value).map_err(|_| RecordFault::Varint { bits: i32::BITS })?;
        Ok((value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg())
    }

    #[inline]
    pub(crate) fn varlong(&mut self) -> Result<i64, RecordFault> {
        let value = self.unsigned_varint(VARLONG_BYTES, i64::BITS)?;
        Ok((value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg())
    }

    #[inline]
    fn unsigned_varint(&mut self, max_bytes: usize, bits: u32) -> Result<u64, RecordFault> {
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < CONTINUES => {
                self.rest = rest;
                Ok(byte.into())
            }
            _ => self.long_varint(max_bytes, bits),
        }
    }

    fn long_varint(&mut self, max_bytes: usize, bits: u32) -> Result<u64, RecordFault> {
        let mut value = 0_u64;
        let mut rest = self.rest;
        for shift in (0..u64::BITS).step_by(7).take(max_bytes) {
            let Some((&byte, after)) = rest.split_first() else {
                return Err(RecordFault::CutOff { needs: 1, left: 0 });
            };
            rest = after;
            let part = u64::from(byte & !CONTINUES);
            let shifted = part.wrapping_shl(shift);
            if shifted.wrapping_shr(shift) != part {
                break;
            }
            value |= shifted;
            if byte < CONTINUES {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err(RecordFault::Varint { bits })
    }
}

/// The bit of a byte that says that another one follows.
const CONTINUES: u8 = 0x80;
/// The longest form of a 32-bit number.
const VARINT_BYTES: usize = 5;
/// The longest form of a 64-bit number.
const VARLONG_BYTES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_zigzag_little_endian() {
        let too_long = Err(RecordFault::Varint { bits: 32 });
        for (wire, want) in [
            (&[0][..], Ok(0)),
            (&[1], Ok(-1)),
            (&[2], Ok(1)),
            (&[0x7E], Ok(63)),
            (&[0x7F], Ok(-64)),
            (&[0x80, 0x01], Ok(64)),
            (&[0xFE, 0xFF, 0xFF, 0xFF, 0x0F], Ok(i32::MAX)),
            (&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F], Ok(i32::MIN)),
            (&[0xFF, 0xFF, 0xFF, 0xFF, 0x1F], too_long),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00], too_long),
        ] {
            assert_eq!(Cursor::new(wire).varint(), want);
        }
        let too_long = Err(RecordFault::Varint { bits: 64 });
        for (first, middle, last, want) in [
            (0xFE, 0xFF, &[0x01][..], Ok(i64::MAX)),
            (0xFF, 0xFF, &[0x01], Ok(i64::MIN)),
            (0xFF, 0xFF, &[0x02], too_long),
            (0x80, 0x80, &[0x80, 0x00], too_long),
        ] {
            let wire = [&[first], &[middle; 8][..], last].concat();
            assert_eq!(Cursor::new(&wire).varlong(), want, "{wire:?}");
        }
    }

    #[test]
    fn truncated_varint_is_rejected() {
        let cut_off = RecordFault::CutOff { needs: 1, left: 0 };
        for len in 0..9 {
            let wire = &[0xFF; 9][..len];
            assert_eq!(Cursor::new(wire).varlong(), Err(cut_off));
            assert_eq!(Cursor::new(&wire[..len.min(4)]).varint(), Err(cut_off));
        }
    }
}
