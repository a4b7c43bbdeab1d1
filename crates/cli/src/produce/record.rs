//! Records of topics and messages of streams, which `produce` writes.

use bytes::Bytes;
use sluicegate_client::nats::{PublishMessage, Published};
use sluicegate_client::schema_choice::Of;
use sluicegate_client::{Client, Error, Header, ProduceRecord, RecordError, SchemaChoice, Written};

use crate::args::Produce;
use crate::json;

/// A record of a topic, or a message of a stream.
pub(super) trait Record: Clone {
    /// The record for the topic or stream `name` in the `number`th piece of input.
    fn read(args: &Produce, name: &str, number: u64, piece: &Bytes) -> Result<Self, String>;

    /// An upper bound of the length of a command with only this record.
    fn message_len(&self) -> usize;

    /// Writes `records`.
    async fn write(client: &Client, records: Vec<Self>) -> Outcomes;
}

/// An outcome for each record of a command.
pub(super) type Outcomes = Result<Vec<Result<Acknowledged, RecordError>>, Error>;

/// Confirmation that the system has a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acknowledged {
    /// It was there already.
    pub(super) is_duplicate: bool,
    /// Its partition; none in a stream.
    pub(super) partition: Option<i32>,
    /// Its offset or sequence, if known.
    pub(super) offset: Option<i64>,
}

impl Record for ProduceRecord {
    fn read(args: &Produce, name: &str, _: u64, piece: &Bytes) -> Result<Self, String> {
        let mut record = match &args.key_delimiter {
            _ if args.json => json::record(piece, [args.value_schema.is_some(), args.key_schema.is_some()])?,
            Some(delimiter) => split(piece, delimiter),
            None => Self { value: Some(piece.clone()), ..Self::default() },
        };
        if args.null {
            record.key = record.key.filter(|key| !key.is_empty());
            record.value = record.value.filter(|value| !value.is_empty());
        }
        record.topic = name.to_owned();
        record.partition = args.partition.or(record.partition);
        record.headers.extend_from_slice(&args.record_header);
        record.value_schema = args.value_schema.clone().or(record.value_schema);
        record.key_schema = args.key_schema.clone().or(record.key_schema);
        Ok(record)
    }

    fn message_len(&self) -> usize {
        let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let schemas = schema_len(&self.value_schema).saturating_add(schema_len(&self.key_schema));
        message_len(
            [self.topic.len().saturating_add(schemas), len(&self.key), len(&self.value)],
            &self.headers,
        )
    }

    async fn write(client: &Client, records: Vec<Self>) -> Outcomes {
        let results = client.produce(records).await?.into_iter();
        Ok(results.map(|result| result.map(Acknowledged::from)).collect())
    }
}

impl From<Written> for Acknowledged {
    fn from(Written { partition, offset, is_duplicate, .. }: Written) -> Self {
        Self { is_duplicate, partition: Some(partition), offset }
    }
}

impl Record for PublishMessage {
    fn read(args: &Produce, name: &str, number: u64, piece: &Bytes) -> Result<Self, String> {
        let mut message = if args.json {
            json::publish_message(piece)?
        } else {
            Self { data: piece.clone(), ..Self::default() }
        };
        message.stream = name.to_owned();
        if let Some(subject) = &args.subject {
            message.subject.clone_from(subject);
        }
        // The server would reject the whole command.
        if message.subject.is_empty() {
            return Err("a message without a subject: add \"subject\", or use --subject".into());
        }
        if let Some(id) = &args.message_id {
            // JetStream would take all others for repetitions of the first.
            if number > 1 && !id.contains(NUMBER) {
                return Err("--message-id without %n is for a single message".into());
            }
            message.message_id = id.replace(NUMBER, &number.to_string());
        }
        message.headers.extend_from_slice(&args.record_header);
        Ok(message)
    }

    fn message_len(&self) -> usize {
        let Self { stream, subject, data, message_id, headers } = self;
        let id = message_id.len().saturating_add(ID_OVERHEAD);
        message_len([stream.len().saturating_add(id), subject.len(), data.len()], headers)
    }

    async fn write(client: &Client, messages: Vec<Self>) -> Outcomes {
        let results = client.nats().publish(messages).await?.into_iter();
        let acknowledged = |Published { sequence, duplicate, .. }| Acknowledged {
            is_duplicate: duplicate,
            partition: None,
            offset: Some(sequence),
        };
        Ok(results.map(|result| result.map(acknowledged)).collect())
    }
}

