//! Ties the two directions of a session together.

use std::sync::Arc;

use bytes::Bytes;
use prost::encoding::message;
use sluicegate_protocol::codec::Codec;
use sluicegate_protocol::control_req::Control;
use sluicegate_protocol::grpc::MIN_WRITE;
use sluicegate_protocol::wire::number::CONTROL;
use sluicegate_protocol::{Close, ControlReq, grpc};

use crate::answer::{Answers, Edit};
use crate::budget::Budget;
use crate::close;
use crate::frame::{Decoder, Opcode, Part};
use crate::message::{Assembler, Message};
use crate::request::{Command, Request};
use crate::session_error::SessionError;
use sluicegate_fair_share::ClientKey;

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
    Client {
        /// The bytes.
        bytes: &'a mut [u8],
        /// The frames that can begin in them: the client is closed before the next one is looked at.
        max_frames: usize,
    },
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
    /// Count this so many times. There is one output for each different event of an input.
    Count(Event, u64),
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
    /// The frames that began in the client's last bytes.
    frames: usize,
}

/// Number of times that each event happened.
#[derive(Debug, Default)]
struct Counts(Vec<(Event, u64)>);

impl Counts {
    fn add(&mut self, event: Event) {
        match self.0.iter_mut().find(|(counted, _)| *counted == event) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.0.push((event, 1)),
        }
    }
}

