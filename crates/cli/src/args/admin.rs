//! The arguments of `admin`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::builder::NonEmptyStringValueParser;
use clap::{Subcommand, ValueEnum, ValueHint};

use super::{RoutesFile, help, topic};

/// Operate a bridge over its admin port
///
/// Of the options under Gateway, only --timeout, --quiet and --verbose apply.
#[derive(Debug, clap::Args)]
pub(crate) struct Admin {
    /// URL of the bridge's admin port: http://HOST:PORT
    ///
    /// By default SLUICEGATE_ADMIN, or http://127.0.0.1:7401.
    #[arg(long, global = true, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) admin: Option<String>,
    /// File with the bridge's `admin_token`
    ///
    /// By default, the token is the value of SLUICEGATE_ADMIN_TOKEN. No argument takes the token itself: every user of
    /// the machine can see arguments.
    // The ID is that of the gateway's option, which this one replaces.
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) token_file: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: AdminCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    Sessions(Sessions),
    Explain(Explain),
}

/// Say what a client may do on a route, and why not
///
/// Sends the bridge what the gateway would send for the client, and prints who the client is, what each rule of the
/// route grants, and the rights to the topics of --topic. The bridge decides as for the client itself: by its own
/// issuers, keys, revocations and clusters. The audit log gets no line.
///
/// Exits with 1 if the client is refused, or has no --right to a topic. The token, and the credentials of a route's own
/// cluster, go to the admin port, which has no TLS.
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) routes: RoutesFile,
    /// Path of a request, such as /pubsub or /kafka/topics
    pub(crate) path: String,
    /// File with the client's JSON Web Token; - for standard input
    ///
    /// By default, the token is the value of SLUICEGATE_CLIENT_TOKEN. Without either, the client is nobody in particular.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "claims")]
    pub(crate) client_token_file: Option<PathBuf>,
    /// File with the client's claims as JSON, on routes whose gateway verifies them; - for standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) claims: Option<PathBuf>,
    /// Topic or stream to explain the rights to; can be repeated, up to 20 times
    #[arg(long, value_parser = topic)]
    pub(crate) topic: Vec<String>,
    /// The only right to explain; by default all
    #[arg(long, requires = "topic")]
    pub(crate) right: Option<Right>,
    /// Print one JSON document, as the bridge sends it
    #[arg(short = 'J', long)]
    pub(crate) json: bool,
}

/// A right to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Right {
    Read,
    Write,
    Table,
}

impl Explain {
    /// Describes options that conflict.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let files = [Some(&self.routes.file), self.client_token_file.as_ref(), self.claims.as_ref()];
        let is_stdin = |file: &&PathBuf| file.as_path() == Path::new("-");
        (files.into_iter().flatten().filter(is_stdin).count() > 1)
            .then_some("standard input is one file: name the others")
    }
}

/// List the open sessions of a bridge, or end them
///
/// Prints a table of at most 10,000 sessions, by ID. RECEIVED counts bytes from the client, SENT bytes to it. A lag is
/// the number of records up to the log ends.
///
/// A bridge knows only its own sessions: with several bridges, run the command against the admin port of each.
#[derive(Debug, clap::Args)]
#[command(after_help = help::SESSIONS)]
pub(crate) struct Sessions {
    /// Print JSON lines, see below
    #[arg(short = 'J', long, conflicts_with = "end")]
    pub(crate) json: bool,
    /// End all sessions that match the filters, and print how many
    #[arg(long)]
    pub(crate) end: bool,
    // The last one: the heading is that of all options behind it.
    #[command(flatten)]
    pub(crate) filters: Filters,
}

/// Conditions on sessions, all of which must hold.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Filters, all of which must match")]
pub(crate) struct Filters {
    /// Issuer of the client's identity
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    issuer: Option<String>,
    /// Subject of the client's identity
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    subject: Option<String>,
    /// Route of the gateway
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    route: Option<String>,
    /// Cluster in the bridge's configuration
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    cluster: Option<String>,
    /// IP address of the client, without a port
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// Topic that the session subscribes to
    #[arg(long, value_parser = topic)]
    topic: Option<String>,
    /// ID of a session
    #[arg(long)]
    id: Option<u64>,
}

impl Sessions {
    /// Describes options that conflict.
    pub(super) fn problem(&self) -> Option<&'static str> {
        (self.end && self.filters.parameters().is_empty()).then_some(
            "--end needs a filter: --issuer, --subject, --route, --cluster, --address, --topic or --id",
        )
    }
}

impl Filters {
    /// The filters that are given, as parameters of the admin port.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, String)> {
        let Self { issuer, subject, route, cluster, address, topic, id } = self;
        let texts = [
            ("issuer", issuer.clone()),
            ("subject", subject.clone()),
            ("route", route.clone()),
            ("cluster", cluster.clone()),
            ("address", address.map(|address| address.to_string())),
            ("topic", topic.clone()),
            ("id", id.map(|id| id.to_string())),
        ];
        texts.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
    }
}
