//! Turns the bridge's gRPC stream into WebSocket frames, without touching the payload.
//!
//! Only the five bytes in front of a message are replaced, by a frame header. A driver that can edit a chunk in place
//! therefore shows only its front ([`Answers::wanted`]) and applies an [`Edit`] to it.

use prost::Message;
use sluicegate_protocol::codec::Codec;
use sluicegate_protocol::control_resp::Control;
use sluicegate_protocol::wire::number::CONTROL;
use sluicegate_protocol::wire::{Fields, Value};
use sluicegate_protocol::{CONTROL_PREFIX, Close, ControlResp, grpc};

use crate::close;
use crate::frame::{Opcode, server_header};

/// A change to the front of a chunk.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// Bytes to remove from the front.
    pub drop: usize,
    /// The bytes to insert in their place.
    pub insert: Vec<u8>,
}

/// Reframes the answers of one session.
#[derive(Debug)]
pub struct Answers {
    /// Of the frames that carry answers.
    opcode: Opcode,
    /// Bytes of the current message that are still to pass unchanged.
    remaining: u64,
    /// The front of the next message: fewer than [`FRONT`] bytes, or an unfinished control message of at most
    /// [`MAX_CONTROL`] bytes and its head.
    front: Vec<u8>,
    closed: bool,
}

impl Answers {
    /// Answers of a session in `codec`.
    pub fn new(codec: Codec) -> Self {
        let opcode = match codec {
            Codec::Protobuf => Opcode::Binary,
            Codec::Json => Opcode::Text,
        };
        Self { opcode, remaining: 0, front: Vec::new(), closed: false }
    }

    /// Whether a Close frame was written. Everything after it is dropped.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Number of the next `size` bytes that [`Answers::step`] needs to see, given that `seen` are known already. Call
    /// it again with as many bytes until it wants no more.
    pub fn wanted(&self, size: usize, seen: &[u8]) -> usize {
        if self.closed || self.remaining >= wide(size) {
            return 0;
        }
        if self.remaining > 0 {
            return size;
        }
        let front_wanted = FRONT.saturating_sub(self.front.len()).min(size);
        if front_wanted == 0 {
            return size;
        }
        if seen.len() < front_wanted {
            return front_wanted;
        }
        let mut front = self.front.clone();
        front.extend(seen.iter().take(front_wanted));
        match next(&front) {
            // The message fills the rest of the chunk: the front is all there is to change.
            Ok(Next::Data { len, .. }) if len >= wide(size.saturating_sub(front_wanted)) => front_wanted,
            Ok(_) | Err(_) => size,
        }
    }

    /// The edit of a chunk of `size` bytes; `seen` are the first [`Answers::wanted`] of them.
    pub fn step(&mut self, size: usize, seen: &[u8]) -> Edit {
        if self.closed {
            return Edit { drop: size, insert: Vec::new() };
        }
        let mut insert = Vec::with_capacity(seen.len().saturating_add(MAX_HEADER));
        let unseen = size.saturating_sub(seen.len());
        let whole = self.read(seen, &mut insert).and_then(|()| {
            self.remaining = self.remaining.checked_sub(wide(unseen)).ok_or(Broken("bytes were skipped"))?;
            Ok(())
        });
        match whole {
            Ok(()) if self.closed => Edit { drop: size, insert },
            Ok(()) => Edit { drop: seen.len(), insert },
            Err(Broken(what)) => {
                let close = Close { code: 1011, reason: format!("broken answer: {what}") };
                self.close(&close, &mut insert);
                Edit { drop: size, insert }
            }
        }
    }

    /// The bridge's stream ended without an error, but without a close: the frames to insert. Inside a message, none
    /// can be.
    pub fn end(&mut self) -> Vec<u8> {
        let mut insert = Vec::new();
        if !self.closed && self.remaining == 0 {
            let close = Close { code: 1012, reason: "the bridge ended the session".into() };
            self.close(&close, &mut insert);
        }
        insert
    }

    fn read(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        while !bytes.is_empty() && !self.closed {
            if self.remaining > 0 {
                let here = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(bytes.len());
                let (pass, rest) = bytes.split_at_checked(here).ok_or(Broken("split"))?;
                out.extend_from_slice(pass);
                self.remaining = self.remaining.saturating_sub(wide(here));
                bytes = rest;
                continue;
            }
            let need = match next(&self.front)? {
                Next::Bytes(need) => need,
                Next::Data { .. } | Next::Control => 0,
            };
            let here = need.saturating_sub(self.front.len()).min(bytes.len());
            let (part, rest) = bytes.split_at_checked(here).ok_or(Broken("split"))?;
            self.front.extend_from_slice(part);
            bytes = rest;
            self.flush(out)?;
        }
        Ok(())
    }