/// Treatment of the client's next bytes.
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
    pub fn new(limits: Limits, codec: Codec, budget: &Arc<Budget>, source: ClientKey) -> Self {
        Self {
            codec,
            decoder: Decoder::default(),
            assembler: Assembler::new(limits.max_message_bytes, budget, source),
            answers: Answers::new(codec),
            told: 0,
            client: ClientSide::Open,
            frames: 0,
        }
    }

    /// Number of frames that began in the client's last bytes, those among them that closed it.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Number of bytes from the front of a chunk of `size` bytes that [`Input::Bridge`] needs, given that `seen` are
    /// known already. Call it again with as many bytes until it wants no more.
    pub fn wanted(&self, size: usize, seen: &[u8]) -> usize {
        self.answers.wanted(size, seen)
    }

    /// Whether the client's bytes mean nothing any more: it has closed the session or broken the protocol.
    pub fn ignores_client(&self) -> bool {
        matches!(self.client, ClientSide::Closed | ClientSide::Failed)
    }

    /// Whether the client's close frame has arrived. It must be its last.
    pub fn is_closed_by_client(&self) -> bool {
        self.client == ClientSide::Closed
    }

    /// Handles one input, and appends what to do.
    pub fn handle(&mut self, input: Input<'_>, out: &mut Vec<Output>) {
        match input {
            Input::Client { bytes, max_frames } => self.client(bytes, max_frames, out),
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

    fn client(&mut self, bytes: &mut [u8], max_frames: usize, out: &mut Vec<Output>) {
        self.frames = 0;
        match self.client {
            ClientSide::Open => {}
            ClientSide::Closing => return self.find_close(bytes),
            ClientSide::Closed | ClientSide::Failed => return,
        }
        let (mut to_bridge, mut counts) = (Vec::new(), Counts::default());
        let handled = self.messages(bytes, max_frames, &mut to_bridge, &mut counts, out);
        if let Err(error) = handled {
            counts.add(Event::Error(error));
            self.stop(ClientSide::Failed, error.close(), &mut to_bridge, out);
        }
        out.extend(counts.0.into_iter().map(|(event, count)| Output::Count(event, count)));
        if !to_bridge.is_empty() {
            out.push(Output::ToBridge(to_bridge));
        }
    }

    /// Handles the messages that end in `bytes`, and tells the bridge about an unfinished one.
    fn messages(
        &mut self,
        mut bytes: &mut [u8],
        max_frames: usize,
        to_bridge: &mut Vec<u8>,
        counts: &mut Counts,
        out: &mut Vec<Output>,
    ) -> Result<(), SessionError> {
        if self.assembler.is_evicted() {
            return Err(SessionError::Evicted);
        }
        while self.client == ClientSide::Open
            && let Some(part) = self.decoder.next(&mut bytes)?
        {
            if let Part::Head(_) = part {
                if self.frames >= max_frames {
                    return Err(SessionError::TooManyFrames);
                }
                self.frames = self.frames.saturating_add(1);
            }
            self.part(part, to_bridge, counts, out)?;
        }
        let unfinished = self.assembler.unfinished().unwrap_or(0);
        if self.client == ClientSide::Open && self.told != unfinished {
            control(Control::Unfinished(unfinished), to_bridge)?;
            self.told = unfinished;
        }
        Ok(())
    }

    /// Handles the next part of a frame.
    fn part(
        &mut self,
        part: Part<'_>,
        to_bridge: &mut Vec<u8>,
        counts: &mut Counts,
        out: &mut Vec<Output>,
    ) -> Result<(), SessionError> {
        match self.assembler.push(part)? {
            None => {}
            Some(Message::Binary(message)) => match self.codec {
                Codec::Protobuf => request(&message, to_bridge, counts)?,
                // RFC 6455, section 7.4.1: "an endpoint that understands only text data MAY send this [1003] if it
                // receives a binary message"
                Codec::Json => return Err(SessionError::NotText),
            },
            Some(Message::Text(text)) => {
                // RFC 6455, section 8.1: a text message that is not UTF-8 fails the connection. So no text of a client
                // begins as a control message does.
                std::str::from_utf8(&text).map_err(|_| SessionError::NotUtf8)?;
                match self.codec {
                    // APISIX ignores it, and the client waits for an answer.
                    Codec::Protobuf => return Err(SessionError::NotBinary),
                    Codec::Json => {
                        send(&text, to_bridge)?;
                        counts.add(Event::Json);
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
        Ok(())
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

fn request(message: &[u8], to_bridge: &mut Vec<u8>, counts: &mut Counts) -> Result<(), SessionError> {
    let request = Request::parse(message);
    match &request {
        Request::Command { command, .. } => {
            counts.add(Event::Command(*command));
            send(message, to_bridge)?;
        }
        Request::Nothing => {}
        Request::Unknown { .. } => counts.add(Event::UnknownCommand),
        Request::Wrong => counts.add(Event::WrongCommand),
    }
    request.refusal().map_or(Ok(()), |refusal| control(Control::Refusal(refusal), to_bridge))
}

/// Appends a control message: a `PubSubReq` with nothing else. The encoder of all commands would be a good part of a
/// gateway's program.
pub(crate) fn control(what: Control, to_bridge: &mut Vec<u8>) -> Result<(), SessionError> {
    let control = ControlReq { control: Some(what) };
    begin(message::encoded_len(CONTROL, &control), to_bridge)?;
    message::encode(CONTROL, &control, to_bridge);
    Ok(())
}

/// Pads gRPC messages for the bridge to at least [`MIN_WRITE`] bytes, with a control message that the bridge ignores: unread
/// data of one stream then harms no other stream of the connection.
/// Leaves an empty buffer empty. Adds fewer bytes if there is no memory.
pub fn pad(to_bridge: &mut Vec<u8>) {
    let missing = MIN_WRITE.saturating_sub(to_bridge.len());
    if to_bridge.is_empty() || missing == 0 {
        return;
    }
    let zeros = ZEROS.get(..missing.saturating_sub(LEAST)).unwrap_or_default();
    let _ = control(Control::Padding(Bytes::from_static(zeros)), to_bridge);
}

/// Appends a gRPC message.
fn send(message: &[u8], to_bridge: &mut Vec<u8>) -> Result<(), SessionError> {
    begin(message.len(), to_bridge)?;
    to_bridge.extend_from_slice(message);
    Ok(())
}

/// Appends the head of a gRPC message of `len` bytes, with room for the message.
fn begin(len: usize, to_bridge: &mut Vec<u8>) -> Result<(), SessionError> {
    to_bridge.try_reserve(grpc::HEAD_LEN.saturating_add(len)).map_err(|_| SessionError::OutOfMemory)?;
    // A message is bounded far below 4 GiB: `max_message_bytes` is checked before it is assembled.
    to_bridge.extend_from_slice(&grpc::head(u32::try_from(len).unwrap_or(u32::MAX)));
    Ok(())
}

/// The smallest such message: gRPC's head, and the tags and lengths of two fields.
const LEAST: usize = 10;

static ZEROS: [u8; MIN_WRITE] = [0; MIN_WRITE];

#[cfg(test)]
mod tests;
