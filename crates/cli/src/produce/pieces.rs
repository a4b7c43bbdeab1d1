//! The input of `produce`, in pieces.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::failure::Failure;

/// Splits input at a delimiter. Holds one read and one incomplete record.
pub(super) struct Pieces {
    input: Box<dyn AsyncRead + Unpin>,
    delimiter: Bytes,
    unread: BytesMut,
    /// `unread` has no delimiter before this index.
    searched: usize,
    ended: bool,
    put_back: Option<Bytes>,
}

impl Pieces {
    pub(super) fn new(input: Box<dyn AsyncRead + Unpin>, delimiter: &[u8]) -> Self {
        let delimiter = Bytes::copy_from_slice(delimiter);
        Self { input, delimiter, unread: BytesMut::new(), searched: 0, ended: false, put_back: None }
    }

    /// The next complete piece; `None` if more must be [read](Self::read) first, or the input has ended.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        if self.put_back.is_some() {
            return self.put_back.take();
        }
        match self.find() {
            Some(at) => {
                let piece = self.unread.split_to(at).freeze();
                let _ = self.unread.split_to(self.delimiter.len());
                self.searched = 0;
                Some(piece)
            }
            None if self.ended && !self.unread.is_empty() => {
                self.searched = 0;
                Some(self.unread.split().freeze())
            }
            None => {
                self.searched = self.unread.len().saturating_sub(self.delimiter.len());
                None
            }
        }
    }

    /// The next piece, [read](Self::read) where it is not complete; `None` at the end of the input.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn wait(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let piece = self.next();
            if piece.is_some() || self.ended {
                return Ok(piece);
            }
            self.read().await?;
        }
    }

    /// Bytes of the input that `piece` and its delimiter take.
    pub(super) fn extent(&self, piece: &Bytes) -> usize {
        piece.len().saturating_add(self.delimiter.len())
    }

    /// Makes `piece` the next one again.
    pub(super) fn put_back(&mut self, piece: Bytes) {
        self.put_back = Some(piece);
    }

    /// Reads more; false at the end of the input.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn read(&mut self) -> Result<bool, Failure> {
        if self.unread.len() > MAX_PIECE {
            return Err(Failure::Input(format!("a record of more than {MAX_PIECE} bytes")));
        }
        self.unread.reserve(READ_BYTES);
        let read = self.input.read_buf(&mut self.unread).await;
        let read = read.map_err(|why| Failure::Input(format!("the input: {why}")))?;
        self.ended = read == 0;
        Ok(!self.ended)
    }

    fn find(&self) -> Option<usize> {
        let unsearched = self.unread.get(self.searched..)?;
        let at = match &self.delimiter[..] {
            [] => None,
            [byte] => unsearched.iter().position(|other| other == byte),
            bytes => unsearched.windows(bytes.len()).position(|other| other == bytes),
        };
        self.searched.checked_add(at?)
    }
}

/// Far more than a gateway accepts: the delimiter may be wrong.
const MAX_PIECE: usize = 64 * 1024 * 1024;
const READ_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the pieces of `input`, cut into two reads at every byte.
    #[track_caller]
    fn check(input: &[u8], delimiter: &[u8], want: &[&[u8]]) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for cut in 0..=input.len() {
            let (head, tail) = input.split_at(cut);
            let reads = std::io::Cursor::new(head.to_vec()).chain(std::io::Cursor::new(tail.to_vec()));
            let mut pieces = Pieces::new(Box::new(reads), delimiter);
            let mut seen = Vec::new();
            loop {
                while let Some(piece) = pieces.next() {
                    seen.push(piece);
                }
                if !runtime.block_on(pieces.read()).unwrap() {
                    break;
                }
            }
            seen.extend(pieces.next());
            assert_eq!(seen, want, "cut at byte {cut}");
        }
    }

    #[test]
    fn input_is_cut_at_each_delimiter() {
        check(b"", b"\n", &[]);
        check(b"a\nb\n", b"\n", &[b"a", b"b"]);
        check(b"a\n\nb", b"\n", &[b"a", b"", b"b"]);
        check(b"a--b-c--", b"--", &[b"a", b"b-c"]);
        check(b"a\nb\n", b"", &[b"a\nb\n"]);
    }
}
