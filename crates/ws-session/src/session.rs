//! Ties the two directions of a session together.

use std::sync::Arc;

use prost::Message as _;
use sluicegate_protocol::codec::Codec;
use sluicegate_protocol::control_req::Control;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{Close, ControlReq, PubSubReq, grpc};

use crate::answer::{Answers, Edit};
use crate::budget::Budget;
use crate::close;
use crate::frame::{Decoder, Opcode, Part};
use crate::message::{Assembler, Message};
use crate::request::{Command, Request};
use crate::session_error::SessionError;
use sluicegate_fair_share::Source;

/// Bounds of one session.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest request in bytes. Worst case for a worker: this times open sessions, or the [`Budget`] if that is less.
    pub max_message_bytes: usize,
}

/// An event of a session's connections.
#[derive(Debug)]
pub enum Input<'a> {
    /// Bytes from the client, in pieces of any size. They are unmasked in place.
    Client(&'a mut [u8]),
    /// `size` bytes from the bridge, in pieces of any size; `seen` are the first [`Session::wanted`] of them.
    Bridge {
        /// Bytes in the chunk.
        size: usize,
        /// Its front.
        seen: &'a [u8],
    },
    /// The bridge's stream ended without an error.
    BridgeEnd,
}

/// An action for the driver of a session.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes to the bridge: whole gRPC messages.
    ToBridge(Vec<u8>),
    /// Apply this edit to the bridge's chunk, then send it to the client.
    ToClient(Edit),
    /// Count this.
    Count(Event),
    /// The client's side is closed. End the stream in bounded time if the bridge does not.
    Closing {
        /// Whether the bridge was told. It is not if there was no memory.
        told: bool,
    },
    /// The last frame to the client was written. End the stream in bounded time if the bridge does not.
    Closed,
}

/// An event for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A command went to the bridge.
    Command(Command),
    /// A text message of a JSON session went to the bridge.
    Json,
    /// A request had an unknown command.
    UnknownCommand,
    /// A message was not a request.
    WrongCommand,
    /// The client was closed for an error.
    Error(SessionError),
}

/// One client's session, after its handshake.
#[derive(Debug)]
pub struct Session {
    codec: Codec,
    decoder: Decoder,
    assembler: Assembler,
    answers: Answers,
    /// The number of the unfinished message that the bridge was told; 0: none.
    told: u64,
    client: ClientSide,
}

/// What the client's bytes still mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientSide {
    Open,
    /// The bridge closed the session: only the client's close frame counts.
    Closing,
    /// The client's close frame has arrived.
    Closed,
    /// The client broke the protocol: its bytes are ignored.
    Failed,
}

impl Session {
    /// A session in `codec` of a client at `source`, whose unfinished messages count against `budget`.
    pub fn new(limits: Limits, codec: Codec, budget: &Arc<Budget>, source: Source) -> Self {
        Self {
            codec,
            decoder: Decoder::default(),
            assembler: Assembler::new(limits.max_message_bytes, budget, source),
            answers: Answers::new(codec),
            told: 0,
            client: ClientSide::Open,
        }
    }

    /// How many bytes from the front of a chunk of `size` bytes [`Input::Bridge`] needs, given that `seen` are known already.
    /// Call it again with as many bytes until it wants no more.
    pub fn wanted(&self, size: usize, seen: &[u8]) -> usize {
        self.answers.wanted(size, seen)
    }

    /// Whether the client's close frame has arrived. It must be its last.
    pub fn is_closed_by_client(&self) -> bool {
        self.client == ClientSide::Closed
    }

