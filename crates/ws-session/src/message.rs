//! Frames become messages, in bounded memory (RFC 6455, sections 5.4 and 5.5).

use std::borrow::Cow;
use std::sync::Arc;

use crate::budget::{Budget, Buffer, BufferError};
use crate::frame::{Header, Opcode, Part};
use crate::session_error::SessionError;
use sluicegate_fair_share::ClientKey;

/// A whole message or control frame from a client. Its payload is borrowed if it arrived in one piece.
#[derive(Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the RFC's own names")]
pub enum Message<'a> {
    Binary(Cow<'a, [u8]>),
    Text(Cow<'a, [u8]>),
    Close(Cow<'a, [u8]>),
    Ping(Cow<'a, [u8]>),
    Pong(Cow<'a, [u8]>),
}

/// Assembles the messages of one session from frames.
#[derive(Debug)]
pub struct Assembler {
    max: usize,
    /// Whether the frame being read is the last of its message.
    fin: bool,
    /// The opcode of the frame being read.
    opcode: Opcode,
    /// Text or Binary while a message is unfinished.
    fragmented: Option<Opcode>,
    /// The number of messages begun so far.
    begun: u64,
    /// Payload of the unfinished message, at most `max` bytes.
    buffer: Buffer,
    /// Payload of an unfinished control frame: at most 125 bytes.
    control: Vec<u8>,
}

impl Assembler {
    /// Assembles messages of at most `max` bytes from a client at `source`. Unfinished ones count against `budget`.
    pub fn new(max: usize, budget: &Arc<Budget>, source: ClientKey) -> Self {
        Self {
            max,
            fin: true,
            opcode: Opcode::Binary,
            fragmented: None,
            begun: 0,
            buffer: Buffer::new(budget, source),
            control: Vec::new(),
        }
    }

    /// The message that `part` completes, if any.
    ///
    /// # Errors
    /// Frames in an order that section 5.4 forbids, a message over the limit (refused by its header, before its
    /// payload), or a payload that was evicted.
    pub fn push<'a>(&mut self, part: Part<'a>) -> Result<Option<Message<'a>>, SessionError> {
        match part {
            Part::Head(header) => self.begin(header).map(|()| None),
            Part::Payload { bytes, last } if self.opcode.is_control() => Ok(self.control(bytes, last)),
            Part::Payload { bytes, last } => self.data(bytes, last),
        }
    }

    /// The number of the unfinished message, if there is one. Numbers begin at 1.
    pub fn unfinished(&self) -> Option<u64> {
        self.fragmented.map(|_| self.begun)
    }

    /// Whether the unfinished message was evicted.
    pub fn is_evicted(&self) -> bool {
        self.buffer.is_evicted()
    }

    /// Drops the unfinished message and frees its memory. Nothing is pushed after this.
    pub fn give_up(&mut self) {
        self.fragmented = None;
        let _ = self.buffer.take();
    }

    fn begin(&mut self, header: Header) -> Result<(), SessionError> {
        self.fin = header.fin;
        self.opcode = header.opcode;
        match (header.opcode, self.fragmented) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => return Ok(()),
            (Opcode::Continuation, None) => {
                return Err(SessionError::Protocol("continuation without a first frame"));
            }
            (Opcode::Continuation, Some(_)) => {}
            // RFC 6455, section 5.4: "The fragments of one message MUST NOT be interleaved between the fragments of
            // another message"
            (_, Some(_)) => return Err(SessionError::Protocol("new message inside a fragmented one")),
            (opcode, None) => {
                self.fragmented = Some(opcode);
                self.begun = self.begun.wrapping_add(1);
            }
        }
        let len = usize::try_from(header.len).unwrap_or(usize::MAX).saturating_add(self.buffer.len());
        if len > self.max {
            return Err(SessionError::MessageTooBig { max: self.max });
        }
        Ok(())
    }

    fn control<'a>(&mut self, bytes: &'a [u8], last: bool) -> Option<Message<'a>> {
        if !last {
            self.control.extend_from_slice(bytes);
            return None;
        }
        let payload = join(std::mem::take(&mut self.control), bytes);
        match self.opcode {
            Opcode::Close => Some(Message::Close(payload)),
            Opcode::Ping => Some(Message::Ping(payload)),
            Opcode::Pong => Some(Message::Pong(payload)),
            Opcode::Continuation | Opcode::Text | Opcode::Binary => None,
        }
    }

    fn data<'a>(&mut self, bytes: &'a [u8], last: bool) -> Result<Option<Message<'a>>, SessionError> {
        let complete = last && self.fin;
        let payload = if complete && self.buffer.is_empty() {
            Cow::Borrowed(bytes)
        } else {
            self.buffer.append(bytes, self.max)?;
            if !complete {
                return Ok(None);
            }
            Cow::Owned(self.buffer.take()?)
        };
        match self.fragmented.take() {
            Some(Opcode::Text) => Ok(Some(Message::Text(payload))),
            _ => Ok(Some(Message::Binary(payload))),
        }
    }
}

impl From<BufferError> for SessionError {
    fn from(error: BufferError) -> Self {
        match error {
            BufferError::Evicted => Self::Evicted,
            BufferError::OutOfMemory => Self::OutOfMemory,
        }
    }
}

