//! The arguments of `produce`.

use std::path::PathBuf;

use clap::{ValueEnum, ValueHint};
use sluicegate_client::SchemaChoice;

use super::reads::Delimiter;
use super::{Headers, Target, help, partition, record_header};
use crate::template;

/// Write records to a topic or messages to a stream: each line of standard input is a value
///
/// The topic or stream must exist. Exits with 0 only if every record was acknowledged. Records that are rejected
/// temporarily are retried for up to a minute, and can end up behind later ones. Records that may have been written are
/// not retried: with --producer or --message-id, run the same command again.
#[derive(Debug, clap::Args)]
#[command(after_help = help::PRODUCE)]
pub(crate) struct Produce {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Number of the partition; by default, or with -1, chosen by the key's hash, or by the bridge for records without
    /// a key
    #[arg(short, long, allow_negative_numbers = true, value_parser = partition_or_any, conflicts_with = "stream")]
    pub(crate) partition: Option<i32>,
    /// Subject of every message to a stream
    #[arg(long, value_name = "SUBJECT", conflicts_with = "topic")]
    pub(crate) subject: Option<String>,
    /// Message ID of every message to a stream, where %n stands for the message's number in the input; within the
    /// stream's duplicate window, messages with the same ID are written once
    #[arg(long, value_name = "ID", conflicts_with = "topic")]
    pub(crate) message_id: Option<String>,
    /// Write every record once and in order, however often the command is killed and run again: this file keeps what is
    /// needed for that, see below
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) producer: Option<PathBuf>,
    /// Read from this file instead of standard input
    #[arg(short = 'l', long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Split each line into key and value at the first occurrence of this text
    #[arg(short = 'K', long, value_name = "TEXT", value_parser = template::delimiter, conflicts_with = "stream")]
    pub(crate) key_delimiter: Option<Delimiter>,
    /// Text that ends each record
    #[arg(short = 'D', long, value_name = "TEXT", default_value = r"\n", value_parser = template::delimiter)]
    pub(crate) delimiter: Delimiter,
    /// Record header to add to every record; can be repeated
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = record_header)]
    pub(crate) record_header: Vec<sluicegate_client::Header>,
    /// Encode each value, which is JSON then, with this schema of the cluster's registry: a subject, for its latest one,
    /// or an id
    #[arg(long, value_name = "SUBJECT|ID", value_parser = schema, conflicts_with = "stream")]
    pub(crate) value_schema: Option<SchemaChoice>,
    /// The same for keys
    #[arg(long, value_name = "SUBJECT|ID", value_parser = schema, conflicts_with = "stream")]
    pub(crate) key_schema: Option<SchemaChoice>,
    /// Read JSON lines, see below
    #[arg(short = 'J', long, conflicts_with_all = ["key_delimiter", "delimiter"])]
    pub(crate) json: bool,
    /// Print where each acknowledged record is in the log, see below
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "text"
    )]
    pub(crate) print_offsets: Option<Offsets>,
    /// Write empty keys and values as null
    #[arg(short = 'Z', long, conflicts_with = "stream")]
    pub(crate) null: bool,
    /// The gateway's `max_message_bytes`: larger records fail without being sent
    #[arg(long, value_name = "N", default_value_t = 1 << 20)]
    pub(crate) max_message_bytes: usize,
    #[command(flatten)]
    pub(crate) headers: Headers,
}

impl Produce {
    /// Describes options that conflict.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let lacks_subject = self.target.stream.is_some() && self.subject.is_none() && !self.json;
        if self.target.stream.is_some() && self.producer.is_some() {
            return Some("--producer is for topics: messages to a stream are written once with --message-id");
        }
        lacks_subject.then_some("--stream needs --subject, or --json with a subject in each line")
    }
}

/// Format of the offsets of acknowledged records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Offsets {
    /// `RECORD TOPIC [PARTITION] offset OFFSET`
    Text,
    /// JSON lines: `{"record","topic","partition","offset"}`
    Json,
}

fn schema(text: &str) -> Result<SchemaChoice, &'static str> {
    if text.is_empty() {
        return Err("expected a subject or the id of a schema");
    }
    Ok(text.parse::<u32>().map_or_else(|_| text.into(), SchemaChoice::from))
}

fn partition_or_any(text: &str) -> Result<i32, &'static str> {
    if text == "-1" { Ok(-1) } else { partition(text) }
}