    /// Turns the front into a frame header or a control frame once it is long enough.
    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        match next(&self.front)? {
            Next::Bytes(_) => {}
            Next::Data { total, len } => {
                server_header(self.opcode, total, out);
                out.extend(self.front.iter().skip(grpc::HEAD_LEN));
                self.remaining = len;
                self.front.clear();
            }
            Next::Control => {
                let front = std::mem::take(&mut self.front);
                self.control(front.get(grpc::HEAD_LEN..).unwrap_or_default(), out)?;
            }
        }
        Ok(())
    }

    fn control(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        let broken = Broken("unreadable control message");
        // The decoder of all answers would be a good part of a gateway's program.
        let mut fields = Fields::of(message);
        let Some(Ok((CONTROL, Value::Bytes(control)))) = fields.next() else { return Err(broken) };
        if fields.any(|field| field.is_err()) {
            return Err(broken);
        }
        match ControlResp::decode(control).map_err(|_| broken)?.control {
            Some(Control::Pong(payload)) => frame(Opcode::Pong, &payload, out),
            Some(Control::Ping(payload)) => frame(Opcode::Ping, &payload, out),
            Some(Control::Close(close)) => self.close(&close, out),
            None => return Err(broken),
        }
        Ok(())
    }

    fn close(&mut self, close: &Close, out: &mut Vec<u8>) {
        frame(Opcode::Close, &close::payload(close), out);
        self.closed = true;
        self.front = Vec::new();
    }
}

