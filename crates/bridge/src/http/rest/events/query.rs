//! The query of a request for events.

use sluicegate_backend::System;
use sluicegate_backend::command::{Source, Start, SubscribeCommand, TableCommand};
use sluicegate_dialect as dialect;
use sluicegate_dialect::json::format::Format;

use super::super::super::problem::Problem;
use super::super::filters::{of_records, with_json};
use super::super::path::{Query, invalid};
use super::super::position::position;

/// A client's request.
#[derive(Debug)]
pub(super) struct EventsQuery {
    pub(super) command: SubscribeCommand,
    pub(super) format: Format,
    /// The largest event that the client takes.
    pub(super) max_bytes: usize,
    /// Where to continue, for clients that cannot send the header.
    pub(super) last_event_id: Option<String>,
}

impl EventsQuery {
    /// Parses the query of a request for the events of a topic, or of one of its partitions, or of a stream, which is
    /// partition 0.
    ///
    /// # Errors
    /// A parameter is invalid.
    pub(super) fn parse(
        query: &Query,
        system: System,
        topic: &str,
        partition: Option<i32>,
    ) -> Result<Self, Problem> {
        let dialect = dialect::of(system);
        let words = dialect.words();
        for key in query.list(words.key) {
            dialect.check_key(key).map_err(|expected| invalid(words.key, expected))?;
        }
        let from = begin(query, partition)?;
        let has_position = from.is_some();
        let (from, partitions) = (from.unwrap_or_default(), partition.into_iter().collect());
        let source = Source { topic: topic.to_owned(), partitions, from, ..Source::default() };
        let committed = query.committed()?;
        let skips = match query.text("on_lag") {
            None | Some("wait") => false,
            Some("skip") => true,
            Some(_) => return Err(invalid("on_lag", "expected wait or skip")),
        };
        let format = match query.text("format") {
            None | Some("json") => Format::Json,
            Some("text") => Format::Text,
            Some("base64") => Format::Base64,
            Some(_) => return Err(invalid("format", "expected json, text or base64")),
        };
        let table = match query.text("snapshot") {
            None => None,
            Some("latest_per_key") => Some(TableCommand::default()),
            Some(_) => return Err(invalid("snapshot", "expected latest_per_key")),
        };
        if table.is_some() && has_position {
            return Err(invalid("snapshot", "expected it without from and timestamp"));
        }
        let command = SubscribeCommand {
            sources: vec![source],
            committed,
            decode: format.decodes(),
            filters: with_json(of_records(query, words)?, query, system)?,
            skips,
            table,
            ..SubscribeCommand::default()
        };
        let last_event_id = query.text("last_event_id").filter(|id| !id.is_empty()).map(str::to_owned);
        let max_bytes = query.number("max_event_bytes", MIN_EVENT_BYTES..=i64::MAX)?;
        let max_bytes = max_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
        Ok(Self { command, format, max_bytes, last_event_id })
    }
}

/// Where a stream begins, if the client says so.
fn begin(query: &Query, partition: Option<i32>) -> Result<Option<Start>, Problem> {
    let timestamp = query.timestamp(0)?;
    match (timestamp, position(query, "from")?) {
        (Some(_), Some(_)) => Err(invalid("from", "expected it without timestamp")),
        (None, Some(Start::Offset(_))) if partition.is_none() => Err(invalid(
            "from",
            "expected earliest, latest, -N or s@TIME: an offset is for the events of one partition",
        )),
        (timestamp, from) => Ok(from.or(timestamp.map(Start::Timestamp))),
    }
}

/// The smallest bound of events: their longest id fits, and what else is not a record's.
const MIN_EVENT_BYTES: i64 = 8 * 1024;

