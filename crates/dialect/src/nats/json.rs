//! The commands of clusters of NATS: `{"id": 1, "fetch": {"stream": "orders", "sequence": 5}}`.

mod answer;

use std::time::Duration;

use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Error;
use serde_json::value::RawValue;
use sluicegate_backend::command::{self, Command, LogName, ReadBounds, SubscribeCommand};
use sluicegate_backend::{LOG_END, LOG_START};
use sluicegate_delivery::MAX_FILTERS;
use sluicegate_delivery::cluster::{MAX_HEADERS, MAX_RECORDS};
use sluicegate_telemetry::metrics::Kind;

pub(super) use self::answer::{item, listed, published};
use super::protobuf::message;
use crate::Subscribed;
use crate::json::format::Format;
use crate::json::member::present;
use crate::json_sessions::filter::Filter;
use crate::json_sessions::int64::Int64;
use crate::json_sessions::list::List;
use crate::json_sessions::object::{Object, object};
use crate::json_sessions::subscribe::{
    self, MAX_BATCH_BYTES, MAX_BATCH_RECORDS, OnLagName, SnapshotName, TopicId,
};
use crate::json_sessions::value::{self, RecordHeader};
use crate::limits::{MAX_OFFSETS, MAX_SOURCES};
use crate::protobuf::{bounds, size};
use crate::{Asked, InFormat};

/// The command of a name; none if there is none.
pub(super) fn command(name: &str, json: &str) -> Option<(Kind, Result<InFormat, Error>)> {
    let plain = |command| (Asked::Command(command), Format::default());
    Some(match name {
        "fetch" => {
            let fetch = |fetch: Fetch| {
                let format = fetch.format;
                (Asked::Command(fetch.into()), format)
            };
            (Kind::Fetch, object(json).map(fetch))
        }
        "list_sequences" => (Kind::ListOffsets, object(json).map(|list: ListSequences| plain(list.into()))),
        "publish" => {
            let records = object(json).and_then(Publish::decode);
            (Kind::Produce, records.map(|records| plain(Command::Produce(records))))
        }
        "subscribe" => {
            let subscribe = |(subscribed, format)| (Asked::Subscribe(subscribed), format);
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

impl From<Fetch> for Command {
    fn from(fetch: Fetch) -> Self {
        let Fetch { stream, sequence, max_wait_ms, min_bytes, max_bytes, max_messages, .. } = fetch;
        let bounds =
            ReadBounds { max_records: size(max_messages), ..bounds(max_wait_ms, min_bytes, max_bytes) };
        Self::Fetch { log: LogName::of_stream(stream), offset: sequence.0, bounds }
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

impl From<ListSequences> for Command {
    fn from(ListSequences { times }: ListSequences) -> Self {
        let asked = |Object(StreamTime { stream, timestamp })| (LogName::of_stream(stream), timestamp.0);
        Self::ListOffsets { asked: times.0.into_iter().map(asked).collect(), committed: false }
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
    /// The messages.
    ///
    /// # Errors
    /// Data or a header does not have the command's format, or there are too many headers.
    fn decode(self) -> Result<Vec<command::Record>, Error> {
        let Self { messages, format } = self;
        value::check_headers(messages.0.iter().map(|Object(message)| message.headers.0.len()))?;
        let record = |(index, Object(message)): (usize, Object<ToPublish<'_>>)| {
            let record = message.decode(format);
            record.map_err(|error| Error::custom(format_args!("messages[{index}].{error}")))
        };
        messages.0.into_iter().enumerate().map(record).collect()
    }
}

impl ToPublish<'_> {
    fn decode(self, format: Format) -> Result<command::Record, String> {
        let Self { stream, subject, data, headers, message_id } = self;
        let data: Option<Bytes> =
            value::value(data, format).map_err(|expected| format!("data: {expected}"))?;
        let headers = value::headers(headers, format)?;
        Ok(message(stream, subject, data.unwrap_or_default(), headers, message_id))
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
    snapshot: Option<SnapshotName>,
    #[serde(default)]
    away_ms: u64,
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
    fn parse(json: &'a str) -> Result<(Subscribed, Format), Error> {
        subscribe::check_len(json)?;
        object::<Self>(json)?.decode()
    }

    fn decode(self) -> Result<(Subscribed, Format), Error> {
        let Self { stream, from, stream_id, sources, format, filters, .. } = self;
        let is_alone = from.is_none() && stream_id.is_none();
        let one = stream.map(|stream| Source { stream, from, stream_id });
        let sources = subscribe::one_or_many("stream", one, is_alone, sources)?;
        let filter = |SubjectFilter { subject, header, value }| Filter { key: subject, header, value };
        let filters = filters.0.into_iter().map(|Object(of)| filter(of).decode("subject", format));
        let command = SubscribeCommand {
            sources: sources.into_iter().map(Into::into).collect(),
            committed: false,
            filters: subscribe::filters(filters)?,
            max_bytes: subscribe::bounded(self.max_batch_bytes, MAX_BATCH_BYTES),
            max_records: subscribe::bounded(self.max_batch_messages, MAX_BATCH_RECORDS),
            linger: Duration::from_millis(self.linger_ms.into()),
            skips: self.on_lag.skips(),
            table: subscribe::table(self.snapshot, self.away_ms),
        };
        Ok((Subscribed { command, credit: self.credit }, format))
    }
}

impl From<Source> for command::Source {
    fn from(Source { stream, from, stream_id }: Source) -> Self {
        let from = match from {
            Some(Start::Earliest) => command::Start::Timestamp(LOG_START),
            Some(Start::Latest) | None => command::Start::Timestamp(LOG_END),
            Some(Start::Sequence(Int64(sequence))) => command::Start::Offset(sequence),
            Some(Start::Timestamp(Int64(timestamp))) => command::Start::Timestamp(timestamp),
        };
        let topic_id = stream_id.map(|StreamId(id)| id.number());
        Self { topic: stream, from, topic_id, ..Self::default() }
    }
}

#[cfg(test)]
mod tests;
