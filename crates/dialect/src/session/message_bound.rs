//! The largest message that a client takes: libraries for WebSockets have limits of their own, and close the connection
//! above them.
//!
//! Reads ask for less, so that what they find fits. A single record that does not comes as an error in its place: the
//! position moves on behind it, and the client with it. Only the copy for this client is changed.

use bytes::Bytes;
use prost::Message as _;
use prost::encoding::message;
use sluicegate_backend::command::{Command, ReadBounds, SubscribeCommand};
use sluicegate_backend::{Chunk, CommandError, DecodeMessages as _, Fault, System, first_message};
use sluicegate_delivery::{DEFAULT_BATCH_BYTES, Item};
use sluicegate_protocol::codec::Codec;
use sluicegate_protocol::error_code::MESSAGE_TOO_LARGE;
use sluicegate_protocol::wire::number::MESSAGES;
use sluicegate_protocol::{ErrorResp, KafkaMessage};
use sluicegate_telemetry::metrics::Kind;

use super::answer::{Answer, Encoding};
use super::bounds::size;
use super::error::{MAX_RECORD_ERROR_BYTES, error_resp};
use super::records::{MAX_GROWTH, RECORD_BYTES};

/// The largest message that a client takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageBound(usize);

impl MessageBound {
    /// The bound of a client that has not said any.
    pub const NONE: Self = Self(usize::MAX);

    /// The client's choice.
    ///
    /// # Errors
    /// It is too small for an error; says what was expected.
    pub(crate) fn new(bytes: u32) -> Result<Self, String> {
        match size(bytes) {
            bytes if bytes >= MIN_BYTES => Ok(Self(bytes)),
            _ => Err(format!("session: expected max_message_bytes of at least {MIN_BYTES}")),
        }
    }

    /// The room for records, or results, of one answer.
    fn room(self) -> usize {
        self.0.saturating_sub(AROUND_BYTES)
    }

    /// The room for records of an answer with the results of so many logs, which can all have the largest error.
    fn room_beside(self, results: usize, encoding: Encoding) -> usize {
        self.room().saturating_sub(results.saturating_mul(encoding.max_result_bytes()))
    }

    /// The command, whose answer fits but for single records.
    ///
    /// # Errors
    /// The results of its entries may not fit; says what was expected.
    pub(crate) fn narrow(self, command: Command, encoding: Encoding) -> Result<Command, (Kind, String)> {
        if self == Self::NONE {
            return Ok(command);
        }
        let within = |bounds: ReadBounds, room: usize| {
            let max_bytes = Some(bounds.max_bytes.map_or(room, |max_bytes| max_bytes.min(room)));
            ReadBounds { max_bytes, ..bounds }
        };
        let (kind, entries, room) = match &command {
            Command::Produce(write) => (Kind::Produce, write.records.len(), self.room()),
            Command::ListOffsets { asked, .. } => (Kind::ListOffsets, asked.len(), self.room()),
            // The other half is for the names of topics, which are shorter than errors.
            Command::Commit { commits, .. } => (Kind::Consume, commits.len(), self.room() / 2),
            // The other half is for records.
            Command::MultiFetch { places, .. } => (Kind::MultiFetch, places.len(), self.room() / 2),
            Command::Fetch { .. } | Command::ListOffset { .. } | Command::Describe(_) => {
                (Kind::Fetch, 0, self.room())
            }
        };
        let most = room / encoding.max_result_bytes();
        if entries > most {
            let message = format!(
                "{entries} entries in one command: expected at most {most}, whose results fit max_message_bytes = {}",
                self.0
            );
            return Err((kind, message));
        }
        Ok(match command {
            Command::Fetch { log, offset, bounds, filters } => {
                Command::Fetch { log, offset, bounds: within(bounds, self.room()), filters }
            }
            Command::MultiFetch { places, bounds, filters } => {
                let bounds = within(bounds, self.room_beside(places.len(), encoding));
                Command::MultiFetch { places, bounds, filters }
            }
            command => command,
        })
    }