fn join(mut head: Vec<u8>, tail: &[u8]) -> Cow<'_, [u8]> {
    if head.is_empty() {
        return Cow::Borrowed(tail);
    }
    head.extend_from_slice(tail);
    Cow::Owned(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Decoder;
    use crate::frame::tests::masked;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// First byte and payload of each frame, masked with zeroes.
    fn wire(frames: &[(u8, &[u8])]) -> Vec<u8> {
        frames.iter().flat_map(|(first, payload)| masked(*first, payload, [0; 4])).collect()
    }

    fn messages(pieces: &[&[u8]], max: usize, budget: &Arc<Budget>) -> Result<Vec<String>, SessionError> {
        let (mut decoder, mut assembler) =
            (Decoder::default(), Assembler::new(max, budget, ClientKey::default()));
        let mut found = Vec::new();
        for piece in pieces {
            let mut piece = piece.to_vec();
            let mut rest = piece.as_mut_slice();
            while let Some(part) = decoder.next(&mut rest)? {
                let Some(message) = assembler.push(part)? else { continue };
                let (kind, payload) = match &message {
                    Message::Binary(payload) => ("binary", payload),
                    Message::Text(payload) => ("text", payload),
                    Message::Close(payload) => ("close", payload),
                    Message::Ping(payload) => ("ping", payload),
                    Message::Pong(payload) => ("pong", payload),
                };
                found.push(format!("{kind} {}", String::from_utf8_lossy(payload)));
            }
        }
        Ok(found)
    }

    #[track_caller]
    fn check(frames: &[(u8, &[u8])], want: &[&str]) {
        let wire = wire(frames);
        for cut in 0..=wire.len() {
            let budget = Budget::new(8000, 1000);
            let (head, tail) = wire.split_at(cut);
            assert_eq!(messages(&[head, tail], 100, &budget).unwrap(), want, "cut at byte {cut}");
            assert_eq!(budget.used(), 0, "cut at byte {cut}");
        }
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(messages(&bytes, 100, &Budget::new(8000, 1000)).unwrap(), want, "byte by byte");
    }

    #[test]
    fn frames_become_messages_at_any_cut() {
        check(&[(0x82, b"one"), (0x81, b"two"), (0x82, b"")], &["binary one", "text two", "binary "]);
        check(&[(0x02, b"fr"), (0x00, b"ag"), (0x00, b""), (0x80, b"ments")], &["binary fragments"]);
        check(&[(0x01, b""), (0x80, b"late")], &["text late"]);
        check(&[(0x88, b"\x03\xe8bye")], &["close \u{3}\u{fffd}bye"]);
    }

    #[test]
    fn control_frames_can_arrive_between_fragments() {
        check(
            &[(0x02, b"a"), (0x89, b"p"), (0x00, b"b"), (0x8A, b"q"), (0x80, b"c")],
            &["ping p", "pong q", "binary abc"],
        );
    }

    #[track_caller]
    fn refused(frames: &[(u8, &[u8])], want: SessionError) {
        assert_eq!(messages(&[&wire(frames)], 8, &Budget::new(8000, 1000)), Err(want));
    }

    #[test]
    fn fragments_out_of_order_are_refused() {
        refused(&[(0x80, b"x")], SessionError::Protocol("continuation without a first frame"));
        refused(&[(0x82, b"x"), (0x80, b"x")], SessionError::Protocol("continuation without a first frame"));
        refused(&[(0x02, b"x"), (0x82, b"x")], SessionError::Protocol("new message inside a fragmented one"));
        refused(&[(0x01, b"x"), (0x01, b"x")], SessionError::Protocol("new message inside a fragmented one"));
    }

    #[test]
    fn message_over_the_limit_is_refused_by_its_header() {
        refused(&[(0x82, b"123456789")], SessionError::MessageTooBig { max: 8 });
        refused(&[(0x02, b"12345"), (0x00, b"6789")], SessionError::MessageTooBig { max: 8 });
        let head_only = &wire(&[(0x82, &[0; 200])])[..8];
        assert_eq!(
            messages(&[head_only], 8, &Budget::new(0, 8)),
            Err(SessionError::MessageTooBig { max: 8 })
        );
        let fits = wire(&[(0x82, b"12345678"), (0x02, b"1234"), (0x80, b"5678")]);
        assert_eq!(messages(&[&fits], 8, &Budget::new(8000, 1000)).unwrap(), ["binary 12345678"; 2]);
    }

    #[test]
    fn unfinished_message_counts_until_its_session_ends() {
        // A share of 10.
        let budget = Budget::new(80, 10);
        let (mut decoder, mut first) =
            (Decoder::default(), Assembler::new(100, &budget, ClientKey::default()));
        let mut bytes = wire(&[(0x02, b"12345678")]);
        let mut rest = bytes.as_mut_slice();
        while let Some(part) = decoder.next(&mut rest).unwrap() {
            assert_eq!(first.push(part), Ok(None));
        }
        assert_eq!(budget.used(), 8);
        assert_eq!(
            messages(&[&wire(&[(0x82, b"12345678901")])], 100, &budget).unwrap(),
            ["binary 12345678901"]
        );
        assert!(!first.is_evicted());

        let second = wire(&[(0x02, b"1234")]);
        assert_eq!(messages(&[&second], 100, &budget).unwrap(), [""; 0]);
        assert!(first.is_evicted());
        let mut bytes = wire(&[(0x80, b"")]);
        let mut rest = bytes.as_mut_slice();
        let mut pushed = Ok(None);
        while let (Ok(None), Some(part)) = (&pushed, decoder.next(&mut rest).unwrap()) {
            pushed = first.push(part);
        }
        assert_eq!(pushed, Err(SessionError::Evicted));

        drop(first);
        assert_eq!(budget.used(), 0);
        let alone = wire(&[(0x02, b"12345678901")]);
        assert_eq!(messages(&[&alone], 100, &budget), Err(SessionError::Evicted));
    }
}
