//! Prints messages in the user's format.

use sluicegate_client::KafkaMessage;

use crate::args::Output;
use crate::json;
use crate::log::Log;
use crate::template::Template;

pub(crate) enum Printer {
    Json,
    Template(Template),
}

impl Printer {
    pub(crate) fn new(output: &Output) -> Self {
        if output.json {
            return Self::Json;
        }
        let delimited = || Template::delimited(output.key_delimiter.as_deref(), &output.delimiter);
        let template = output.format.clone().unwrap_or_else(delimited);
        Self::Template(if output.null { template.with_null() } else { template })
    }

    /// The text of one answer's messages: at most a few times the client's limit for an answer.
    pub(crate) fn print(&self, log: &Log, batch: &[KafkaMessage]) -> Vec<u8> {
        let mut out = Vec::new();
        for message in batch {
            match self {
                Self::Json => json::message(log, message, &mut out),
                Self::Template(template) => template.render(log, message, &mut out),
            }
        }
        out
    }
}
