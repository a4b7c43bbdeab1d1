//! The arguments of the commands that read.

use std::time::Duration;

use clap::{ArgGroup, ValueEnum};
use sluicegate_client::{At, Filter, Header};

use super::{Headers, Name, Target, count, group, help, partition, record_header, stream, topic};
use crate::position::{self, Position};
use crate::template::{self, Template};
use crate::value_filter;

/// Print the messages of a topic or stream
///
/// Reads each partition from --from to its log end as of the start,
/// then exits. Fails if a partition makes no progress below its log end within --timeout. Temporary errors are
/// retried: for up to 30 s, or with --follow until Ctrl-C.
///
/// Without --partition, fetch reads all partitions that exist at the start, with --follow also those that the topic
/// gets later. Messages of one partition are printed in order, those of different partitions as they arrive.
///
/// A stream is read like a partition, by sequences instead of offsets.
#[derive(Debug, clap::Args)]
#[command(after_help = help::OUTPUT)]
pub(crate) struct Fetch {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Number of the partition; by default all
    #[arg(short, long, allow_negative_numbers = true, value_parser = partition, conflicts_with = "stream")]
    pub(crate) partition: Option<i32>,
    /// First offset in each partition, or sequence in the stream: a number, earliest (beginning), latest (end), -N (the
    /// last N), s@TIME (at a time, as in list-offsets --at: s@-5m, s@2026-01-31T12:00:00Z)
    #[arg(
        short = 'o',
        long,
        visible_alias = "offset",
        value_name = "OFFSET",
        default_value = "earliest",
        allow_hyphen_values = true
    )]
    pub(crate) from: Position,
    /// Which records of transactions to print
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = Isolation::ReadUncommitted)]
    #[arg(conflicts_with = "stream")]
    pub(crate) isolation: Isolation,
    /// Print only messages whose value has this part, such as {"value": "/order/status", "is": "open"}; repeated: all of
    /// them
    #[arg(long, value_name = "JSON", value_parser = value_filter::parse)]
    pub(crate) filter: Vec<Filter>,
    /// Exit after this many messages, counted over all partitions
    #[arg(short, long, allow_negative_numbers = true, value_parser = count)]
    pub(crate) count: Option<u64>,
    /// Wait for new messages at the log end, until Ctrl-C, as `subscribe` does
    #[arg(long)]
    pub(crate) follow: bool,
    /// Exit at the log end of all partitions; this is the default
    #[arg(short, conflicts_with = "follow")]
    pub(crate) exit_at_end: bool,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) headers: Headers,
}

impl Fetch {
    /// Whether it reads one log only.
    pub(crate) fn reads_one(&self) -> bool {
        self.partition.is_some() || matches!(self.target.name(), Name::Stream(_))
    }
}

/// Show where the log of each partition, or a stream, starts and ends, or the offset at a time
///
/// Prints a line for each partition:
/// `TOPIC [PARTITION] earliest OFFSET latest OFFSET`, or with --at `TOPIC [PARTITION] offset OFFSET`. That offset is -1
/// if all messages are older than the time. `latest` is the offset of the next message to be written.
///
/// With --stream, prints `STREAM earliest SEQUENCE latest SEQUENCE`, or with --at `STREAM sequence SEQUENCE`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListOffsets {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Number of the partition; by default all
    #[arg(short, long, allow_negative_numbers = true, value_parser = partition, conflicts_with = "stream")]
    pub(crate) partition: Option<i32>,
    /// Show one offset: earliest, latest, the first at or after a time, or that of the latest time, max-timestamp
    ///
    /// A time is milliseconds since 1970, RFC 3339 as in 2026-01-31T12:00:00Z, or a number of seconds, minutes, hours
    /// or days ago by this machine's clock: -90s, -5m, -2h, -7d.
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true, value_parser = position::at)]
    pub(crate) at: Option<At>,
    /// Where the log ends: at open transactions or not
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = Isolation::ReadUncommitted)]
    #[arg(conflicts_with = "stream")]
    pub(crate) isolation: Isolation,
    /// Print JSON lines: {"topic","partition","earliest","latest"}, with --at {"topic","partition","offset"}; of a
    /// stream {"stream","earliest","latest"}, with --at {"stream","sequence"}
    #[arg(short = 'J', long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) headers: Headers,
}

