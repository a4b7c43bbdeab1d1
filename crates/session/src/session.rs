//! Ties the two directions of a session together.

use std::sync::Arc;

use prost::Message as _;
use sluicegate_protocol::control_req::Control;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{Close, ControlReq, PubSubReq, Refusal, grpc};

use crate::answer::{Answers, Edit};
use crate::budget::Budget;
use crate::close::{self, Fault};
use crate::frame::Decoder;
use crate::message::{Assembler, Message};
use crate::request::{Command, READ_ONLY, Request};

/// Bounds of one session.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest request in bytes. Worst case for a worker: this times open sessions, or the [`Budget`] if that is less.
    pub max_message_bytes: usize,
}

/// What happens to a session.
#[derive(Debug)]
pub enum Input<'a> {
    /// Bytes came from the client, in any pieces. They are unmasked where they are.
    Client(&'a mut [u8]),
    /// `size` bytes came from the bridge, in any pieces; `seen` are the first of them, as many as [`Session::wanted`].
    Bridge {
        /// Bytes of the chunk.
        size: usize,
        /// Its front.
        seen: &'a [u8],
    },
    /// The bridge's stream ended in order.
    BridgeEnd,
}

/// What the driver of a session has to do, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes to the bridge: whole gRPC messages.
    ToBridge(Vec<u8>),
    /// Change the chunk that came from the bridge, then send it to the client.
    ToClient(Edit),
    /// Count this.
    Count(Event),
    /// The client's side is over. End the stream should the bridge not, in bounded time.
    Closing {
        /// Whether the bridge knows it: there was memory to tell it.
        told: bool,
    },
    /// The client's last frame has been written. End the stream should the bridge not, in bounded time.
    Closed,
}

/// What is worth counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A command went to the bridge.
    Command(Command),
    /// A command would have written where only reads are allowed.
    WriteRefused,
    /// A request asked for something unknown.
    UnknownCommand,
    /// A message was no request.
    WrongCommand,
    /// The client was closed for a fault.
    Fault(Fault),
}

/// One client's session, after its handshake.
#[derive(Debug)]
pub struct Session {
    decoder: Decoder,
    assembler: Assembler,
    answers: Answers,
    may_write: bool,
    /// Nothing the client sends is looked at any more.
    deaf: bool,
}

impl Session {
    /// A session whose unfinished messages count against `budget`. Unless it `may_write`, commands that write are refused.
    pub fn new(limits: Limits, may_write: bool, budget: &Arc<Budget>) -> Self {
        Self {
            decoder: Decoder::default(),
            assembler: Assembler::new(limits.max_message_bytes, budget),
            answers: Answers::default(),
            may_write,
            deaf: false,
        }
    }

    /// How many bytes from the front of a chunk of `size` bytes from the bridge [`Input::Bridge`] needs, given that
    /// `seen` are known already. Ask again with as many until it is no more than are known.
    pub fn wanted(&self, size: usize, seen: &[u8]) -> usize {
        self.answers.wanted(size, seen)
    }

    /// The number of the client's message that has begun and is not whole, if there is one: another one has another number. A
    /// driver that sees the same number for too long may end the session.
    pub fn unfinished(&self) -> Option<u64> {
        self.assembler.unfinished()
    }

    /// Takes one step.
    pub fn handle(&mut self, input: Input<'_>, out: &mut Vec<Output>) {
        match input {
            Input::Client(bytes) => self.client(bytes, out),
            Input::Bridge { size, seen } => {
                let was_closed = self.answers.is_closed();
                out.push(Output::ToClient(self.answers.step(size, seen)));
                self.note_closed(was_closed, out);
            }
            Input::BridgeEnd => {
                let was_closed = self.answers.is_closed();
                out.push(Output::ToClient(Edit { drop: 0, insert: self.answers.end() }));
                self.note_closed(was_closed, out);
            }
        }
    }

    fn note_closed(&mut self, was_closed: bool, out: &mut Vec<Output>) {
        if self.answers.is_closed() && !was_closed {
            self.turn_deaf();
            out.push(Output::Closed);
        }
    }