/// The query of a request for events.
#[cfg(test)]
pub(super) fn at(query: &str, system: System) -> Result<Query, Problem> {
    let path = format!("/{}/log/events", dialect::of(system).words().roots[0]);
    Query::at(&path, query, system)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sluicegate_backend::command::{RecordFilter, ValuePart};

    use super::super::super::super::tests::check_problem;
    use super::*;

    fn parse(query: &str, system: System, partition: Option<i32>) -> Result<EventsQuery, Problem> {
        EventsQuery::parse(&at(query, system)?, system, "t", partition)
    }

    fn parsed(query: &str, partition: Option<i32>) -> EventsQuery {
        parse(query, System::Kafka, partition).unwrap()
    }

    #[test]
    fn stream_begins_where_the_query_says() {
        for (query, want) in [
            ("", Start::default()),
            ("from=latest", Start::Timestamp(-1)),
            ("from=s@5", Start::Timestamp(5)),
            ("from=earliest", Start::Timestamp(-2)),
            ("timestamp=5", Start::Timestamp(5)),
            ("timestamp=1970-01-01T00:00:01Z", Start::Timestamp(1_000)),
            // The plus of a time's offset, however it is sent, and a space in place of the T.
            ("timestamp=1970-01-01T01:00:01+01:00", Start::Timestamp(1_000)),
            ("from=s@1970-01-01T01:00:01+0100", Start::Timestamp(1_000)),
            ("from=s@1970-01-01T01:00:01%2B01:00", Start::Timestamp(1_000)),
            ("from=s@1970-01-01+01:00:01+01:00", Start::Timestamp(1_000)),
            ("from=5", Start::Offset(5)),
            ("from=-7", Start::BeforeEnd(7)),
        ] {
            let source = &parsed(query, Some(3)).command.sources[0];
            assert_eq!((source.from, &source.partitions[..]), (want, &[3][..]), "{query}");
        }
        assert_eq!(parsed("last_event_id=x", None).last_event_id.as_deref(), Some("x"));
        assert_eq!(parsed("last_event_id=", None).last_event_id, None);
    }

    #[test]
    fn filters_are_of_the_key_and_of_each_header() {
        let of = |header: Option<&str>, equals: &[&'static str], prefixes: &[&'static str]| RecordFilter {
            header: header.map(str::to_owned),
            equals: equals.iter().map(|value| Bytes::from(*value)).collect(),
            prefixes: prefixes.iter().map(|value| Bytes::from(*value)).collect(),
            value: None,
        };
        let query = "key=a%2Cb&key=c+d%2B&key_prefix=d&header=h=1=2&header=g&header=h=3&header=h";
        let want =
            [of(None, &["a,b", "c d+"], &["d"]), of(Some("g"), &[], &[]), of(Some("h"), &["1=2", "3"], &[])];
        assert_eq!(parsed(query, None).command.filters, want);
        let json = "filter=%7B%22value%22:%22/a%22,%22is%22:%5B1,%7B%22prefix%22:%22b%22%7D%5D%7D&filter={\"key\":\"c\"}&key=d";
        let value = Some(ValuePart { pointer: "/a".to_owned(), ..ValuePart::default() });
        let want = [
            of(None, &["d"], &[]),
            RecordFilter { value, ..of(None, &["1"], &["b"]) },
            of(None, &["c"], &[]),
        ];
        assert_eq!(parsed(json, None).command.filters, want);
        assert_eq!(parsed("", None).command.filters, []);
    }

    #[test]
    fn streams_have_subjects_and_sequences() {
        let request = parse("from=5&subject=a.b&subject_prefix=c.", System::Nats, Some(0)).unwrap();
        let source = &request.command.sources[0];
        assert_eq!((source.topic.as_str(), source.from), ("t", Start::Offset(5)));
        let want =
            RecordFilter { equals: vec!["a.b".into()], prefixes: vec!["c.".into()], ..Default::default() };
        assert_eq!(request.command.filters, [want]);
        assert!(parse("subject=a*.b>", System::Nats, Some(0)).is_ok());
    }

    #[test]
    fn invalid_queries_are_refused() {
        let headers: String = (0..17).map(|name| format!("header={name}&")).collect();
        let filters = "filter={\"key\":\"a\"}&".repeat(17);
        let (kafka, nats) = ((System::Kafka, None), (System::Nats, Some(0)));
        for ((system, partition), query, want) in [
            (nats, "from=x", "query parameter from: expected a number from 0, earliest, latest, -N"),
            (nats, "key=a", "unknown query parameter key: expected from, timestamp, format, subject"),
            (nats, "isolation=read_committed", "unknown query parameter isolation"),
            (nats, "subject=orders.>", "query parameter subject: expected no wildcard"),
            (nats, "subject=a&subject=*", "query parameter subject: expected no wildcard"),
            (nats, &"subject=&".repeat(101), "subject: expected at most 100 subjects, prefixes and headers"),
            (kafka, "from=x", "query parameter from: expected a number from 0, earliest, latest, -N"),
            (kafka, "from=5", "query parameter from: expected earliest, latest, -N or s@TIME"),
            (kafka, "from=latest&timestamp=5", "query parameter from: expected it without timestamp"),
            (kafka, "timestamp=-1", "query parameter timestamp: expected milliseconds since 1970"),
            (kafka, "isolation=x", "query parameter isolation: expected"),
            (kafka, "max_event_bytes=8191", "max_event_bytes: expected a whole number from 8192 to"),
            (kafka, "on_lag=x", "query parameter on_lag: expected wait or skip"),
            (kafka, "format=binary", "query parameter format: expected json, text or base64"),
            (kafka, "format=text&format=json", "query parameter format is repeated"),
            (kafka, "offset=1", "unknown query parameter offset"),
            (kafka, &"key=&".repeat(101), "parameter key: expected at most 100 keys, prefixes and headers"),
            (kafka, "filter=a", "query parameter filter: expected value"),
            (kafka, "filter={}", "query parameter filter: expected `key`, `value`, or"),
            (kafka, &filters, "query parameter filter: 17 filters: expected at most 16"),
            (nats, "filter={\"key\":\"a\"}", "query parameter filter: unknown field `key`"),
            (kafka, "header=", "query parameter header: expected NAME, or NAME=VALUE"),
            (kafka, &headers, "query parameter header: expected at most 16 names"),
        ] {
            check_problem(parse(query, system, partition).unwrap_err(), 400, want);
        }
    }
}