/// Print the messages of topics or streams as they are written, until Ctrl-C
///
/// Prints each message once, those of a partition in order, those of different partitions as they arrive. Partitions
/// that a topic gets later are read from their beginning. If the connection is lost, or Kafka or NATS cannot be read
/// for a while, subscribe says so and continues where it was.
///
/// With --group, it is a member of a consumer group: the group gives each partition to one of its members, and begins at
/// what is committed. What is written to standard output is committed, once a second at most and at the end, also after
/// Ctrl-C and SIGTERM. Messages can come again, above all after a member was killed.
///
/// Standard error shows how far behind the log ends it is: on a terminal if the messages go elsewhere, with --verbose
/// in any case, once a second at most.
#[derive(Debug, clap::Args)]
#[command(after_help = help::OUTPUT)]
#[command(group = ArgGroup::new("names").args(["topics", "stream"]).required(true))]
pub(crate) struct Subscribe {
    /// Names of the topics
    #[arg(value_name = "TOPIC", value_parser = topic)]
    pub(crate) topics: Vec<String>,
    /// Name of a NATS stream, instead of topics; can be repeated
    #[arg(long, value_name = "STREAM", value_parser = stream)]
    pub(crate) stream: Vec<String>,
    /// Read as a member of this consumer group, and commit what is printed
    #[arg(long, value_parser = group, conflicts_with_all = ["stream", "partition"])]
    pub(crate) group: Option<String>,
    /// Number of a partition of each topic, can be repeated; by default all
    #[arg(short, long, allow_negative_numbers = true, value_parser = partition, conflicts_with = "stream")]
    pub(crate) partition: Vec<i32>,
    /// First offset in each partition, or sequence in each stream, as in fetch --from; with --group, in partitions
    /// without a commit
    #[arg(
        short = 'o',
        long,
        visible_alias = "offset",
        value_name = "OFFSET",
        default_value = "latest",
        allow_hyphen_values = true
    )]
    pub(crate) from: Position,
    /// Which records of transactions to print
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = Isolation::ReadUncommitted)]
    #[arg(conflicts_with = "stream")]
    pub(crate) isolation: Isolation,
    /// Print only messages with this key, or one of these; can be repeated
    #[arg(long, value_name = "KEY", conflicts_with = "stream")]
    pub(crate) record_key: Vec<String>,
    /// Print only messages whose key begins with this text, too; can be repeated
    #[arg(long, value_name = "TEXT", conflicts_with = "stream")]
    pub(crate) record_key_prefix: Vec<String>,
    /// Print only messages of streams with this subject, or one of these; can be repeated
    #[arg(long, value_name = "SUBJECT", conflicts_with = "topics")]
    pub(crate) subject: Vec<String>,
    /// Print only messages of streams whose subject begins with this text, too; can be repeated
    #[arg(long, value_name = "TEXT", conflicts_with = "topics")]
    pub(crate) subject_prefix: Vec<String>,
    /// Print only messages with this record header; repeated with the same KEY: any of the values, with others: all of
    /// them
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = record_header)]
    pub(crate) record_header: Vec<Header>,
    /// Print only messages whose value has this part, such as {"value": "/order/status", "is": "open"}; repeated: all of
    /// them
    #[arg(long, value_name = "JSON", value_parser = value_filter::parse)]
    pub(crate) filter: Vec<Filter>,
    /// How long a message waits for others at the log end, at most 10
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = linger)]
    pub(crate) linger: Option<Duration>,
    /// Handling of messages that are not printed as fast as they arrive
    #[arg(long, value_name = "CHOICE", value_enum, default_value_t = OnLag::Wait)]
    pub(crate) on_lag: OnLag,
    /// Exit after this many messages, counted over all partitions
    #[arg(short, long, allow_negative_numbers = true, value_parser = count)]
    pub(crate) count: Option<u64>,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) headers: Headers,
}

impl Subscribe {
    /// Describes options that conflict.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let skips = self.group.is_some() && self.on_lag == OnLag::Skip;
        let skips = skips.then_some("a group gets every message: --group has --on-lag skip");
        skips.or_else(|| self.output.problem(!self.stream.is_empty()))
    }
}

