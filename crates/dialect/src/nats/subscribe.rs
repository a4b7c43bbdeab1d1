//! The command `subscribe`.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Error;
use serde_json::value::RawValue;
use sluicegate_backend::command::{self, SubscribeCommand};
use sluicegate_delivery::MAX_FILTERS;
use sluicegate_protocol::{CmdNatsSubscribe, NatsSource, OnLag, Snapshot, nats_source};

use crate::Subscribed;
use crate::json::format::Format;
use crate::json::list::List;
use crate::session::bounds::{MAX_SOURCES, size};
use crate::session::filter::{Filter, filters, record_filters};
use crate::session::members::{self, Object, object, or_default};
use crate::session::subscribe::{
    MAX_BATCH_BYTES, MAX_BATCH_RECORDS, OnLagName, SnapshotName, TopicId, bounded, check_len, one_or_many,
    table, topic_id,
};

/// The subscription.
///
/// # Errors
/// A stream's id or a filter is invalid.
pub(super) fn of_protobuf(command: CmdNatsSubscribe) -> Result<Subscribed, String> {
    let (on_lag, table) =
        (command.on_lag(), table(command.snapshot() == Snapshot::LatestPerKey, command.away_ms));
    let CmdNatsSubscribe { sources, filters, max_batch_bytes, max_batch_messages, linger_ms, credit, .. } =
        command;
    let command = SubscribeCommand {
        sources: sources.into_iter().map(source).collect::<Result<_, _>>()?,
        committed: false,
        decode: false,
        filters: record_filters(filters)?,
        max_bytes: size(max_batch_bytes),
        max_records: size(max_batch_messages),
        linger: Duration::from_millis(linger_ms.into()),
        skips: on_lag == OnLag::Skip,
        table,
        group: None,
    };
    Ok(Subscribed { command, credit })
}

fn source(NatsSource { stream, stream_id, from }: NatsSource) -> Result<command::Source, String> {
    let from = match from {
        None => command::Start::default(),
        Some(nats_source::From::Timestamp(timestamp)) => command::Start::Timestamp(timestamp),
        Some(nats_source::From::Sequence(sequence)) => command::Start::at(sequence),
    };
    let topic_id = topic_id(&stream_id, "stream", &stream)?;
    Ok(command::Source { topic: stream, from, topic_id, ..command::Source::default() })
}

/// A source, or many, with the members that are the same for all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Subscribe<'a> {
    stream: Option<String>,
    from: Option<Start>,
    stream_id: Option<StreamId>,
    sources: Option<List<Object<Source>, MAX_SOURCES>>,
    #[serde(default, deserialize_with = "or_default")]
    format: Format,
    #[serde(borrow, default, deserialize_with = "or_default")]
    filters: List<Object<SubjectFilter<'a>>, MAX_FILTERS>,
    #[serde(default, deserialize_with = "or_default")]
    max_batch_bytes: u32,
    #[serde(default, deserialize_with = "or_default")]
    max_batch_messages: u32,
    #[serde(default, deserialize_with = "or_default")]
    linger_ms: u32,
    credit: Option<u64>,
    #[serde(default, deserialize_with = "or_default")]
    on_lag: OnLagName,
    snapshot: Option<SnapshotName>,
    away_ms: Option<u64>,
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

/// Where to begin: `"earliest"`, `"s@-5m"` or `{"sequence": 5}`.
struct Start(command::Start);

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        members::start("sequence", deserializer).map(Self)
    }
}

/// As [`Filter`], with the subject as key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SubjectFilter<'a> {
    #[serde(borrow)]
    subject: Option<&'a RawValue>,
    header: Option<String>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    is: Option<&'a RawValue>,
    #[serde(borrow)]
    above: Option<&'a RawValue>,
    #[serde(borrow)]
    below: Option<&'a RawValue>,
    exists: Option<bool>,
}

impl<'a> From<SubjectFilter<'a>> for Filter<'a> {
    fn from(filter: SubjectFilter<'a>) -> Self {
        let SubjectFilter { subject, header, value, is, above, below, exists } = filter;
        Self { key: subject, header, value, is, above, below, exists }
    }
}

