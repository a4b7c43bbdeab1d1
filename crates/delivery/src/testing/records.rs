//! Encoded records, rights to some of them, and the patience to wait for more.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prost::Message as _;
use sluicegate_backend::{AnswerReservation, Chunk};
use sluicegate_protocol::{KafkaFetchResp, KafkaMessage};
use sluicegate_rights::{Pattern, Rights, Row, Rows, Topics};
use sluicegate_shared_log::Ends;

pub(crate) fn encode(messages: &[KafkaMessage]) -> Bytes {
    KafkaFetchResp { messages: messages.to_vec(), ..Default::default() }.encode_to_vec().into()
}

/// Records as they are read, up to an offset.
pub(crate) fn fetched(messages: &[KafkaMessage], next_offset: i64) -> Chunk {
    let count = messages.len();
    Chunk { messages: encode(messages), count, ..Chunk::nothing(next_offset, Ends::UNKNOWN) }
}

pub(crate) fn decode(messages: &Bytes) -> Vec<KafkaMessage> {
    KafkaFetchResp::decode(messages.clone()).unwrap().messages
}

pub(crate) fn offsets(messages: &Bytes) -> Vec<i64> {
    decode(messages).iter().map(|message| message.offset).collect()
}

/// The topic `t`, of which these rows are granted.
pub(crate) fn topic(rows: impl IntoIterator<Item = Row>) -> Topics {
    rows.into_iter().map(|row| (Pattern::Name("t".into()), Some(row))).collect()
}

pub(crate) fn rows(rows: impl IntoIterator<Item = Row>) -> Rows {
    topic(rows).rows("t").unwrap()
}

/// The records whose keys begin so.
pub(crate) fn keys(prefix: &str) -> Row {
    Row::KeyPrefix(prefix.into())
}

/// The right to read the records of topic `t` whose keys begin so.
pub(crate) fn reads(prefix: &str) -> Rights {
    Rights { read: Some(topic([keys(prefix)])), ..Rights::default() }
}

/// Never ends a wait.
pub(crate) struct Never;

impl AnswerReservation for Never {
    fn wait(&mut self, _: usize) -> BoxFuture<'_, ()> {
        std::future::pending().boxed()
    }

    fn refill(&mut self) -> BoxFuture<'_, bool> {
        std::future::ready(true).boxed()
    }
}
