//! RFC 6455 frames: decodes a client's bytes into headers and unmasked payload, and encodes headers for frames to a
//! client.

use crate::session_error::SessionError;

/// The kind of a frame (RFC 6455, section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the RFC's own names")]
pub enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    /// Close, Ping or Pong (section 5.5).
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    fn parse(bits: u8) -> Result<Self, SessionError> {
        match bits {
            0x0 => Ok(Self::Continuation),
            0x1 => Ok(Self::Text),
            0x2 => Ok(Self::Binary),
            0x8 => Ok(Self::Close),
            0x9 => Ok(Self::Ping),
            0xA => Ok(Self::Pong),
            _ => Err(SessionError::Protocol("reserved opcode")),
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }
}

/// A client's frame, before its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whether this is the last frame of its message.
    pub fin: bool,
    /// The kind of the frame.
    pub opcode: Opcode,
    /// Payload bytes that follow; at most 125 in a control frame.
    pub len: u64,
    mask: [u8; 4],
}

/// A part of a client's bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A frame begins.
    Head(Header),
    /// Payload of the frame that began last, unmasked.
    Payload {
        /// The bytes that have arrived.
        bytes: &'a [u8],
        /// Whether the frame ends here. An empty frame has one empty part.
        last: bool,
    },
}

/// Decodes a client's bytes, in pieces of any size.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The bytes of an unfinished header.
    head: [u8; MAX_HEAD],
    /// Invariant: `have` < `MAX_HEAD`.
    have: usize,
    /// The frame whose payload is being read, and the number of payload bytes read. Invariant: at most the frame's
    /// `len`.
    current: Option<(Header, u64)>,
}

impl Decoder {
    /// Takes the next part off the front of `input`; None if more bytes are needed.
    ///
    /// # Errors
    /// The client broke RFC 6455, section 5. The decoder must not be used after that.
    pub fn next<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Part<'a>>, SessionError> {
        match self.current {
            Some((header, taken)) => Ok(self.payload(header, taken, input)),
            None => Ok(self.header(input)?.map(Part::Head)),
        }
    }

    /// The kind of the frame whose payload is being read.
    pub fn opcode(&self) -> Option<Opcode> {
        self.current.map(|(header, _)| header.opcode)
    }

    fn header(&mut self, input: &mut &mut [u8]) -> Result<Option<Header>, SessionError> {
        loop {
            let need = match self.head.get(..self.have) {
                Some([first, second, ..]) => {
                    let need = head_len(*second);
                    if self.have == need {
                        break;
                    }
                    check_start(*first, *second)?;
                    need
                }
                _ => 2,
            };
            let Some((taken, rest)) = std::mem::take(input).split_at_mut_checked(1) else {
                return Ok(None);
            };
            *input = rest;
            if let (Some(slot), [byte]) = (self.head.get_mut(self.have), &*taken) {
                *slot = *byte;
            }
            self.have = self.have.saturating_add(1).min(need);
        }
        let header = parse_header(self.head)?;
        self.have = 0;
        self.current = Some((header, 0));
        Ok(Some(header))
    }

    fn payload<'a>(&mut self, header: Header, taken: u64, input: &mut &'a mut [u8]) -> Option<Part<'a>> {
        let missing = header.len.saturating_sub(taken);
        if input.is_empty() && missing > 0 {
            return None;
        }
        let here = usize::try_from(missing).unwrap_or(usize::MAX).min(input.len());
        let (bytes, rest) = std::mem::take(input).split_at_mut_checked(here)?;
        *input = rest;
        unmask(bytes, header.mask, taken);
        let taken = taken.saturating_add(u64::try_from(here).unwrap_or(u64::MAX));
        let last = taken >= header.len;
        self.current = if last { None } else { Some((header, taken)) };
        Some(Part::Payload { bytes, last })
    }
}

/// Header of an unfragmented frame to a client with `len` bytes of payload (section 5.1: never masked).
pub fn server_header(opcode: Opcode, len: u64, out: &mut Vec<u8>) {
    out.push(0x80 | opcode.bits());
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ 0..=125), _) => out.push(len),
        (_, Ok(len)) => {
            out.push(126);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
}

/// Checks the first two bytes of a header, before the rest has arrived.
fn check_start(first: u8, second: u8) -> Result<Opcode, SessionError> {
    // RFC 6455, section 5.2: "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values"
    if first & 0x70 != 0 {
        return Err(SessionError::Protocol("reserved bits set"));
    }
    // RFC 6455, section 5.1: "The server MUST close the connection upon receiving a frame that is not masked"
    if second & 0x80 == 0 {
        return Err(SessionError::Protocol("frame without a mask"));
    }
    let opcode = Opcode::parse(first & 0x0F)?;
    if opcode.is_control() {
        // RFC 6455, section 5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be
        // fragmented"
        if first & 0x80 == 0 {
            return Err(SessionError::Protocol("fragmented control frame"));
        }
        if second & 0x7F > 125 {
            return Err(SessionError::Protocol("control frame over 125 bytes"));
        }
    }
    Ok(opcode)
}

/// Bytes of a masked header whose second byte is `second`.
fn head_len(second: u8) -> usize {
    match second & 0x7F {
        126 => 8,
        127 => MAX_HEAD,
        _ => 6,
    }
}

fn parse_header(head: [u8; MAX_HEAD]) -> Result<Header, SessionError> {
    let [first, second, a, b, c, d, e, f, g, h, i, j, k, l] = head;
    let opcode = check_start(first, second)?;
    let (len, mask) = match second & 0x7F {
        126 => (u64::from(u16::from_be_bytes([a, b])), [c, d, e, f]),
        127 => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), [i, j, k, l]),
        len => (u64::from(len), [a, b, c, d]),
    };
    // RFC 6455, section 5.2: "the most significant bit MUST be 0"
    if len > i64::MAX.unsigned_abs() {
        return Err(SessionError::Protocol("payload length over 63 bits"));
    }
    // The same: "the minimal number of bytes MUST be used to encode the length"
    let least = match second & 0x7F {
        126 => 126,
        127 => 0x1_0000,
        _ => 0,
    };
    if len < least {
        return Err(SessionError::Protocol("payload length is not in its shortest form"));
    }
    Ok(Header { fin: first & 0x80 != 0, opcode, len, mask })
}

/// Section 5.3; `position` is where `bytes` begin within the payload.
fn unmask(bytes: &mut [u8], mut mask: [u8; 4], position: u64) {
    mask.rotate_left(usize::try_from(position % 4).unwrap_or(0));
    let (words, tail) = bytes.as_chunks_mut::<4>();
    for word in words {
        for (byte, key) in word.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
    for (byte, key) in tail.iter_mut().zip(mask) {
        *byte ^= key;
    }
}

/// Two bytes, eight of length, four of mask.
const MAX_HEAD: usize = 14;

#[cfg(test)]
pub(crate) mod tests;
