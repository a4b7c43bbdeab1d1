//! The arguments of `subscribe`.

use std::time::Duration;

use clap::{ArgGroup, ValueEnum};
use sluicegate_client::Header;

use super::{Headers, Isolation, Output, count, help, partition, record_header, stream, topic};
use crate::position::Position;

/// Print the messages of topics or streams as they are written, until Ctrl-C
///
/// Prints each message once, those of a partition in order, those of different partitions as they arrive. Partitions
/// that a topic gets later are read from their beginning. If the connection is lost, or Kafka or NATS cannot be read
/// for a while, subscribe says so and continues where it was.
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
    /// Number of a partition of each topic, can be repeated; by default all
    #[arg(short, long, allow_negative_numbers = true, value_parser = partition, conflicts_with = "stream")]
    pub(crate) partition: Vec<i32>,
    /// First offset in each partition, or sequence in each stream, as in fetch --from
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnLag {
    /// All are printed, later
    Wait,
    /// Jump to the log end, and say what was skipped
    Skip,
}

fn linger(text: &str) -> Result<Duration, &'static str> {
    let parsed = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    parsed.filter(|time| *time <= MAX_LINGER).ok_or("expected seconds, at most 10")
}

/// The bridge's limit.
const MAX_LINGER: Duration = Duration::from_secs(10);
