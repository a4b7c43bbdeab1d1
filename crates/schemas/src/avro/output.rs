//! JSON text of at most as many bytes as the caller has for it.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::DecodeError;

pub(super) struct Output<'a> {
    out: &'a mut Vec<u8>,
    /// The length that `out` never exceeds.
    end: usize,
    /// The bytes of JSON, at most, for the error.
    max: usize,
}

impl<'a> Output<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>, max: usize) -> Self {
        Self { end: out.len().saturating_add(max), out, max }
    }

    /// Bytes that still fit.
    pub(super) fn left(&self) -> usize {
        self.end - self.out.len()
    }

    #[cold]
    pub(super) fn too_large(&self) -> DecodeError {
        DecodeError(format!("the JSON has more than {} bytes", self.max))
    }

    /// Text that is JSON already.
    #[inline]
    pub(super) fn raw(&mut self, json: &[u8]) -> Result<(), DecodeError> {
        if json.len() > self.left() {
            return Err(self.too_large());
        }
        self.out.extend_from_slice(json);
        Ok(())
    }

    /// A number or string.
    pub(super) fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), DecodeError> {
        serde_json::to_writer(&mut *self, value).map_err(|_| self.too_large())
    }

    /// A string of ASCII characters that need no escape.
    pub(super) fn quoted(&mut self, text: &[u8]) -> Result<(), DecodeError> {
        self.raw(b"\"")?;
        self.raw(text)?;
        self.raw(b"\"")
    }

    pub(super) fn base64(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        if bytes.len() / 3 * 4 > self.left() {
            return Err(self.too_large());
        }
        self.quoted(STANDARD.encode(bytes).as_bytes())
    }

    /// Zeros among digits, which can be more than there is memory for.
    pub(super) fn zeros(&mut self, count: usize) -> Result<(), DecodeError> {
        if count > self.left() {
            return Err(self.too_large());
        }
        self.out.resize(self.out.len() + count, b'0');
        Ok(())
    }
}

impl io::Write for Output<'_> {
    fn write(&mut self, json: &[u8]) -> io::Result<usize> {
        self.write_all(json).map(|()| json.len())
    }

    fn write_all(&mut self, json: &[u8]) -> io::Result<()> {
        self.raw(json).map_err(|_| io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
