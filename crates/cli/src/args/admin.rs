//! The arguments of `admin`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Subcommand, ValueHint};

use super::{help, topic};

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