/// Format of printed messages.
#[derive(Debug, clap::Args)]
pub(crate) struct Output {
    /// Format of a message, see below
    #[arg(short, long, value_parser = Template::parse, conflicts_with_all = ["json", "key_delimiter", "delimiter"])]
    pub(crate) format: Option<Template>,
    /// Print JSON lines, see below
    #[arg(short = 'J', long, conflicts_with_all = ["key_delimiter", "delimiter"])]
    pub(crate) json: bool,
    /// Print the key and this text before the value
    #[arg(short = 'K', long, value_name = "TEXT", value_parser = template::delimiter, conflicts_with = "stream")]
    pub(crate) key_delimiter: Option<Delimiter>,
    /// Print this text after each message
    #[arg(short = 'D', long, value_name = "TEXT", default_value = r"\n", value_parser = template::delimiter)]
    pub(crate) delimiter: Delimiter,
    /// Print NULL for null keys and values; by default they are empty
    #[arg(short = 'Z', long, conflicts_with_all = ["json", "stream"])]
    pub(crate) null: bool,
    /// Print values and keys with a schema as JSON, if the bridge's cluster has schemas; --json does so by itself
    #[arg(long, conflicts_with_all = ["no_decode", "stream"])]
    decode: bool,
    /// With --json, print values and keys with a schema as they are stored
    #[arg(long, requires = "json", conflicts_with = "stream")]
    no_decode: bool,
}

impl Output {
    /// Whether values and keys with a schema are to be JSON.
    pub(crate) fn decodes(&self) -> bool {
        self.decode || self.json && !self.no_decode
    }

    /// Describes options that conflict.
    pub(super) fn problem(&self, is_stream: bool) -> Option<&'static str> {
        let has_partition = self.format.as_ref().is_some_and(Template::has_partition);
        (is_stream && has_partition).then_some("a stream has no partitions: --format has %p")
    }
}

/// Kafka's `isolation.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Isolation {
    /// All, also those of open and aborted transactions
    ReadUncommitted,
    /// None of open and aborted transactions; the log ends where the first open one begins
    ReadCommitted,
}

impl From<Isolation> for sluicegate_client::Isolation {
    fn from(isolation: Isolation) -> Self {
        match isolation {
            Isolation::ReadUncommitted => Self::ReadUncommitted,
            Isolation::ReadCommitted => Self::ReadCommitted,
        }
    }
}

/// Bytes with their escapes resolved; an alias, because clap takes a bare `Vec` for a repeated option.
pub(crate) type Delimiter = std::sync::Arc<[u8]>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnLag {
    /// All are printed, later
    Wait,
    /// Jump to the log end, and say what was skipped
    Skip,
}

/// Show the newest message of each key of a topic or stream, and keep it current, until Ctrl-C
///
/// On a terminal, it shows a table that changes. Otherwise it prints a JSON line for each key, and for each change. The
/// gateway's route has to list the topic or stream under `tables`.
///
/// In a topic, a message without value removes its key. In a stream, the subject is the key, and a message with the
/// header KV-Operation: DEL or PURGE removes it. If the connection is lost, table says so and goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = help::TABLE)]
pub(crate) struct Table {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Print the table once it is complete, as one JSON object of keys and values, and exit
    #[arg(long)]
    pub(crate) once: bool,
    /// Show only this key or subject, or one of these; can be repeated
    #[arg(long, value_name = "KEY", visible_alias = "subject")]
    pub(crate) record_key: Vec<String>,
    /// Show only keys or subjects that begin with this text, too; can be repeated
    #[arg(long, value_name = "TEXT", visible_alias = "subject-prefix")]
    pub(crate) record_key_prefix: Vec<String>,
    /// Show only keys whose newest message has this record header; repeated with the same KEY: any of the values, with
    /// others: all of them
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = record_header)]
    pub(crate) record_header: Vec<Header>,
    /// Show only keys whose newest message has this part, such as {"value": "/order/status", "is": "open"}; repeated: all
    /// of them
    #[arg(long, value_name = "JSON", value_parser = value_filter::parse)]
    pub(crate) filter: Vec<Filter>,
    #[command(flatten)]
    pub(crate) headers: Headers,
}

fn linger(text: &str) -> Result<Duration, &'static str> {
    let parsed = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    parsed.filter(|time| *time <= MAX_LINGER).ok_or("expected seconds, at most 10")
}

/// The bridge's limit.
const MAX_LINGER: Duration = Duration::from_secs(10);
