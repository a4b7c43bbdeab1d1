//! The arguments of `fetch`.

use super::{Headers, Isolation, Name, Output, Target, count, help, partition};
use crate::position::Position;

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
