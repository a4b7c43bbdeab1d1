//! The commands of clusters of NATS: `{"id": 1, "fetch": {"stream": "orders", "sequence": 5}}`.

mod answer;

use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Error;
use serde_json::value::RawValue;
use sluicegate_protocol::{
    CmdKafkaFetch, CmdKafkaListOffset, CmdKafkaListOffsets, CmdKafkaProduce, CmdKafkaSubscribe,
    CmdNatsPublish, KafkaSource, PublishMessage, kafka_source,
};

pub(super) use self::answer::{Item, Published, Sequence};

use super::int64::Int64;
use super::item::{MAX_BATCH_BYTES, MAX_BATCH_RECORDS};
use super::list::List;
use super::object::{Object, object};
use super::record::{self, RecordHeader};
use super::request::run;
use super::subscribe::{self, Filter, OnLagName, TopicId};
use crate::backend::{LOG_END, LOG_START};
use crate::cluster::{MAX_HEADERS, MAX_RECORDS};
use crate::delivery::MAX_FILTERS;
use crate::json::format::Format;
use crate::json::member::present;
use crate::metrics::Kind;
use crate::session::command::{Command, Encoding};
use crate::session::command_limits::{MAX_OFFSETS, MAX_SOURCES};
use crate::session::nats;
use crate::session::request::Request;