/// The bridge's stream breaks the protocol.
#[derive(Debug, Clone, Copy)]
struct Broken(&'static str);

/// The kind of a message, as far as its front tells.
enum Next {
    /// Nothing yet: this many bytes are needed.
    Bytes(usize),
    /// An answer for the client of `total` bytes, `len` of which are still to come.
    Data { total: u64, len: u64 },
    /// A whole control message.
    Control,
}

fn next(front: &[u8]) -> Result<Next, Broken> {
    let Some((head, message)) = front.split_first_chunk::<{ grpc::HEAD_LEN }>() else {
        return Ok(Next::Bytes(grpc::HEAD_LEN));
    };
    let total = grpc::message_len(*head).map_err(|_| Broken("compressed message"))?;
    let total = usize::try_from(total).map_err(|_| Broken("message length"))?;
    let prefix = CONTROL_PREFIX.len().min(total);
    if message.len() < prefix {
        return Ok(Next::Bytes(grpc::HEAD_LEN.saturating_add(prefix)));
    }
    if !message.starts_with(&CONTROL_PREFIX) {
        let len = wide(total).saturating_sub(wide(message.len()));
        return Ok(Next::Data { total: wide(total), len });
    }
    match total {
        MAX_CONTROL.. => Err(Broken("control message too long")),
        total if message.len() < total => Ok(Next::Bytes(grpc::HEAD_LEN.saturating_add(total))),
        _ => Ok(Next::Control),
    }
}

/// Writes a control frame to the client. Its payload is cut to what section 5.5 allows.
fn frame(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    let payload = payload.get(..MAX_CONTROL_PAYLOAD).unwrap_or(payload);
    server_header(opcode, wide(payload.len()), out);
    out.extend_from_slice(payload);
}

fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// The bytes that distinguish a control message from an answer: the gRPC head and the prefix.
const FRONT: usize = grpc::HEAD_LEN.saturating_add(CONTROL_PREFIX.len());

/// The longest control message in bytes. It holds a close reason or 125 bytes of payload, and little more.
const MAX_CONTROL: usize = 1024;

/// RFC 6455, section 5.5: "All control frames MUST have a payload length of 125 bytes or less"
const MAX_CONTROL_PAYLOAD: usize = 125;

/// The longest frame header to a client in bytes (section 5.2), unmasked.
const MAX_HEADER: usize = 10;

#[cfg(test)]
mod tests {
    use sluicegate_protocol::pub_sub_resp::Resp;
    use sluicegate_protocol::{PongResp, PubSubResp};

    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn framed(message: &[u8]) -> Vec<u8> {
        [&grpc::head(message.len() as u32)[..], message].concat()
    }

    fn answer(state: &[u8]) -> Vec<u8> {
        let pong = PongResp { state: state.to_vec().into() };
        PubSubResp { sequence: 9, resp: Some(Resp::PongResp(pong)) }.encode_to_vec()
    }

    fn control(control: Control) -> Vec<u8> {
        let control = ControlResp { control: Some(control) };
        PubSubResp { sequence: 0, resp: Some(Resp::Control(control)) }.encode_to_vec()
    }

    fn close(code: u32, reason: &str) -> Vec<u8> {
        control(Control::Close(Close { code, reason: reason.into() }))
    }

    fn ws(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        server_header(opcode, payload.len() as u64, &mut out);
        out.extend_from_slice(payload);
        out
    }

    /// The client's bytes, if the driver shows only what is wanted.
    fn reframe(answers: &mut Answers, chunks: &[&[u8]]) -> Vec<u8> {
        let mut client = Vec::new();
        for chunk in chunks {
            let mut seen = 0;
            loop {
                let wanted = answers.wanted(chunk.len(), &chunk[..seen]);
                assert!(wanted <= chunk.len());
                if wanted <= seen {
                    break;
                }
                seen = wanted;
            }
            let edit = answers.step(chunk.len(), &chunk[..seen]);
            client.extend_from_slice(&edit.insert);
            client.extend_from_slice(&chunk[edit.drop..]);
        }
        client
    }

    #[track_caller]
    fn check(bridge: &[u8], client: &[u8]) {
        check_in(Codec::Protobuf, bridge, client);
    }

    #[track_caller]
    fn check_in(codec: Codec, bridge: &[u8], client: &[u8]) {
        for cut in 0..=bridge.len() {
            let (head, tail) = bridge.split_at(cut);
            assert_eq!(reframe(&mut Answers::new(codec), &[head, tail]), client, "cut at byte {cut}");
        }
        for size in [1, 2, 3, 7, 64] {
            let chunks: Vec<&[u8]> = bridge.chunks(size).collect();
            assert_eq!(reframe(&mut Answers::new(codec), &chunks), client, "in pieces of {size}");
        }
    }

    #[test]
    fn messages_become_frames_in_order_at_any_cut() {
        for (codec, opcode) in [(Codec::Protobuf, Opcode::Binary), (Codec::Json, Opcode::Text)] {
            let answers = [&b""[..], b"x", &[7; 120], &[8; 130], &[9; 700], b"after"].map(answer);
            let mut messages = answers.map(|answer| (ws(opcode, &answer), answer)).to_vec();
            messages.insert(5, (ws(Opcode::Pong, b"p"), control(Control::Pong("p".into()))));
            messages.insert(6, (ws(Opcode::Ping, b""), control(Control::Ping("".into()))));
            messages.push((ws(Opcode::Close, b"\x03\xe9going away"), close(1001, "going away")));
            // Nothing follows it.
            messages.push((Vec::new(), answer(b"late")));
            let bridge: Vec<u8> = messages.iter().flat_map(|(_, message)| framed(message)).collect();
            let client: Vec<u8> = messages.into_iter().flat_map(|(frame, _)| frame).collect();
            check_in(codec, &bridge, &client);
        }
    }

    #[test]
    fn empty_and_one_byte_messages_pass() {
        let bridge = [framed(b""), framed(b"\xCA"), framed(b"")].concat();
        check(&bridge, &[0x82, 0, 0x82, 1, 0xCA, 0x82, 0]);
        check_in(Codec::Json, &bridge, &[0x81, 0, 0x81, 1, 0xCA, 0x81, 0]);
    }

    #[test]
    fn only_the_front_of_a_large_answer_is_read() {
        let bridge = framed(&answer(&[1; 100_000]));
        let mut answers = Answers::new(Codec::Protobuf);
        assert_eq!(answers.wanted(60_000, &[]), 7);
        assert_eq!(answers.wanted(60_000, &bridge[..7]), 7);
        let edit = answers.step(60_000, &bridge[..7]);
        assert_eq!(edit.drop, 7);
        assert_eq!(edit.insert.len(), 10 + 2);
        assert_eq!(answers.wanted(1000, &[]), 0);
        assert_eq!(answers.step(1000, &[]), Edit::default());
        let rest = bridge.len() - 61_000;
        assert_eq!(answers.wanted(rest, &[]), 0);
        assert_eq!(answers.wanted(rest + 1, &[]), rest + 1);
    }

    #[track_caller]
    fn broken(bridge: &[u8], reason: &str) {
        let payload = [&1011_u16.to_be_bytes()[..], b"broken answer: ", reason.as_bytes()].concat();
        check(bridge, &ws(Opcode::Close, &payload));
    }

    #[test]
    fn broken_answers_end_the_session() {
        broken(&[1, 0, 0, 0, 1, 0], "compressed message");
        broken(&framed(&[&CONTROL_PREFIX[..], &[0xFF; 8]].concat()), "unreadable control message");
        broken(&framed(&[&CONTROL_PREFIX[..], &[0]].concat()), "unreadable control message");
        let long = Control::Ping(vec![0; 2000].into());
        broken(&framed(&control(long)), "control message too long");
    }

    #[test]
    fn end_without_a_close_is_told_only_between_messages() {
        let told = ws(Opcode::Close, b"\x03\xf4the bridge ended the session");
        assert_eq!(Answers::new(Codec::Protobuf).end(), told);
        for begun in [&framed(&answer(b"12345"))[..10], &framed(&close(1000, ""))] {
            let mut answers = Answers::new(Codec::Protobuf);
            reframe(&mut answers, &[begun]);
            assert_eq!(answers.end(), b"");
        }
    }
}
