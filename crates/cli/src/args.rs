//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use sluicegate_client::At;

use crate::position::{self, Position};
use crate::stderr::{printable, say};
use crate::template::{self, Template};

/// Kafka through a Sluicegate gateway.
///
/// Payload goes to standard output, everything else to standard error.
#[derive(Debug, Parser)]
#[command(name = "sluicegate", version, after_help = EXIT_CODES, max_term_width = 100)]
#[command(arg_required_else_help = false)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) gateway: Gateway,
    #[command(flatten)]
    pub(crate) short: ShortHeaders,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// `-H` where it means a header of the upgrade.
#[derive(Debug, clap::Args)]
pub(crate) struct ShortHeaders {
    #[arg(short = 'H', hide = true, value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) short_headers: Vec<Header>,
}

impl Args {
    /// The headers of the upgrade.
    pub(crate) fn headers(&self) -> impl Iterator<Item = &Header> {
        let behind_the_command = match &self.command {
            Command::Ping(Ping { short, .. })
            | Command::ListOffsets(ListOffsets { short, .. })
            | Command::Fetch(Fetch { short, .. }) => &short.short_headers[..],
            Command::Produce(_) => &[],
        };
        self.gateway.headers.iter().chain(&self.short.short_headers).chain(behind_the_command)
    }
}

/// Where the gateway is and how to talk to it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Gateway")]
pub(crate) struct Gateway {
    /// Pub/sub endpoint of the gateway, ws:// or wss://
    #[arg(
        short,
        long,
        global = true,
        env = "SLUICEGATE_URL",
        hide_env_values = true,
        default_value = "ws://127.0.0.1:8080/pubsub"
    )]
    pub(crate) url: String,
    /// HTTP header to send with the upgrade; may be repeated. -H is short for it, but behind `produce`
    #[arg(long = "header", global = true, value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) headers: Vec<Header>,
    /// Longest wait for the connection and for each answer
    #[arg(long, global = true, value_name = "SECONDS", default_value = "30", allow_negative_numbers = true,
        value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Say nothing on standard error but errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) value: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Ping(Ping),
    ListOffsets(ListOffsets),
    Fetch(Fetch),
    Produce(Produce),
}

/// Measure round trips through the whole path, Kafka excluded
#[derive(Debug, clap::Args)]
pub(crate) struct Ping {
    /// Pings to send; without it, until Ctrl-C
    #[arg(short, long, allow_negative_numbers = true, value_parser = count)]
    pub(crate) count: Option<u64>,
    /// From one ping to the next
    #[arg(short, long, value_name = "SECONDS", default_value = "1", allow_negative_numbers = true,
        value_parser = seconds)]
    pub(crate) interval: Duration,
    #[command(flatten)]
    pub(crate) short: ShortHeaders,
}

/// Show a topic's offsets: log start, log end, or at a time
///
/// One line for each partition: `TOPIC [PARTITION] offset OFFSET`. The offset is -1 where every message is older than
/// the time asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct ListOffsets {
    /// Its name
    #[arg(value_parser = topic)]
    pub(crate) topic: String,
    /// Partition; without it 0, 1, 2, … up to the first that does not exist (the protocol lists no partitions)
    #[arg(short, long, allow_negative_numbers = true, value_parser = partition)]
    pub(crate) partition: Option<i32>,
    /// earliest, latest, milliseconds since 1970 or an RFC 3339 time
    #[arg(long, value_name = "WHEN", default_value = "latest", allow_negative_numbers = true,
        value_parser = position::at)]
    pub(crate) at: At,
    /// Print JSON lines: {"topic","partition","offset"}
    #[arg(short = 'J', long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) short: ShortHeaders,
}

/// Print a partition's messages
///
/// Reads from the asked offset up to the log end as it was at the start, and then exits. Fails if it gets no further for
/// --timeout before that.
#[derive(Debug, clap::Args)]
#[command(after_help = FORMAT)]
pub(crate) struct Fetch {
    /// Its name
    #[arg(value_parser = topic)]
    pub(crate) topic: String,
    /// Its number, from 0
    #[arg(short, long, allow_negative_numbers = true, value_parser = partition)]
    pub(crate) partition: i32,
    /// First offset: a number, earliest (beginning), latest (end), -N (the last N), s@TIME (at a time as for
    /// list-offsets)
    #[arg(
        short = 'o',
        long,
        visible_alias = "offset",
        value_name = "OFFSET",
        default_value = "earliest",
        allow_negative_numbers = true
    )]
    pub(crate) from: Position,
    /// Exit after this many messages
    #[arg(short, long, allow_negative_numbers = true, value_parser = count)]
    pub(crate) count: Option<u64>,
    /// Wait for new messages at the log end
    #[arg(long)]
    pub(crate) follow: bool,
    /// Exit at the log end; this is the default
    #[arg(short, conflicts_with = "follow")]
    pub(crate) exit_at_end: bool,
    /// How to print a message, see below
    #[arg(short, long, value_parser = Template::parse, conflicts_with_all = ["json", "key_delimiter", "delimiter"])]
    pub(crate) format: Option<Template>,
    /// Print JSON lines, see below
    #[arg(short = 'J', long, conflicts_with_all = ["key_delimiter", "delimiter"])]
    pub(crate) json: bool,
    /// Print the key and this before the value
    #[arg(short = 'K', long, value_name = "TEXT", value_parser = template::delimiter)]
    pub(crate) key_delimiter: Option<Delimiter>,
    /// Print this behind each message
    #[arg(short = 'D', long, value_name = "TEXT", default_value = r"\n", value_parser = template::delimiter)]
    pub(crate) delimiter: Delimiter,
    /// Print NULL for a key or value that is null, instead of nothing
    #[arg(short = 'Z', long, conflicts_with = "json")]
    pub(crate) null: bool,
    #[command(flatten)]
    pub(crate) short: ShortHeaders,
}

