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
