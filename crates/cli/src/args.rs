//! The command line.

mod help;
mod subscribe;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use sluicegate_client::At;

use crate::position::{self, Position};
use crate::stderr::{printable, say};
use crate::template::{self, Template};
pub(crate) use subscribe::{OnLag, Subscribe};

/// Read and write Kafka topics through a Sluicegate gateway
///
/// Payload goes to standard output, everything else to standard error.
#[derive(Debug, Parser)]
#[command(name = "sluicegate", version, after_help = help::SETTINGS, max_term_width = 100)]
#[command(arg_required_else_help = false)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) gateway: Gateway,
    #[command(flatten)]
    headers: Headers,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// The arguments of -H, wherever they stand.
    pub(crate) fn headers(&self) -> impl Iterator<Item = &str> {
        let behind_the_command = match &self.command {
            Command::Ping(Ping { headers, .. })
            | Command::Topics(Topics { headers, .. })
            | Command::ListOffsets(ListOffsets { headers, .. })
            | Command::Fetch(Fetch { headers, .. })
            | Command::Subscribe(Subscribe { headers, .. })
            | Command::Produce(Produce { headers, .. }) => &headers.headers[..],
            Command::Completions(_) => &[],
        };
        self.headers.headers.iter().chain(behind_the_command).map(String::as_str)
    }
}

/// Where the gateway is and how to connect to it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Gateway")]
pub(crate) struct Gateway {
    /// URL of the gateway's route; its kind depends on the command
    ///
    /// `topics` takes the http:// or https:// URL of a `rest` route (default: SLUICEGATE_REST_URL, the profile's
    /// rest_url, http://127.0.0.1:8080/kafka), or the URL of a WebSocket route. All other commands take the ws:// or wss:// URL of a WebSocket route
    /// (default: SLUICEGATE_URL, the profile's url, ws://127.0.0.1:8080/pubsub).
    #[arg(short, long, global = true, value_hint = ValueHint::Url)]
    pub(crate) url: Option<String>,
    /// Trust the certificates in this PEM file, and no others
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cacert: Option<PathBuf>,
    /// Client certificate chain for mTLS, a PEM file; it can also hold the key
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cert: Option<PathBuf>,
    /// Private key of --cert, a PEM file
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) key: Option<PathBuf>,
    /// Use this profile of the configuration file (environment: SLUICEGATE_PROFILE)
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Configuration file; by default sluicegate/config.toml in $XDG_CONFIG_HOME or ~/.config
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Time limit for connecting, and for each answer
    #[arg(long, global = true, value_name = "SECONDS", default_value = "30", allow_negative_numbers = true,
        value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Print only errors on standard error
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Log the connection, TLS, and the size and duration of each command on standard error
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
}

/// -H: the same before and after the command's name.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Gateway")]
pub(crate) struct Headers {
    /// HTTP header to send when connecting, or @FILE with one per line; can be repeated
    ///
    /// The environment variable SLUICEGATE_HEADERS takes the same, one per line. A header in an argument overrides one of
    /// the same name in the environment, which overrides the profile's.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE | @FILE", display_order = 0)]
    headers: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Ping(Ping),
    Topics(Topics),
    ListOffsets(ListOffsets),
    Fetch(Fetch),
    Subscribe(Subscribe),
    Produce(Produce),
    Completions(Completions),
}

/// Measure round trips to the bridge and back
///
/// Takes the ws:// or wss:// URL of a WebSocket route. Does not involve Kafka.
#[derive(Debug, clap::Args)]
pub(crate) struct Ping {
    /// Number of pings; by default until Ctrl-C
    #[arg(short, long, allow_negative_numbers = true, value_parser = count)]
    pub(crate) count: Option<u64>,
    /// Time between two pings
    #[arg(short, long, value_name = "SECONDS", default_value = "1", allow_negative_numbers = true,
        value_parser = seconds)]
    pub(crate) interval: Duration,
    #[command(flatten)]
    pub(crate) headers: Headers,
}

/// List topics with their partitions, leaders and replicas
///
/// Takes the http:// or https:// URL of a `rest` route, or with --url the ws:// or wss:// URL of a WebSocket route. Shows the
/// topics that the route allows to read, without Kafka's internal ones.
#[derive(Debug, clap::Args)]
#[command(after_help = help::TOPICS)]
pub(crate) struct Topics {
    /// Topics to show; by default all
    #[arg(value_parser = topic)]
    pub(crate) topics: Vec<String>,
    /// Print one JSON document, see below
    #[arg(short = 'J', long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) headers: Headers,
}

/// Show where the log of each partition starts and ends, or the offset at a time
///
/// Takes the ws:// or wss:// URL of a WebSocket route. Prints a line for each partition:
/// `TOPIC [PARTITION] earliest OFFSET latest OFFSET`, or with --at `TOPIC [PARTITION] offset OFFSET`. That offset is -1
/// if all messages are older than the time. `latest` is the offset of the next message to be written.
#[derive(Debug, clap::Args)]
pub(crate) struct ListOffsets {
    /// Name of the topic
    #[arg(value_parser = topic)]
    pub(crate) topic: String,
    /// Number of the partition; by default all
    #[arg(short, long, allow_negative_numbers = true, value_parser = partition)]
    pub(crate) partition: Option<i32>,
    /// Show one offset: earliest, latest, the first at or after a time (milliseconds since 1970 or RFC 3339), or that of the
    /// latest time, max-timestamp
    #[arg(long, value_name = "WHEN", allow_negative_numbers = true, value_parser = position::at)]
    pub(crate) at: Option<At>,
    /// Where the log ends: at open transactions or not
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = Isolation::ReadUncommitted)]
    pub(crate) isolation: Isolation,
    /// Print JSON lines: {"topic","partition","earliest","latest"}, with --at {"topic","partition","offset"}
    #[arg(short = 'J', long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) headers: Headers,
}