    /// The subscription, whose deliveries fit but for single records.
    pub(crate) fn narrow_subscription(
        self,
        command: SubscribeCommand,
        encoding: Encoding,
    ) -> SubscribeCommand {
        let room = self.room();
        let (max_bytes, max_records) = match encoding {
            Encoding::Protobuf => (room, command.max_records),
            // Half for what records have in protobuf, and half for the names of their members.
            Encoding::Json(_) => (room / 2 / MAX_GROWTH, command.max_records.min(room / 2 / RECORD_BYTES)),
        };
        let asked = if command.max_bytes == 0 { DEFAULT_BATCH_BYTES } else { command.max_bytes };
        SubscribeCommand { max_bytes: asked.min(max_bytes), max_records, ..command }
    }

    /// The item, with an error in the place of each record that is too large.
    pub fn fit_item(self, item: Item, system: System, encoding: Encoding) -> Item {
        match item {
            Item::Delivery { next, messages, end } => {
                let messages = self.fit(messages, system, next.partition, encoding);
                Item::Delivery { next, messages, end }
            }
            item => item,
        }
    }

    /// The same of encoded messages.
    pub fn fit(self, messages: Bytes, system: System, partition: i32, encoding: Encoding) -> Bytes {
        self.fit_in(self.room(), messages, system, partition, encoding)
    }

    /// The same of the messages of many logs, each with its partition, for one answer. In protobuf, what has no room is
    /// left to the next one; text is cut where it is written.
    pub fn fit_all<'a>(
        self,
        results: impl ExactSizeIterator<Item = (i32, &'a mut Result<Chunk, CommandError>)>,
        system: System,
        encoding: Encoding,
    ) {
        let room = self.room_beside(results.len(), encoding);
        let mut chunks: Vec<&mut Chunk> = Vec::new();
        for (partition, result) in results {
            if let Ok(chunk) = result {
                let messages = std::mem::take(&mut chunk.messages);
                chunk.messages = self.fit_in(room, messages, system, partition, encoding);
                chunks.push(chunk);
            }
        }
        if encoding == Encoding::Protobuf {
            // The first can be larger than its share: chance decides which that is.
            let first = fastrand::usize(..chunks.len().max(1));
            chunks.rotate_left(first);
            let mut left = room;
            for chunk in chunks {
                match left.checked_sub(chunk.messages.len()) {
                    Some(rest) => left = rest,
                    None => chunk.end(),
                }
            }
        }
    }

    fn fit_in(
        self,
        room: usize,
        messages: Bytes,
        system: System,
        partition: i32,
        encoding: Encoding,
    ) -> Bytes {
        if self == Self::NONE || encoding == Encoding::Protobuf && messages.len() <= room {
            return messages;
        }
        let bytes = |message: &KafkaMessage| match encoding {
            Encoding::Protobuf => message.encoded_len(),
            Encoding::Json(format) => {
                let mut text = Vec::new();
                crate::of(system).put_message(&mut text, partition, message, format);
                text.len()
            }
        };
        let (mut fitting, mut left, mut is_changed) = (Vec::new(), messages.clone(), false);
        while let Some((message, rest)) = first_message(&left) {
            let encoded = left.split_to(left.len().saturating_sub(rest.len()));
            let most = encoded.len().saturating_mul(MAX_GROWTH).saturating_add(RECORD_BYTES);
            let len = if most <= room { 0 } else { bytes(&message) };
            if len <= room {
                fitting.extend_from_slice(&encoded);
            } else {
                let error = too_large(len, self.0, "max_message_bytes");
                let error = error_resp(error, system, MAX_RECORD_ERROR_BYTES);
                let instead = placeholders(message, error).find(|instead| bytes(instead) <= room);
                message::encode(MESSAGES, &instead.unwrap_or_default(), &mut fitting);
                is_changed = true;
            }
        }
        if is_changed { fitting.into() } else { messages }
    }

    /// The error of a command whose answer is larger.
    pub fn exceeded(self, answer: &Answer, codec: Codec) -> Option<CommandError> {
        if self == Self::NONE {
            return None;
        }
        let len = answer.message_bytes(codec);
        let error = || {
            let max = self.0;
            let message = format!("the answer has {len} bytes: ask for less, as max_message_bytes = {max}");
            CommandError::new(Fault::TooLarge, MESSAGE_TOO_LARGE, message)
        };
        (len > self.0).then(error)
    }
}

/// The error in place of a record of `len` bytes. `name` is that of the client's limit.
pub fn too_large(len: usize, max: usize, name: &str) -> CommandError {
    let message =
        format!("the record takes {len} bytes, more than {name} = {max} allows: read it without the limit");
    CommandError::new(Fault::TooLarge, MESSAGE_TOO_LARGE, message)
}

