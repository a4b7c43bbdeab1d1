//! The arguments of `produce`.

use std::path::PathBuf;

use clap::ValueHint;

use super::output::Delimiter;
use super::{Headers, help, partition, record_header, topic};
use crate::template;

/// Write records to a topic: each line of standard input is a value
///
/// Takes the ws:// or wss:// URL of a WebSocket route. Exits with 0 only if Kafka acknowledged every record. Records that
/// are rejected temporarily are retried for up to a minute, and can end up behind later ones. Records that may have been
/// written are not retried.
#[derive(Debug, clap::Args)]
#[command(after_help = help::PRODUCE)]
pub(crate) struct Produce {
    /// Name of the topic, which must exist
    #[arg(value_parser = topic)]
    pub(crate) topic: String,
    /// Number of the partition; by default, or with -1, chosen by the key's hash, or by the bridge for records without a key
    #[arg(short, long, allow_negative_numbers = true, value_parser = partition_or_any)]
    pub(crate) partition: Option<i32>,
    /// Read from this file instead of standard input
    #[arg(short = 'l', long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Split each line into key and value at the first occurrence of this text
    #[arg(short = 'K', long, value_name = "TEXT", value_parser = template::delimiter)]
    pub(crate) key_delimiter: Option<Delimiter>,
    /// Text that ends each record
    #[arg(short = 'D', long, value_name = "TEXT", default_value = r"\n", value_parser = template::delimiter)]
    pub(crate) delimiter: Delimiter,
    /// Kafka header to add to every record; can be repeated
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = record_header)]
    pub(crate) record_header: Vec<sluicegate_client::Header>,
    /// Read JSON lines, see below
    #[arg(short = 'J', long, conflicts_with_all = ["key_delimiter", "delimiter"])]
    pub(crate) json: bool,
    /// Write empty keys and values as null
    #[arg(short = 'Z', long)]
    pub(crate) null: bool,
    /// The gateway's `max_message_bytes`: larger records fail without being sent
    #[arg(long, value_name = "N", default_value_t = 1 << 20)]
    pub(crate) max_message_bytes: usize,
    #[command(flatten)]
    pub(crate) headers: Headers,
}

fn partition_or_any(text: &str) -> Result<i32, &'static str> {
    if text == "-1" { Ok(-1) } else { partition(text) }
}
