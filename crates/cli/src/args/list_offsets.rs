//! The arguments of `list-offsets`.

use sluicegate_client::At;

use super::{Headers, Isolation, Target, partition};
use crate::position;

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
