//! Reads the primitive types of Kafka's protocol from a response.
//!
//! Lengths and counts are checked against the received bytes before anything is allocated. (`kafka-protocol`'s decoders
//! allocate the announced number of elements first, up to hundreds of gigabytes: a response of something other than a
//! broker would abort the process.)

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};

/// The unread rest of a response.
pub(crate) struct Wire {
    rest: Bytes,
    /// Whether lengths are varints and structures end with tagged fields (KIP-482).
    flexible: bool,
    throttle_time: Duration,
}

/// The bytes do not match the version of the response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("response ends {missing} bytes before the end of a field")]
    Short { missing: usize },
    #[error("array of {count} elements in the last {left} bytes of a response")]
    Count { count: i64, left: usize },
    #[error("invalid length {0}")]
    Length(i64),
    #[error("varint exceeds 32 bits")]
    Varint,
    #[error("name is not valid UTF-8")]
    Utf8,
    #[error("response without the requested partition")]
    Partition,
    #[error("response without the requested group")]
    Group,
    #[error("throttled for {} s because a quota is exceeded", .0.as_secs_f64())]
    Throttled(Duration),
}

impl Wire {
    pub(crate) fn new(rest: Bytes, flexible: bool) -> Self {
        Self { rest, flexible, throttle_time: Duration::ZERO }
    }

    /// Reads the throttle time. Before KIP-219 (`honoured` is false) brokers let it pass before they answered.
    pub(crate) fn take_throttle_time(&mut self, honoured: bool) -> Result<(), WireError> {
        let millis = u64::try_from(self.i32()?).unwrap_or(0);
        if honoured {
            self.throttle_time = Duration::from_millis(millis);
        }
        Ok(())
    }

    /// The result of [`take_throttle_time`](Self::take_throttle_time).
    pub(crate) fn throttle_time(&self) -> Duration {
        self.throttle_time
    }

    pub(crate) fn i8(&mut self) -> Result<i8, WireError> {
        self.rest.try_get_i8().map_err(short)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, WireError> {
        self.rest.try_get_i16().map_err(short)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, WireError> {
        self.rest.try_get_i32().map_err(short)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, WireError> {
        self.rest.try_get_i64().map_err(short)
    }

    /// A UUID; the zero UUID means none.
    pub(crate) fn uuid(&mut self) -> Result<Option<u128>, WireError> {
        self.rest.try_get_u128().map(|id| Some(id).filter(|id| *id != 0)).map_err(short)
    }

    pub(crate) fn skip(&mut self, len: usize) -> Result<(), WireError> {
        self.take(len).map(drop)
    }

    /// STRING, NULLABLE_STRING and their compact forms; null is empty.
    pub(crate) fn string(&mut self) -> Result<String, WireError> {
        let len = if self.flexible { self.compact_len()? } else { length(self.i16()?.into())? };
        let bytes = self.take(len)?;
        std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| WireError::Utf8)
    }

    /// A [`string`](Self::string) that is not empty, if there is one.
    pub(crate) fn name(&mut self) -> Result<Option<Arc<str>>, WireError> {
        Ok(Some(self.string()?).filter(|name| !name.is_empty()).map(Arc::from))
    }

    /// BYTES, RECORDS and their compact forms, without copying; null is empty.
    pub(crate) fn bytes(&mut self) -> Result<Bytes, WireError> {
        let len = if self.flexible { self.compact_len()? } else { length(self.i32()?.into())? };
        self.take(len)
    }

    /// The number of elements of an array whose elements take at least `min_len` bytes each; null is none.
    pub(crate) fn array(&mut self, min_len: usize) -> Result<usize, WireError> {
        let count = if self.flexible { self.compact_len()? } else { length(self.i32()?.into())? };
        let left = self.rest.len();
        if count.checked_mul(min_len.max(1)).is_none_or(|least| least > left) {
            return Err(WireError::Count { count: i64::try_from(count).unwrap_or(i64::MAX), left });
        }
        Ok(count)
    }

    /// Skips the tagged fields at the end of a structure; none of them is used.
    pub(crate) fn end(&mut self) -> Result<(), WireError> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            self.varint()?;
            let len = self.varint()?;
            self.skip(usize::try_from(len).unwrap_or(usize::MAX))?;
        }
        Ok(())
    }

    /// A length that is encoded as one more; 0 means null.
    fn compact_len(&mut self) -> Result<usize, WireError> {
        Ok(usize::try_from(self.varint()?.saturating_sub(1)).unwrap_or(usize::MAX))
    }

    fn varint(&mut self) -> Result<u32, WireError> {
        let mut value: u64 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.rest.try_get_u8().map_err(short)?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| WireError::Varint);
            }
        }
        Err(WireError::Varint)
    }

    fn take(&mut self, len: usize) -> Result<Bytes, WireError> {
        match len.checked_sub(self.rest.len()) {
            None | Some(0) => Ok(self.rest.split_to(len)),
            Some(missing) => Err(WireError::Short { missing }),
        }
    }
}

/// A length; −1 means null.
fn length(len: i64) -> Result<usize, WireError> {
    if len == -1 { Ok(0) } else { usize::try_from(len).map_err(|_| WireError::Length(len)) }
}

fn short(error: bytes::TryGetError) -> WireError {
    WireError::Short { missing: error.requested.saturating_sub(error.available) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(bytes: &'static [u8], flexible: bool) -> Wire {
        Wire::new(Bytes::from_static(bytes), flexible)
    }

    #[test]
    fn both_string_forms_are_read_within_their_response() {
        for (bytes, flexible, want) in [
            (&[0, 2, b'a', b'b'][..], false, Ok("ab")),
            (&[3, b'a', b'b'], true, Ok("ab")),
            (&[0xFF, 0xFF], false, Ok("")),
            (&[0], true, Ok("")),
            (&[0, 1, 0xFF], false, Err(WireError::Utf8)),
            (&[0, 3, b'a'], false, Err(WireError::Short { missing: 2 })),
            (&[0xFF, 0xFE], false, Err(WireError::Length(-2))),
        ] {
            assert_eq!(wire(bytes, flexible).string().as_deref(), want.as_ref().copied());
        }
        let too_long = wire(&[0x7F, 0xFF, 0xFF, 0xFF, 1], false).bytes();
        assert_eq!(too_long, Err(WireError::Short { missing: 0x7FFF_FFFE }));
    }

    #[test]
    fn counts_beyond_the_response_and_long_varints_are_rejected() {
        assert_eq!(wire(&[0, 0, 0, 2, 0, 0], false).array(1), Ok(2));
        assert_eq!(wire(&[0, 0, 0, 2, 0, 0], false).array(2), Err(WireError::Count { count: 2, left: 2 }));
        let count = i64::from(u32::MAX - 1);
        let announced = wire(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0], true).array(1);
        assert_eq!(announced, Err(WireError::Count { count, left: 1 }));
        assert_eq!(wire(&[0xFF, 0xFF, 0xFF, 0xFF, 0x1F], true).array(1), Err(WireError::Varint));
        assert_eq!(wire(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00], true).array(1), Err(WireError::Varint));
        assert_eq!(wire(&[0x80], true).array(1), Err(WireError::Short { missing: 1 }));
    }

    #[test]
    fn tagged_fields_are_skipped() {
        let mut wire = wire(&[2, 0, 1, 9, 5, 2, 9, 9, 7], true);
        assert_eq!(wire.end(), Ok(()));
        assert_eq!(wire.i8(), Ok(7));
    }
}