/// Stand-ins for a record, the larger one first: without value and headers, and if that is too large, without key.
fn placeholders(message: KafkaMessage, error: ErrorResp) -> impl Iterator<Item = KafkaMessage> {
    let KafkaMessage { offset, timestamp, timestamp_type, key, key_schema, key_json, .. } = message;
    let error = Some(Box::new(error));
    let bare = KafkaMessage { offset, timestamp, timestamp_type, error, ..KafkaMessage::default() };
    [KafkaMessage { key, key_schema, key_json, ..bare.clone() }, bare].into_iter()
}

/// The smallest bound: an error of a command fits, and what is around it.
const MIN_BYTES: usize = 8 * 1024;

/// The bytes of an answer around its records or results: positions, and the name of its topic or stream, at most 255
/// characters.
const AROUND_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use sluicegate_delivery::Place;
    use sluicegate_protocol::{KafkaFetchResp, Reason};
    use sluicegate_shared_log::Ends;
    use sluicegate_telemetry::metrics::RouteMetrics;

    use super::*;
    use crate::json::format::Format;
    use crate::session::records::tests::read;

    fn message(offset: i64, key_len: usize, value_len: usize) -> KafkaMessage {
        let [key, value] = [key_len, value_len].map(|len| Some(vec![1; len].into()));
        KafkaMessage { offset, timestamp: 7, key, value, ..Default::default() }
    }

    /// The bytes of a delivery and of a fetch's answer with these messages.
    fn answers(bound: MessageBound, messages: &Bytes, system: System, encoding: Encoding) -> [usize; 2] {
        let next = Place { topic: "t".into(), partition: 3, offset: 9 };
        let item = Item::Delivery { next, messages: messages.clone(), end: i64::MAX };
        let ends = Ends { start: i64::MAX, stable: i64::MAX, end: i64::MAX };
        let chunk = Chunk { messages: messages.clone(), count: 1, ..Chunk::nothing(9, ends) };
        let metrics = RouteMetrics::default();
        let fetched = Answer::fetched(i64::MAX, system, 3, chunk, encoding, bound.room(), &metrics);
        [Answer::item(i64::MAX, system, item, encoding), fetched]
            .map(|answer| answer.message_bytes(encoding.codec()))
    }

    /// Control characters grow most as text.
    #[test]
    fn record_without_room_is_an_error_in_its_place() {
        let bound = MessageBound::new(8_192).unwrap();
        for encoding in [Encoding::Protobuf, Encoding::Json(Format::Text), Encoding::Json(Format::Base64)] {
            for system in [System::Kafka, System::Nats] {
                let lens = [0, 500, 900, 1_000, 1_100, 1_200, 5_200, 5_300, 5_400, 7_000, 7_200, 20_000];
                for (key_len, value_len) in lens.into_iter().flat_map(|len| [(1, len), (len, 1)]) {
                    let all = [message(4, 1, 1), message(5, key_len, value_len), message(6, 1, 1)];
                    let encoded = |messages: &[KafkaMessage]| read(messages, 7, Ends::UNKNOWN).messages;
                    let fitting = bound.fit(encoded(&all), system, 3, encoding);
                    let got = KafkaFetchResp::decode(fitting).unwrap().messages;
                    assert_eq!((&got[0], &got[2]), (&all[0], &all[2]));
                    let whole = answers(MessageBound::NONE, &encoded(&all[1..2]), system, encoding);
                    let case = format!("{encoding:?}, {system:?}, {key_len}, {value_len}: {whole:?}");
                    match &got[1].error {
                        None => assert_eq!(got[1], all[1], "{case}"),
                        Some(error) => {
                            assert!(whole[0] > 8_192 - AROUND_BYTES, "{case}");
                            assert_eq!((error.reason(), got[1].offset), (Reason::TooLarge, 5), "{case}");
                            let key = (key_len < 900).then(|| all[1].key.clone()).flatten();
                            assert_eq!((&got[1].key, &got[1].value), (&key, &None), "{case}");
                        }
                    }
                    let fitting = answers(bound, &encoded(&got[1..2]), system, encoding);
                    assert!(fitting.iter().all(|len| *len <= 8_192), "{case}: {fitting:?}");
                }
            }
        }
    }
}
