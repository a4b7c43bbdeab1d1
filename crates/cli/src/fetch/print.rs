//! Prints messages in the user's format.

use sluicegate_client::KafkaMessage;

use crate::args::Fetch;
use crate::json;
use crate::template::Template;

pub(super) enum Printer {
    Json,
    Template(Template),
}

impl Printer {
    pub(super) fn new(args: &Fetch) -> Self {
        if args.json {
            return Self::Json;
        }
        let delimited = || Template::delimited(args.key_delimiter.as_deref(), &args.delimiter);
        let template = args.format.clone().unwrap_or_else(delimited);
        Self::Template(if args.null { template.with_null() } else { template })
    }

    /// The text of one answer's messages: at most a few times the client's limit for an answer.
    pub(super) fn print(&self, topic: &str, partition: i32, batch: &[KafkaMessage]) -> Vec<u8> {
        let mut out = Vec::new();
        for message in batch {
            match self {
                Self::Json => json::message(topic, partition, message, &mut out),
                Self::Template(template) => template.render(topic, partition, message, &mut out),
            }
        }
        out
    }
}
