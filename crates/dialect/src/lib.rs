//! The words of each messaging system for its clients: wire messages, members of JSON, paths and headers.
//!
//! A dialect parses a client's words into the types of [`command`](sluicegate_backend::command), and renders results.
//! No way in chooses by system.
//!
//! - here: [`Dialect`], the words of a system
//! - [`session`]: what all systems have in sessions, in protobuf and JSON; [`http`]: in plain HTTP, with the table of
//!   its resources
//! - `kafka`, `nats`: one system each, with a file for each command of its sessions
//! - [`json`]: records in JSON, for sessions and HTTP; [`position`]: where reads begin

pub mod http;
pub mod json;
mod kafka;
mod nats;
pub mod position;
pub mod session;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

use bytes::Bytes;
use serde_json::Error;
use sluicegate_backend::command::{Command, SubscribeCommand};
use sluicegate_backend::{CommandError, DeliveryReport, ListedOffset, System};
use sluicegate_delivery::{Item, Place, SkipCause};
use sluicegate_protocol::KafkaMessage;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_shared_log::Ends;
use sluicegate_telemetry::metrics::Kind;
use sluicegate_ws_session::request::Command as Known;

use self::http::HttpDialect;
use self::json::format::Format;
use self::session::{Answer, Encoding};

/// The dialect of clients of a system's clusters.
pub fn of(system: System) -> &'static dyn Dialect {
    match system {
        System::Kafka => &kafka::Kafka,
        System::Nats => &nats::Nats,
    }
}

/// All dialects. The first is that of paths of no system.
pub static ALL: [&dyn Dialect; 2] = [&kafka::Kafka, &nats::Nats];

/// A command of a session, or a subscription.
#[derive(Debug, PartialEq)]
pub enum Asked {
    /// A command that is answered once.
    Command(Command),
    /// The beginning of a subscription.
    Subscribe(Subscribed),
}

/// A subscription to begin.
#[derive(Debug, PartialEq)]
pub struct Subscribed {
    /// The topics, filters and bounds.
    pub command: SubscribeCommand,
    /// The bytes that may be delivered until the client grants more. None: no limit.
    pub credit: Option<u64>,
}

/// A command, and the format of keys and values in its answer.
pub type InFormat = (Asked, Format);

/// A command whose answer has keys and values in this format.
fn run((command, format): (Command, Format)) -> InFormat {
    (Asked::Command(command), format)
}

/// A command whose answer has neither.
fn plain<C: Into<Command>>(command: C) -> InFormat {
    run((command.into(), Format::default()))
}

/// The words of a messaging system, in sessions and in plain HTTP.
pub trait Dialect: HttpDialect {
    /// The command to use instead of one of another system; none for a command of this system, or of all.
    fn suggested_command(&self, command: Known) -> Option<&'static str>;

    /// Parses a command of this system; none if it is not.
    ///
    /// # Errors
    /// The command is invalid.
    fn command(&self, req: Req) -> Option<Result<Asked, String>>;

    /// The kind of the command of this name, and the command that its JSON parses into; none if there is no such one.
    fn json_command(&self, name: &str, json: &str) -> Option<(Kind, Result<InFormat, Error>)>;

    /// The names of its commands in JSON, without those of all systems.
    fn json_commands(&self) -> &'static str;

    /// Appends a fetch's answer without its records. Gives the number of its field.
    fn put_fetched(&self, answer: &mut Vec<u8>, next_offset: i64, ends: Ends) -> u32;

    /// A delivery without its records: the number of its field, and the message.
    fn delivered(&self, next: &Place, end: i64) -> (u32, Vec<u8>);

    /// The answer with the offset of each of many logs.
    fn listed(
        &self,
        sequence: i64,
        results: Vec<Result<ListedOffset, CommandError>>,
        encoding: Encoding,
    ) -> Answer;

    /// The answer with the report of each record.
    fn produced(&self, sequence: i64, reports: Vec<DeliveryReport>, encoding: Encoding) -> Answer;

    /// The message of an item without records; none for the other items.
    fn item(&self, item: Item) -> Option<Resp>;

    /// The same in JSON.
    fn item_text(&self, sequence: i64, item: &Item) -> Option<Bytes>;

    /// Appends a record in JSON.
    fn put_message(&self, text: &mut Vec<u8>, partition: i32, message: &KafkaMessage, format: Format);

    /// Appends the member that says where a log continues.
    fn put_next(&self, text: &mut Vec<u8>, partition: i32, next_offset: i64);

    /// Appends the members of a log's ends, as far as they are known.
    fn put_ends(&self, text: &mut Vec<u8>, ends: Ends);
}

/// The cause of a gap in JSON.
pub fn cause_name(cause: SkipCause) -> &'static str {
    match cause {
        SkipCause::Deleted => "deleted",
        SkipCause::Lag => "lag",
    }
}