fn message_len(lengths: [usize; 3], headers: &[Header]) -> usize {
    let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let header = |header: &Header| header.key.len().saturating_add(len(&header.value)).saturating_add(20);
    let headers = headers.iter().map(header).fold(64, usize::saturating_add);
    lengths.into_iter().fold(headers, usize::saturating_add)
}

fn schema_len(schema: &Option<SchemaChoice>) -> usize {
    match schema.as_ref().and_then(|schema| schema.of.as_ref()) {
        Some(Of::Subject(subject)) => subject.len().saturating_add(SCHEMA_OVERHEAD),
        Some(Of::Id(_)) => SCHEMA_OVERHEAD,
        None => 0,
    }
}

/// Key and value; without a delimiter, all of it is the value.
fn split(piece: &Bytes, delimiter: &[u8]) -> ProduceRecord {
    let at = piece.windows(delimiter.len().max(1)).position(|other| other == delimiter);
    let (key, value) = match at {
        Some(at) => (Some(piece.slice(..at)), piece.slice(at.saturating_add(delimiter.len())..)),
        None => (None, piece.clone()),
    };
    ProduceRecord { key, value: Some(value), ..ProduceRecord::default() }
}

/// Stands for the message's number in --message-id.
const NUMBER: &str = "%n";
/// Tags and lengths of a choice of a schema, or an id.
const SCHEMA_OVERHEAD: usize = 16;
/// Tag and length of a message ID.
const ID_OVERHEAD: usize = 8;

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn args(args: &[&str]) -> Produce {
        let all = ["sluicegate", "produce", "orders"].iter().chain(args);
        match Args::try_parse_from(all).unwrap().command {
            Command::Produce(produce) => produce,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn line_is_a_value_or_a_key_and_a_value() {
        let of = |options: &[&str], line: &'static str| {
            let record = ProduceRecord::read(&args(options), "orders", 1, &Bytes::from(line)).unwrap();
            (record.key, record.value)
        };
        let some = |text: &'static str| Some(Bytes::from(text));
        assert_eq!(of(&[], "k:v"), (None, some("k:v")));
        assert_eq!(of(&["-K", ":"], "k:v:w"), (some("k"), some("v:w")));
        assert_eq!(of(&["-K", "::"], "k:v"), (None, some("k:v")));
        assert_eq!(of(&["-K", ":"], ":"), (some(""), some("")));
        assert_eq!(of(&["-K", ":", "-Z"], ":"), (None, None));
        assert_eq!(of(&["-Z"], ""), (None, None));
    }

    #[test]
    fn schemas_of_options_override_those_of_lines() {
        let of = |options: &[&str], line: &'static str| {
            let record = ProduceRecord::read(&args(options), "orders", 1, &Bytes::from(line)).unwrap();
            (record.key, record.value.unwrap(), record.value_schema, record.key_schema)
        };
        let both = ["--value-schema", "orders-value", "--key-schema", "8"];
        let chosen = (Some("orders-value".into()), Some(8.into()));
        let lines = [("-K:", "\"k\":[1]"), ("-J", r#"{"key":"k","payload":[1],"value_schema":7}"#)];
        for (option, line) in lines {
            let (key, value, value_schema, key_schema) = of(&[&both[..], &[option]].concat(), line);
            assert_eq!((key, value), (Some("\"k\"".into()), Bytes::from("[1]")), "{line}");
            assert_eq!((&value_schema, &key_schema), (&chosen.0, &chosen.1), "{line}");
        }
        assert_eq!(of(&[], "v"), (None, "v".into(), None, None));
    }

    #[test]
    fn options_apply_to_every_record() {
        let line = Bytes::from(r#"{"topic":"other","partition":4,"payload":"v","headers":["own",null]}"#);
        let plain = ProduceRecord::read(&args(&["-J"]), "orders", 1, &line).unwrap();
        assert_eq!((plain.topic.as_str(), plain.partition), ("orders", Some(4)));
        assert_eq!(plain.headers.len(), 1);
        let options = args(&["-J", "-p", "-1", "-r", "a=b=c", "-r", "d="]);
        let chosen = ProduceRecord::read(&options, "orders", 1, &line).unwrap();
        assert_eq!(chosen.partition, Some(-1));
        let headers: Vec<_> = chosen.headers.iter().map(|h| (h.key.as_str(), h.value.as_deref())).collect();
        assert_eq!(headers, [("own", None), ("a", Some(&b"b=c"[..])), ("d", Some(&b""[..]))]);
    }
}