    fn client(&mut self, mut bytes: &mut [u8], out: &mut Vec<Output>) {
        let mut to_bridge = Vec::new();
        while !self.deaf {
            match self.part(&mut bytes, &mut to_bridge, out) {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) => {
                    out.push(Output::Count(Event::Fault(fault)));
                    self.stop(fault.close(), &mut to_bridge, out);
                }
            }
        }
        if !to_bridge.is_empty() {
            out.push(Output::ToBridge(to_bridge));
        }
    }

    /// Handles the next part of `bytes`; false when more bytes are needed.
    fn part(
        &mut self,
        bytes: &mut &mut [u8],
        to_bridge: &mut Vec<u8>,
        out: &mut Vec<Output>,
    ) -> Result<bool, Fault> {
        let Some(part) = self.decoder.next(bytes)? else { return Ok(false) };
        match self.assembler.push(part)? {
            None => {}
            Some(Message::Binary(message)) => request(&message, self.may_write, to_bridge, out)?,
            // Text asks for nothing, as in APISIX, but it has to be text (RFC 6455, section 8.1).
            Some(Message::Text(text)) => std::str::from_utf8(&text).map(drop).map_err(|_| Fault::NotUtf8)?,
            Some(Message::Ping(payload)) => control(Control::Pong(payload.into_owned().into()), to_bridge)?,
            Some(Message::Pong(payload)) => control(Control::Alive(payload.into_owned().into()), to_bridge)?,
            Some(Message::Close(payload)) => {
                let close = close::parse(&payload)?;
                self.stop(close, to_bridge, out);
            }
        }
        Ok(true)
    }

    fn stop(&mut self, close: Close, to_bridge: &mut Vec<u8>, out: &mut Vec<Output>) {
        self.turn_deaf();
        let told = control(Control::Close(close), to_bridge).is_ok();
        out.push(Output::Closing { told });
    }

    /// What is unfinished will stay so: others may have its memory before the stream ends.
    fn turn_deaf(&mut self) {
        self.deaf = true;
        self.assembler.give_up();
    }
}

fn request(
    message: &[u8],
    may_write: bool,
    to_bridge: &mut Vec<u8>,
    out: &mut Vec<Output>,
) -> Result<(), Fault> {
    let request = Request::parse(message);
    match &request {
        Request::Command { sequence, command: Command::KafkaProduce } if !may_write => {
            out.push(Output::Count(Event::WriteRefused));
            let refusal = Refusal { sequence: *sequence, message: READ_ONLY.into() };
            return control(Control::Refusal(refusal), to_bridge);
        }
        Request::Command { command, .. } => {
            out.push(Output::Count(Event::Command(*command)));
            send(message, to_bridge)?;
        }
        Request::Nothing => {}
        Request::Unknown { .. } => out.push(Output::Count(Event::UnknownCommand)),
        Request::Wrong => out.push(Output::Count(Event::WrongCommand)),
    }
    request.refusal().map_or(Ok(()), |refusal| control(Control::Refusal(refusal), to_bridge))
}

fn control(what: Control, to_bridge: &mut Vec<u8>) -> Result<(), Fault> {
    let control = ControlReq { control: Some(what) };
    send(&PubSubReq { sequence: 0, req: Some(Req::Control(control)) }.encode_to_vec(), to_bridge)
}

/// Appends a gRPC message.
fn send(message: &[u8], to_bridge: &mut Vec<u8>) -> Result<(), Fault> {
    let len = grpc::HEAD_LEN.saturating_add(message.len());
    to_bridge.try_reserve(len).map_err(|_| Fault::OutOfMemory)?;
    // A message is bounded far below 4 GiB: `max_message_bytes` is checked before it is assembled.
    to_bridge.extend_from_slice(&grpc::head(u32::try_from(message.len()).unwrap_or(u32::MAX)));
    to_bridge.extend_from_slice(message);
    Ok(())
}

#[cfg(test)]
mod tests;