/// Print the messages of a topic
///
/// Takes the ws:// or wss:// URL of a WebSocket route. Reads each partition from --from to its log end as of the start,
/// then exits. Fails if a partition makes no progress below its log end within --timeout. Temporary errors are
/// retried: for up to 30 s, or with --follow until Ctrl-C.
///
/// Without --partition, fetch reads all partitions that exist at the start, with --follow also those that the topic gets later. Messages of one partition are printed in order, those of different partitions as they arrive.
#[derive(Debug, clap::Args)]
#[command(after_help = help::OUTPUT)]
pub(crate) struct Fetch {
    /// Name of the topic
    #[arg(value_parser = topic)]
    pub(crate) topic: String,
    /// Number of the partition; by default all
    #[arg(short, long, allow_negative_numbers = true, value_parser = partition)]
    pub(crate) partition: Option<i32>,
    /// First offset in each partition: a number, earliest (beginning), latest (end), -N (the last N), s@TIME (at a time,
    /// as in list-offsets --at)
    #[arg(
        short = 'o',
        long,
        visible_alias = "offset",
        value_name = "OFFSET",
        default_value = "earliest",
        allow_negative_numbers = true
    )]
    pub(crate) from: Position,
    /// Which records of transactions to print
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = Isolation::ReadUncommitted)]
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

/// How a message is printed.
#[derive(Debug, clap::Args)]
pub(crate) struct Output {
    /// Format of a message, see below
    #[arg(short, long, value_parser = Template::parse, conflicts_with_all = ["json", "key_delimiter", "delimiter"])]
    pub(crate) format: Option<Template>,
    /// Print JSON lines, see below
    #[arg(short = 'J', long, conflicts_with_all = ["key_delimiter", "delimiter"])]
    pub(crate) json: bool,
    /// Print the key and this text before the value
    #[arg(short = 'K', long, value_name = "TEXT", value_parser = template::delimiter)]
    pub(crate) key_delimiter: Option<Delimiter>,
    /// Print this text after each message
    #[arg(short = 'D', long, value_name = "TEXT", default_value = r"\n", value_parser = template::delimiter)]
    pub(crate) delimiter: Delimiter,
    /// Print NULL for null keys and values; by default they are empty
    #[arg(short = 'Z', long, conflicts_with = "json")]
    pub(crate) null: bool,
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

/// Print a completion script for a shell
///
/// For example, in ~/.bashrc: source <(sluicegate completions bash)
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
}

/// Bytes with their escapes resolved; an alias, because clap takes a bare `Vec` for a repeated option.
pub(crate) type Delimiter = std::sync::Arc<[u8]>;

/// The parsed command line; or the exit code, after printing help or one line on the mistake.
pub(crate) fn parse() -> Result<Args, ExitCode> {
    Args::try_parse().map_err(|error| {
        if error.use_stderr() {
            say(format_args!("sluicegate: {} (see sluicegate --help)", sentence(&error)));
            ExitCode::from(2)
        } else {
            let _ = error.print();
            ExitCode::SUCCESS
        }
    })
}

/// The first of clap's paragraphs: the others are tips and the usage.
fn sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    printable(lines.join(" ").trim_start_matches("error: "))
}

fn topic(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("expected the name of a topic") } else { Ok(text.to_owned()) }
}

fn partition(text: &str) -> Result<i32, &'static str> {
    text.parse().ok().filter(|&number| number >= 0).ok_or("expected a partition number, 0 to 2147483647")
}

fn partition_or_any(text: &str) -> Result<i32, &'static str> {
    if text == "-1" { Ok(-1) } else { partition(text) }
}

fn record_header(text: &str) -> Result<sluicegate_client::Header, &'static str> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok(sluicegate_client::Header { key: key.to_owned(), value: Some(value.to_owned().into()) })
}

fn count(text: &str) -> Result<u64, &'static str> {
    text.parse().ok().filter(|&number| number > 0).ok_or("expected a number, at least 1")
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    let parsed = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match parsed {
        Some(limit) if !limit.is_zero() && limit <= MAX_SECONDS => Ok(limit),
        _ => Err("expected seconds, more than 0 and at most 86400"),
    }
}

const MAX_SECONDS: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn durations_are_seconds_within_bounds() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("86400"), Ok(MAX_SECONDS));
        for text in ["", "0", "-1", "nan", "inf", "1e300", "86401", "5s"] {
            assert!(seconds(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn headers_before_and_after_the_command_are_all_read() {
        let line = ["sluicegate", "-H", "a: 1", "produce", "--header", "b: 2", "t", "-H", "@c"];
        let args = Args::try_parse_from(line).unwrap();
        assert_eq!(args.headers().collect::<Vec<_>>(), ["a: 1", "b: 2", "@c"]);
    }
}