/// The command of a name. None if there is none.
pub(super) fn command(sequence: i64, name: &str, json: &str) -> Option<(Kind, Result<Request, Error>)> {
    Some(match name {
        "fetch" => {
            let fetch = |fetch: Fetch| run(sequence, fetch.format, Command::Fetch(fetch.into()));
            (Kind::Fetch, object(json).map(fetch))
        }
        "list_sequences" => {
            let list =
                |list: ListSequences| run(sequence, Format::default(), Command::ListOffsets(list.into()));
            (Kind::ListOffsets, object(json).map(list))
        }
        "publish" => {
            let publish = object(json).and_then(Publish::decode);
            let publish = publish.map(|publish| run(sequence, Format::default(), Command::Produce(publish)));
            (Kind::Produce, publish)
        }
        "subscribe" => {
            let subscribe = |(command, format)| {
                let encoding = Encoding::Json(format);
                Request::Subscribe { sequence, command, encoding }
            };
            (Kind::Subscribe, Subscribe::parse(json).map(subscribe))
        }
        _ => return None,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fetch {
    stream: String,
    sequence: Int64,
    #[serde(default)]
    format: Format,
    max_wait_ms: Option<u32>,
    #[serde(default)]
    min_bytes: u32,
    #[serde(default)]
    max_bytes: u32,
    #[serde(default)]
    max_messages: u32,
}

impl From<Fetch> for CmdKafkaFetch {
    fn from(fetch: Fetch) -> Self {
        let Fetch { stream, sequence, max_wait_ms, min_bytes, max_bytes, max_messages, .. } = fetch;
        Self {
            topic: stream,
            offset: sequence.0,
            max_wait_ms,
            min_bytes,
            max_bytes,
            max_records: max_messages,
            ..Default::default()
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListSequences {
    times: List<Object<StreamTime>, MAX_OFFSETS>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamTime {
    stream: String,
    timestamp: Int64,
}

impl From<ListSequences> for CmdKafkaListOffsets {
    fn from(ListSequences { times }: ListSequences) -> Self {
        let list = |Object(StreamTime { stream, timestamp })| CmdKafkaListOffset {
            topic: stream,
            partition: 0,
            timestamp: timestamp.0,
        };
        Self { offsets: times.0.into_iter().map(list).collect(), ..Default::default() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish<'a> {
    #[serde(borrow)]
    messages: List<Object<ToPublish<'a>>, MAX_RECORDS>,
    #[serde(default)]
    format: Format,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToPublish<'a> {
    stream: String,
    subject: String,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    headers: List<Object<RecordHeader<'a>>, MAX_HEADERS>,
    #[serde(default)]
    message_id: String,
}

impl Publish<'_> {
    /// The command.
    ///
    /// # Errors
    /// Data or a header does not have the command's format, or there are too many headers.
    fn decode(self) -> Result<CmdKafkaProduce, Error> {
        let Self { messages, format } = self;
        record::check_headers(messages.0.iter().map(|Object(message)| message.headers.0.len()))?;
        let message = |(index, Object(message)): (usize, Object<ToPublish<'_>>)| {
            let message = message.decode(format);
            message.map_err(|error| Error::custom(format_args!("messages[{index}].{error}")))
        };
        let messages = messages.0.into_iter().enumerate().map(message).collect::<Result<_, _>>()?;
        Ok(nats::publish(CmdNatsPublish { messages }))
    }
}

impl ToPublish<'_> {
    fn decode(self, format: Format) -> Result<PublishMessage, String> {
        let Self { stream, subject, data, headers, message_id } = self;
        let data: Option<Bytes> =
            record::value(data, format).map_err(|expected| format!("data: {expected}"))?;
        let headers = record::headers(headers, format)?;
        Ok(PublishMessage { stream, subject, data: data.unwrap_or_default(), headers, message_id })
    }
}

/// A source, or many, with the members that are the same for all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subscribe<'a> {
    stream: Option<String>,
    from: Option<Start>,
    stream_id: Option<StreamId>,
    sources: Option<List<Object<Source>, MAX_SOURCES>>,
    #[serde(default)]
    format: Format,
    #[serde(borrow, default)]
    filters: List<Object<SubjectFilter<'a>>, MAX_FILTERS>,
    #[serde(default)]
    max_batch_bytes: u32,
    #[serde(default)]
    max_batch_messages: u32,
    #[serde(default)]
    linger_ms: u32,
    credit: Option<u64>,
    #[serde(default)]
    on_lag: OnLagName,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    stream: String,
    from: Option<Start>,
    stream_id: Option<StreamId>,
}

/// The id of a stream, as text like that of a topic.
struct StreamId(TopicId);

impl<'de> Deserialize<'de> for StreamId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        TopicId::named("stream_id", deserializer).map(Self)
    }
}

/// Where to begin: `"earliest"`, or `{"sequence": 5}`.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Start {
    Earliest,
    Latest,
    Sequence(Int64),
    Timestamp(Int64),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectFilter<'a> {
    #[serde(borrow)]
    subject: Option<&'a RawValue>,
    header: Option<String>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

impl<'a> Subscribe<'a> {
    /// The command, whose deliveries are bounded for their text, and the format of data.
    ///
    /// # Errors
    /// The text is not a subscription, or is beyond the bounds of one in protobuf.
    fn parse(json: &'a str) -> Result<(CmdKafkaSubscribe, Format), Error> {
        subscribe::check_len(json)?;
        object::<Self>(json)?.decode()
    }

    fn decode(self) -> Result<(CmdKafkaSubscribe, Format), Error> {
        let Self { stream, from, stream_id, sources, format, filters, .. } = self;
        let is_alone = from.is_none() && stream_id.is_none();
        let one = stream.map(|stream| Source { stream, from, stream_id });
        let sources = subscribe::one_or_many("stream", one, is_alone, sources)?;
        let filter = |SubjectFilter { subject, header, value }| Filter { key: subject, header, value };
        let filters = filters.0.into_iter().map(|Object(of)| filter(of).decode("subject", format));
        let command = CmdKafkaSubscribe {
            sources: sources.into_iter().map(Into::into).collect(),
            filters: subscribe::filters(filters)?,
            max_batch_bytes: subscribe::bounded(self.max_batch_bytes, MAX_BATCH_BYTES),
            max_batch_records: subscribe::bounded(self.max_batch_messages, MAX_BATCH_RECORDS),
            linger_ms: self.linger_ms,
            credit: self.credit,
            on_lag: self.on_lag.number(),
            ..Default::default()
        };
        Ok((command, format))
    }
}

impl From<Source> for KafkaSource {
    fn from(Source { stream, from, stream_id }: Source) -> Self {
        let from = from.map(|from| match from {
            Start::Earliest => kafka_source::From::Timestamp(LOG_START),
            Start::Latest => kafka_source::From::Timestamp(LOG_END),
            Start::Sequence(Int64(sequence)) => kafka_source::From::Offset(sequence),
            Start::Timestamp(Int64(timestamp)) => kafka_source::From::Timestamp(timestamp),
        });
        let topic_id = stream_id.map(|StreamId(id)| id.into_bytes()).unwrap_or_default();
        Self { topic: stream, from, topic_id, ..Default::default() }
    }
}

#[cfg(test)]
mod tests;
