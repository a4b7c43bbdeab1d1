//! The arguments of `table`.

use sluicegate_client::Header;

use super::{Headers, Target, help, record_header};

/// Show the newest message of each key of a topic or stream, and keep it current, until Ctrl-C
///
/// On a terminal, it shows a table that changes. Otherwise it prints a JSON line for each key, and for each change. The
/// gateway's route has to list the topic or stream under `tables`.
///
/// In a topic, a message without value removes its key. In a stream, the subject is the key, and a message with the
/// header KV-Operation: DEL or PURGE removes it. If the connection is lost, table says so and goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = help::TABLE)]
pub(crate) struct Table {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Print the table once it is complete, as one JSON object of keys and values, and exit
    #[arg(long)]
    pub(crate) once: bool,
    /// Show only this key or subject, or one of these; can be repeated
    #[arg(long, value_name = "KEY", visible_alias = "subject")]
    pub(crate) record_key: Vec<String>,
    /// Show only keys or subjects that begin with this text, too; can be repeated
    #[arg(long, value_name = "TEXT", visible_alias = "subject-prefix")]
    pub(crate) record_key_prefix: Vec<String>,
    /// Show only keys whose newest message has this record header; repeated with the same KEY: any of the values, with
    /// others: all of them
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = record_header)]
    pub(crate) record_header: Vec<Header>,
    #[command(flatten)]
    pub(crate) headers: Headers,
}
