//! The command line.

mod admin;
mod help;
mod produce;
mod reads;
mod suggest;

use std::iter::successors;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

use crate::stderr::{printable, say};
pub(crate) use admin::{Admin, AdminCommand, Explain, Right, Sessions};
pub(crate) use produce::{Offsets, Produce};
pub(crate) use reads::{Fetch, ListOffsets, OnLag, Output, Subscribe, Table};

/// Read and write Kafka topics and NATS streams through a Sluicegate gateway
///
/// Payload goes to standard output, everything else to standard error.
#[derive(Debug, Parser)]
#[command(name = "sluicegate", version, after_help = help::SETTINGS, max_term_width = 100)]
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
            | Command::Table(Table { headers, .. })
            | Command::Produce(Produce { headers, .. }) => &headers.headers[..],
            Command::Admin(_) | Command::CheckRoutes(_) | Command::Completions(_) => &[],
        };
        self.headers.headers.iter().chain(behind_the_command).map(String::as_str)
    }

    /// Fails if arguments that are valid by themselves do not fit together, where clap cannot know.
    fn checked(self) -> Result<Self, clap::Error> {
        let problem = match &self.command {
            Command::Fetch(Fetch { target, output, .. }) => output.problem(target.stream.is_some()),
            Command::Subscribe(subscribe) => subscribe.problem(),
            Command::Produce(produce) => produce.problem(),
            Command::Admin(_) if self.has_gateway() => Some(NOT_THE_GATEWAY),
            Command::Admin(Admin { command: AdminCommand::Sessions(sessions), .. }) => sessions.problem(),
            Command::Admin(Admin { command: AdminCommand::Explain(explain), .. }) => explain.problem(),
            _ => None,
        };
        match problem {
            Some(problem) => Err(Self::command().error(ErrorKind::ArgumentConflict, problem)),
            None => Ok(self),
        }
    }

    /// Whether arguments say where the gateway is or how to connect to it.
    fn has_gateway(&self) -> bool {
        let Gateway { url, cacert, cert, key, profile, config, .. } = &self.gateway;
        let files = [cacert, cert, key, config];
        url.is_some()
            || profile.is_some()
            || files.into_iter().any(Option::is_some)
            || self.headers().next().is_some()
    }
}

/// Where the gateway is and how to connect to it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Gateway")]
pub(crate) struct Gateway {
    /// URL of a WebSocket route of the gateway: ws:// or wss://
    ///
    /// By default SLUICEGATE_URL, the profile's url, or ws://127.0.0.1:8080/pubsub. `topics` also takes the http:// or
    /// https:// URL of a `rest` route.
    #[arg(short, long, global = true, value_hint = ValueHint::Url)]
    pub(crate) url: Option<String>,
    /// Log in with the JSON Web Token in this file, which is read again before each connection
    ///
    /// When the server says that the identity expires soon, the token that the file has by then renews it on the open
    /// session. By default SLUICEGATE_TOKEN_FILE, or the profile's token_file.
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) token_file: Option<PathBuf>,
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
    /// The environment variable SLUICEGATE_HEADERS takes the same, one per line. A header in an argument overrides one
    /// of the same name in the environment, which overrides the profile's.
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
    Table(Table),
    Produce(Produce),
    Admin(Admin),
    CheckRoutes(CheckRoutes),
    Completions(Completions),
}

/// Measure round trips to the bridge and back
///
/// Does not involve Kafka or NATS.
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
/// Shows the topics that the route allows to read, without Kafka's internal ones.
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

/// Topic or stream that a command reads or writes.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Target {
    /// Name of the topic
    #[arg(value_parser = topic)]
    topic: Option<String>,
    /// Name of a NATS stream, instead of a topic
    #[arg(long, value_name = "STREAM", value_parser = stream)]
    stream: Option<String>,
}

/// A topic, or a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name<'a> {
    Topic(&'a str),
    Stream(&'a str),
}

impl Target {
    pub(crate) fn name(&self) -> Name<'_> {
        match &self.stream {
            Some(stream) => Name::Stream(stream),
            // The group is required.
            None => Name::Topic(self.topic.as_deref().unwrap_or_default()),
        }
    }
}

/// Check the configuration of the gateway's filter, without a gateway
///
/// Prints every mistake with its key, and exits with 1 if there is one. Connects to nothing: whether the bridge has the
/// clusters, and the gateway the routes, is not checked.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckRoutes {
    #[command(flatten)]
    pub(crate) routes: RoutesFile,
}

/// The configuration of the gateway's filter.
#[derive(Debug, clap::Args)]
pub(crate) struct RoutesFile {
    /// The filter's JSON, an array of its routes, or YAML of Envoy, Envoy Gateway, Istio or APISIX that has such filters;
    /// - for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// The gateway, for a configuration without the key `host`
    #[arg(long, value_name = "GATEWAY", default_value = "envoy")]
    pub(crate) host: Host,
}

/// A gateway that runs the filter.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Host {
    Envoy,
    Apisix,
}

/// Print a completion script for a shell
///
/// In ~/.bashrc: source <(sluicegate completions bash), in ~/.zshrc after compinit: source <(sluicegate completions
/// zsh), in ~/.config/fish/config.fish: sluicegate completions fish | source. Names of topics are completed too, if the
/// gateway answers within a second.
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
}

/// The parsed command line; or the exit code, after printing help or one line on the mistake. No arguments at all get
/// the help, as an error.
pub(crate) fn parse() -> Result<Args, ExitCode> {
    Args::try_parse().and_then(Args::checked).map_err(|error| {
        if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            let _ = error.print();
            ExitCode::from(2)
        } else if error.use_stderr() {
            let meant = suggest::suggestion(&error).map(|meant| format!("; did you mean {meant}?"));
            let meant = meant.unwrap_or_default();
            let commands = subcommands();
            say(format_args!("sluicegate: {}{meant} (see sluicegate{commands} --help)", sentence(&error)));
            ExitCode::from(2)
        } else {
            let _ = error.print();
            ExitCode::SUCCESS
        }
    })
}

/// The subcommands of a command line with a mistake, each after a space.
fn subcommands() -> String {
    let matches = Args::command().ignore_errors(true).try_get_matches().unwrap_or_default();
    let commands = successors(matches.subcommand(), |(_, matches)| matches.subcommand());
    commands.map(|(name, _)| format!(" {name}")).collect()
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

fn group(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("expected the name of a group") } else { Ok(text.to_owned()) }
}

fn stream(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("expected the name of a stream") } else { Ok(text.to_owned()) }
}

fn partition(text: &str) -> Result<i32, &'static str> {
    text.parse().ok().filter(|&number| number >= 0).ok_or("expected a partition number, 0 to 2147483647")
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

const NOT_THE_GATEWAY: &str = "the admin port is not the gateway: use --admin instead of --url, and no --header, \
    --cacert, --cert, --key, --profile or --config";
const MAX_SECONDS: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
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
}
