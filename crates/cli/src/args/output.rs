//! Options for printing messages, and for selecting them.

use clap::ValueEnum;

use crate::template::{self, Template};

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
}

impl Output {
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
