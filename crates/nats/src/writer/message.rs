//! Records as messages: what is checked before anything is sent.

use std::str::from_utf8;

use async_nats::header::{HeaderName, HeaderValue, NATS_EXPECTED_STREAM, NATS_MESSAGE_ID};
use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use sluicegate_backend::command::{Header, Record};
use sluicegate_backend::{CommandError, Fault};

use crate::api::Intake;
use crate::error::printable;
use crate::subject;

/// A message that can be published.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) subject: Subject,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
    /// Whether it has a message id, by which the stream recognizes repetitions.
    pub(super) has_id: bool,
}

/// The limits of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) stream: &'a str,
    pub(super) intake: &'a Intake,
    /// Prefix of the bridge's subjects for answers.
    pub(super) inbox: &'a str,
    /// The largest message that the server accepts, headers included, in bytes.
    pub(super) max_payload: usize,
}

/// Headers as they are sent, and their size there.
struct Headers {
    map: HeaderMap,
    bytes: usize,
    has_id: bool,
}

impl Message {
    /// Checks a record. Readers do not see whitespace around the value of a header.
    pub(super) fn new(record: &Record, target: Target<'_>) -> Result<Self, CommandError> {
        let subject = record.key.as_deref().map(Bytes::copy_from_slice);
        let subject = subject::parse(subject, target.inbox)?;
        if record.timestamp.is_some() {
            return Err(invalid("timestamp: expected none, the stream sets it"));
        }
        let Headers { map: headers, bytes, has_id } = headers(&record.headers, target.stream)?;
        let Intake { subjects, max_size, is_silent, is_sealed, .. } = target.intake;
        let rejected = |problem: &str| Err(CommandError::new(Fault::Rejected, 0, problem));
        if *is_sealed {
            return rejected("the stream is sealed");
        }
        if *is_silent {
            return rejected("the stream does not acknowledge messages (no_ack)");
        }
        if subjects.is_empty() {
            return rejected("the stream has no subjects to write to");
        }
        if !subjects.iter().any(|filter| subject::matches(filter, &subject)) {
            let problem = format!("subject {} does not match the stream's subjects", printable(&subject));
            return Err(CommandError::new(Fault::InvalidRecord, 0, problem));
        }
        let payload = record.value.clone().unwrap_or_default();
        let size = bytes.saturating_add(payload.len());
        let too_large = |limit: &str, max: usize| {
            let problem = format!("message of {size} bytes with its headers exceeds {limit} ({max})");
            Err(CommandError::new(Fault::TooLarge, 0, problem))
        };
        match max_size {
            Some(max) if size > *max => too_large("the stream's max_msg_size", *max),
            _ if size > target.max_payload => too_large("the server's max_payload", target.max_payload),
            // Of its own memory: it must not keep the client's whole command.
            _ => Ok(Self { subject, headers, payload: Bytes::copy_from_slice(&payload), has_id }),
        }
    }
}

/// Adds the name of the stream, so that no other stream stores the message if the streams' subjects change now.
fn headers(headers: &[Header], stream: &str) -> Result<Headers, CommandError> {
    let stream: HeaderValue = stream.parse().map_err(|_| invalid("stream name with line breaks"))?;
    let mut parsed = Headers { map: HeaderMap::new(), bytes: HEADERS, has_id: false };
    parsed.add(NATS_EXPECTED_STREAM, stream);
    for Header { key, value } in headers {
        // async-nats' other conversions panic.
        let name: HeaderName = match key.parse() {
            Ok(name) if !key.is_empty() => name,
            _ => return Err(invalid("header name: expected visible ASCII characters without ':'")),
        };
        let problem = |problem: &str| invalid(format!("header {}: {problem}", printable(key)));
        let Some(value) = value else { return Err(problem("expected a value, NATS has no null values")) };
        let value = from_utf8(value).map_err(|_| problem("value is not UTF-8"))?;
        let is_blank = value.trim().is_empty();
        let value: HeaderValue = value.parse().map_err(|_| problem("value with a line break"))?;
        if is_of_servers(key) {
            if name != NATS_MESSAGE_ID {
                let problem =
                    format!("header {}: Nats-* headers are reserved, except Nats-Msg-Id", printable(key));
                return Err(CommandError::forbidden(0, problem));
            }
            if is_blank {
                return Err(problem("empty message id"));
            }
            if parsed.has_id {
                return Err(problem("more than one message id"));
            }
            parsed.has_id = true;
        }
        parsed.add(name, value);
    }
    Ok(parsed)
}

impl Headers {
    fn add(&mut self, name: HeaderName, value: HeaderValue) {
        let name_len = AsRef::<[u8]>::as_ref(&name).len();
        self.bytes =
            self.bytes.saturating_add(name_len).saturating_add(value.as_str().len()).saturating_add(LINE);
        self.map.append(name, value);
    }
}

/// Whether servers may act on the header: such headers purge a stream, write elsewhere, or delete the message later.
fn is_of_servers(name: &str) -> bool {
    name.get(..OF_SERVERS.len()).is_some_and(|start| start.eq_ignore_ascii_case(OF_SERVERS))
}

fn invalid(problem: impl Into<String>) -> CommandError {
    CommandError::new(Fault::Invalid, 0, problem)
}

const OF_SERVERS: &str = "Nats-";
/// The bytes of headers besides their lines: `NATS/1.0`, and two line breaks.
const HEADERS: usize = 12;
/// The bytes of a header besides its name and its value: `: `, and a line break.
const LINE: usize = 4;

#[cfg(test)]
mod tests;