    /// Handles one input, and appends what to do.
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
            if self.client == ClientSide::Open {
                self.end_client(ClientSide::Closing);
            }
            out.push(Output::Closed);
        }
    }

    fn client(&mut self, bytes: &mut [u8], out: &mut Vec<Output>) {
        match self.client {
            ClientSide::Open => {}
            ClientSide::Closing => return self.find_close(bytes),
            ClientSide::Closed | ClientSide::Failed => return,
        }
        let mut to_bridge = Vec::new();
        if let Err(error) = self.messages(bytes, &mut to_bridge, out) {
            out.push(Output::Count(Event::Error(error)));
            self.stop(ClientSide::Failed, error.close(), &mut to_bridge, out);
        }
        if !to_bridge.is_empty() {
            out.push(Output::ToBridge(to_bridge));
        }
    }

    /// Handles the messages that end in `bytes`, and tells the bridge about an unfinished one.
    fn messages(
        &mut self,
        mut bytes: &mut [u8],
        to_bridge: &mut Vec<u8>,
        out: &mut Vec<Output>,
    ) -> Result<(), SessionError> {
        if self.assembler.is_evicted() {
            return Err(SessionError::Evicted);
        }
        while self.client == ClientSide::Open && self.part(&mut bytes, to_bridge, out)? {}
        let unfinished = self.assembler.unfinished().unwrap_or(0);
        if self.client == ClientSide::Open && self.told != unfinished {
            control(Control::Unfinished(unfinished), to_bridge)?;
            self.told = unfinished;
        }
        Ok(())
    }

    /// Handles the next part of `bytes`; false if more bytes are needed.
    fn part(
        &mut self,
        bytes: &mut &mut [u8],
        to_bridge: &mut Vec<u8>,
        out: &mut Vec<Output>,
    ) -> Result<bool, SessionError> {
        let Some(part) = self.decoder.next(bytes)? else { return Ok(false) };
        match self.assembler.push(part)? {
            None => {}
            Some(Message::Binary(message)) => match self.codec {
                Codec::Protobuf => request(&message, to_bridge, out)?,
                // RFC 6455, section 7.4.1: "an endpoint that understands only text data MAY send this [1003] if it receives a
                // binary message"
                Codec::Json => return Err(SessionError::NotText),
            },
            Some(Message::Text(text)) => {
                // RFC 6455, section 8.1: a text message that is not UTF-8 fails the connection. So no text of a client begins as
                // a control message does.
                std::str::from_utf8(&text).map_err(|_| SessionError::NotUtf8)?;
                match self.codec {
                    // Ignored, as in APISIX.
                    Codec::Protobuf => {}
                    Codec::Json => {
                        send(&text, to_bridge)?;
                        out.push(Output::Count(Event::Json));
                    }
                }
            }
            Some(Message::Ping(payload)) => control(Control::Pong(payload.into_owned().into()), to_bridge)?,
            Some(Message::Pong(payload)) => control(Control::Alive(payload.into_owned().into()), to_bridge)?,
            Some(Message::Close(payload)) => {
                let close = close::parse(&payload)?;
                self.stop(ClientSide::Closed, close, to_bridge, out);
            }
        }
        Ok(true)
    }

    /// Discards the client's bytes up to its close frame.
    fn find_close(&mut self, mut bytes: &mut [u8]) {
        loop {
            let opcode = self.decoder.opcode();
            match self.decoder.next(&mut bytes) {
                Ok(Some(Part::Payload { last: true, .. })) if opcode == Some(Opcode::Close) => {
                    return self.end_client(ClientSide::Closed);
                }
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => return self.end_client(ClientSide::Failed),
            }
        }
    }

    fn stop(&mut self, client: ClientSide, close: Close, to_bridge: &mut Vec<u8>, out: &mut Vec<Output>) {
        self.end_client(client);
        let told = control(Control::Close(close), to_bridge).is_ok();
        out.push(Output::Closing { told });
    }

    /// Frees the memory of the unfinished message before the stream ends.
    fn end_client(&mut self, client: ClientSide) {
        self.client = client;
        self.assembler.give_up();
    }
}

fn request(message: &[u8], to_bridge: &mut Vec<u8>, out: &mut Vec<Output>) -> Result<(), SessionError> {
    let request = Request::parse(message);
    match &request {
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

/// Appends a control message.
pub(crate) fn control(what: Control, to_bridge: &mut Vec<u8>) -> Result<(), SessionError> {
    let control = ControlReq { control: Some(what) };
    send(&PubSubReq { sequence: 0, req: Some(Req::Control(control)) }.encode_to_vec(), to_bridge)
}

/// Appends a gRPC message.
fn send(message: &[u8], to_bridge: &mut Vec<u8>) -> Result<(), SessionError> {
    let len = grpc::HEAD_LEN.saturating_add(message.len());
    to_bridge.try_reserve(len).map_err(|_| SessionError::OutOfMemory)?;
    // A message is bounded far below 4 GiB: `max_message_bytes` is checked before it is assembled.
    to_bridge.extend_from_slice(&grpc::head(u32::try_from(message.len()).unwrap_or(u32::MAX)));
    to_bridge.extend_from_slice(message);
    Ok(())
}

#[cfg(test)]
mod tests;
