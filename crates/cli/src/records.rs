//! The records that `produce` reads from its input.

use bytes::{Bytes, BytesMut};
use sluicegate_client::ProduceRecord;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::args::Produce;
use crate::failure::Failure;
use crate::json;

/// Splits input at a delimiter. Holds one read and one incomplete record.
pub(crate) struct Pieces {
    input: Box<dyn AsyncRead + Unpin>,
    delimiter: Bytes,
    unread: BytesMut,
    /// `unread` has no delimiter before this index.
    searched: usize,
    ended: bool,
    put_back: Option<Bytes>,
}

impl Pieces {
    pub(crate) fn new(input: Box<dyn AsyncRead + Unpin>, delimiter: &[u8]) -> Self {
        let delimiter = Bytes::copy_from_slice(delimiter);
        Self { input, delimiter, unread: BytesMut::new(), searched: 0, ended: false, put_back: None }
    }

    /// The next complete piece; `None` if more must be [read](Self::read) first, or the input has ended.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
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

    /// Bytes of the input that `piece` and its delimiter take.
    pub(crate) fn extent(&self, piece: &Bytes) -> usize {
        piece.len().saturating_add(self.delimiter.len())
    }

    /// Makes `piece` the next one again.
    pub(crate) fn put_back(&mut self, piece: Bytes) {
        self.put_back = Some(piece);
    }

    /// Reads more; false at the end of the input.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn read(&mut self) -> Result<bool, Failure> {
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

/// The record in a piece of input.
pub(crate) fn record(args: &Produce, piece: &Bytes) -> Result<ProduceRecord, String> {
    let mut record = match &args.key_delimiter {
        _ if args.json => json::record(piece)?,
        Some(delimiter) => split(piece, delimiter),
        None => ProduceRecord { value: Some(piece.clone()), ..ProduceRecord::default() },
    };
    if args.null {
        record.key = record.key.filter(|key| !key.is_empty());
        record.value = record.value.filter(|value| !value.is_empty());
    }
    record.topic.clone_from(&args.topic);
    record.partition = args.partition.or(record.partition);
    record.headers.extend_from_slice(&args.record_header);
    Ok(record)
}

/// Key and value; without a delimiter, all of it is the value.
fn split(piece: &Bytes, delimiter: &[u8]) -> ProduceRecord {
    let at = piece.windows(delimiter.len().max(1)).position(|other| other == delimiter);
    let (key, value) = match at {
        Some(at) => (Some(piece.slice(..at)), piece.slice(at.saturating_add(delimiter.len())..)),
        None => (None, piece.clone()),
    };
    ProduceRecord { key, value: Some(value), ..ProduceRecord::default() }
}

/// Far more than a gateway accepts: the delimiter may be wrong.
const MAX_PIECE: usize = 64 * 1024 * 1024;
const READ_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn args(args: &[&str]) -> Produce {
        let all = ["sluicegate", "produce", "orders"].iter().chain(args);
        match Args::try_parse_from(all).unwrap().command {
            Command::Produce(produce) => produce,
            other => panic!("{other:?}"),
        }
    }

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

    #[test]
    fn line_is_a_value_or_a_key_and_a_value() {
        let of = |options: &[&str], line: &'static str| {
            let record = record(&args(options), &Bytes::from(line)).unwrap();
            (record.key, record.value)
        };
        let some = |text: &'static str| Some(Bytes::from(text));
        assert_eq!(of(&[], "k:v"), (None, some("k:v")));
        assert_eq!(of(&["-K", ":"], "k:v:w"), (some("k"), some("v:w")));
        assert_eq!(of(&["-K", "::"], "k:v"), (None, some("k:v")));
        assert_eq!(of(&["-K", ":"], ":"), (some(""), some("")));
        assert_eq!(of(&["-K", ":", "-Z"], ":"), (None, None));
        assert_eq!(of(&["-Z"], ""), (None, None));
    }

    #[test]
    fn options_apply_to_every_record() {
        let line = Bytes::from(r#"{"topic":"other","partition":4,"payload":"v","headers":["own",null]}"#);
        let plain = record(&args(&["-J"]), &line).unwrap();
        assert_eq!((plain.topic.as_str(), plain.partition), ("orders", Some(4)));
        assert_eq!(plain.headers.len(), 1);
        let options = args(&["-J", "-p", "-1", "-r", "a=b=c", "-r", "d="]);
        let chosen = record(&options, &line).unwrap();
        assert_eq!(chosen.partition, Some(-1));
        let headers: Vec<_> = chosen.headers.iter().map(|h| (h.key.as_str(), h.value.as_deref())).collect();
        assert_eq!(headers, [("own", None), ("a", Some(&b"b=c"[..])), ("d", Some(&b""[..]))]);
    }
}