/// Write records to a topic: each line of standard input is a value
///
/// Exits with 0 only where Kafka has acknowledged every record. What is refused for the moment is sent again, behind what
/// was sent meanwhile, until a minute after it was first refused; what may have been written is not.
#[derive(Debug, clap::Args)]
#[command(after_help = RECORDS)]
pub(crate) struct Produce {
    /// Its name; it must exist
    #[arg(value_parser = topic)]
    pub(crate) topic: String,
    /// Partition; without it, or -1, by the key's hash, or any without a key
    #[arg(short, long, allow_negative_numbers = true, value_parser = partition_or_any)]
    pub(crate) partition: Option<i32>,
    /// Read from this file and not from standard input
    #[arg(short = 'l', long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// What is before the first one of these in a line is the key
    #[arg(short = 'K', long, value_name = "TEXT", value_parser = template::delimiter)]
    pub(crate) key_delimiter: Option<Delimiter>,
    /// What is behind each record
    #[arg(short = 'D', long, value_name = "TEXT", default_value = r"\n", value_parser = template::delimiter)]
    pub(crate) delimiter: Delimiter,
    /// Header of every record; may be repeated
    #[arg(short = 'H', long, value_name = "KEY=VALUE", value_parser = record_header)]
    pub(crate) record_header: Vec<sluicegate_client::Header>,
    /// Read JSON lines, see below
    #[arg(short = 'J', long, conflicts_with_all = ["key_delimiter", "delimiter"])]
    pub(crate) json: bool,
    /// Write empty keys and values as null
    #[arg(short = 'Z', long)]
    pub(crate) null: bool,
    /// The gateway's `max_message_bytes`: a record that is larger fails by itself
    #[arg(long, value_name = "N", default_value_t = 1 << 20)]
    pub(crate) max_message_bytes: usize,
}

/// Bytes with their escapes resolved; an alias, because clap takes a bare `Vec` for a repeated option.
pub(crate) type Delimiter = std::sync::Arc<[u8]>;

/// What the user asked for, or the exit after help or one line on what is wrong.
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

/// Of clap's paragraphs the first: the others are tips and the usage.
fn sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    printable(lines.join(" ").trim_start_matches("error: "))
}

fn topic(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("a topic has a name") } else { Ok(text.to_owned()) }
}

fn partition(text: &str) -> Result<i32, &'static str> {
    text.parse().ok().filter(|&number| number >= 0).ok_or("expected a partition's number, 0 to 2147483647")
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

fn header(text: &str) -> Result<Header, &'static str> {
    let (name, value) = text.split_once(':').ok_or("expected 'Name: value'")?;
    Ok(Header { name: name.trim().to_owned(), value: value.trim().to_owned() })
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    let parsed = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match parsed {
        Some(limit) if !limit.is_zero() && limit <= LONGEST => Ok(limit),
        _ => Err("expected seconds, more than 0 and at most 86400"),
    }
}

const LONGEST: Duration = Duration::from_secs(86_400);

const EXIT_CODES: &str = "\
Exit codes:
    0  done; also when whoever reads the output has had enough (| head)
    1  the server or Kafka refused the command, did not acknowledge every record, or gave none up to the log end
    2  wrong usage, or input that cannot be read
    3  no connection, or it was lost, or an answer did not come in time or made no sense
    4  the output could not be written
  130  Ctrl-C";

const FORMAT: &str = r#"Format, as of kcat:
  %s  value             %S  its length in bytes, -1 for null
  %k  key               %K  its length in bytes, -1 for null
  %h  headers, as KEY=VALUE,KEY=VALUE; NULL for a value that is null
  %t  topic  %p  partition  %o  offset  %T  timestamp in milliseconds  %%  a percent sign
  \n \r \t \\ \xHH

JSON lines: {"topic","partition","offset","timestamp","headers","key","value"}, where "headers" are [{"key","value"},…] and
only where there are some. A key or value is null or a
string where it is UTF-8, otherwise {"base64": "…"}."#;

const RECORDS: &str = r#"JSON lines as fetch prints them: {"key","value","headers","timestamp","partition"}, where a key or value is a string,
{"base64": "…"} or null, and "topic" and "offset" mean nothing. All may be left out. -p holds against "partition".

The summary on standard error counts records: sent, acknowledged, failed (not written), unknown (may be written)."#;

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn durations_are_seconds_within_bounds() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("86400"), Ok(LONGEST));
        for text in ["", "0", "-1", "nan", "inf", "1e300", "86401", "5s"] {
            assert!(seconds(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_header_is_split_at_its_first_colon() {
        let parsed = header("X-Url: ws://a:1 ").unwrap();
        assert_eq!((parsed.name.as_str(), parsed.value.as_str()), ("X-Url", "ws://a:1"));
        assert!(header("no colon").is_err());
    }
}