impl<'a> Subscribe<'a> {
    /// The command, whose deliveries are bounded for their text, and the format of data.
    ///
    /// # Errors
    /// The text is not a subscription, or is beyond the bounds of one in protobuf.
    pub(super) fn parse(json: &'a str) -> Result<(Subscribed, Format), Error> {
        check_len(json)?;
        object::<Self>(json)?.decode()
    }

    fn decode(self) -> Result<(Subscribed, Format), Error> {
        let Self { stream, from, stream_id, sources, format, filters: given, .. } = self;
        let is_alone = from.is_none() && stream_id.is_none();
        let one = stream.map(|stream| Source { stream, from, stream_id });
        let sources = one_or_many("stream", one, is_alone, sources)?;
        let command = SubscribeCommand {
            sources: sources.into_iter().map(Into::into).collect(),
            committed: false,
            decode: false,
            filters: filters(given.0.into_iter().map(|Object(filter)| filter.into()), "subject", format)?,
            max_bytes: bounded(self.max_batch_bytes, MAX_BATCH_BYTES),
            max_records: bounded(self.max_batch_messages, MAX_BATCH_RECORDS),
            linger: Duration::from_millis(self.linger_ms.into()),
            skips: self.on_lag.skips(),
            table: table(self.snapshot.is_some(), self.away_ms),
            group: None,
        };
        Ok((Subscribed { command, credit: self.credit }, format))
    }
}

impl From<Source> for command::Source {
    fn from(Source { stream, from, stream_id }: Source) -> Self {
        let from = from.map(|Start(from)| from).unwrap_or_default();
        let topic_id = stream_id.map(|StreamId(id)| id.number());
        Self { topic: stream, from, topic_id, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_backend::command::RecordFilter;

    use super::*;

    #[test]
    fn subscription_keeps_its_bounds() {
        let from = Some(nats_source::From::Sequence(-5));
        let asked = CmdNatsSubscribe {
            sources: vec![NatsSource { from, ..Default::default() }],
            max_batch_bytes: 1,
            max_batch_messages: 2,
            linger_ms: 3,
            credit: Some(4),
            on_lag: OnLag::Skip.into(),
            ..Default::default()
        };
        let sources = vec![command::Source { from: command::Start::BeforeEnd(5), ..Default::default() }];
        let (max_bytes, max_records, linger) = (1, 2, Duration::from_millis(3));
        let command =
            SubscribeCommand { sources, max_bytes, max_records, linger, skips: true, ..Default::default() };
        assert_eq!(of_protobuf(asked), Ok(Subscribed { command, credit: Some(4) }));
    }

    #[test]
    fn subscription_names_streams_and_subjects() {
        let (from, topic_id) = (command::Start::BeforeEnd(5), Some(u128::MAX));
        let source = command::Source { topic: "s".into(), from, topic_id, ..Default::default() };
        let (equals, prefixes) = (vec!["a.b".into()], vec!["c.".into()]);
        let filter = RecordFilter { equals, prefixes, ..Default::default() };
        let one = r#"{"stream":"s","from":{"sequence":-5},"stream_id":"_____________________w"}"#;
        let options = r#""filters":[{"subject":["a.b",{"prefix":"c."}]}],"max_batch_messages":9,"linger_ms":3,"credit":8,"on_lag":"skip""#;
        for text in [
            format!(r#"{{{},{options}}}"#, &one[1..one.len() - 1]),
            format!(r#"{{"sources":[{one}],{options}}}"#),
        ] {
            let (subscribed, _) = Subscribe::parse(&text).unwrap();
            let command = SubscribeCommand {
                sources: vec![source.clone()],
                filters: vec![filter.clone()],
                max_bytes: 24 * 1024,
                max_records: 9,
                linger: Duration::from_millis(3),
                skips: true,
                ..SubscribeCommand::default()
            };
            assert_eq!(subscribed, Subscribed { command, credit: Some(8) }, "{text}");
        }
    }
}
