//! Records as messages: what is checked before anything is sent.

use std::str::from_utf8;

use async_nats::header::{HeaderName, HeaderValue, NATS_EXPECTED_STREAM, NATS_MESSAGE_ID};
use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use sluicegate_backend::command::{Header, Record, STREAM_SEQ};
use sluicegate_backend::{CommandError, Fault};

use crate::api::Intake;
use crate::error::printable;
use crate::subject;

/// A message that can be published.
#[derive(Debug, Clone)]
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
    /// The subject that the server makes of the message's, if it does.
    pub(super) mapped: Option<&'a str>,
    /// Prefix of the bridge's subjects for answers.
    pub(super) inbox: &'a str,
    /// The largest message that the server accepts, headers included, in bytes.
    pub(super) max_payload: usize,
    pub(super) own: Own,
}

/// The headers that a message gets of the bridge.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Own {
    /// Its producer, a message id and a condition.
    pub(crate) producer: bool,
    /// A condition, beside the sequence that it has already.
    pub(crate) sequence: bool,
}

/// Headers as they are sent, and their size there.
#[derive(Default)]
struct Headers {
    map: HeaderMap,
    bytes: usize,
    has_id: bool,
}

impl Message {
    /// Checks a record. Its timestamp is the stream's. Readers do not see whitespace around the value of a header.
    pub(super) fn new(record: &Record, target: Target<'_>) -> Result<Self, CommandError> {
        let subject = subject::of(record, target.inbox)?;
        let Headers { map: headers, bytes, has_id } =
            headers(&record.headers, target.stream, target.own.sequence)?;
        let Target { intake, mapped, .. } = target;
        let Intake { subjects, max_size, is_silent, is_sealed, .. } = intake;
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
        if !intake.takes(&subject) && !mapped.is_some_and(|mapped| intake.takes(mapped)) {
            let problem = format!("subject {} does not match the stream's subjects", printable(&subject));
            return Err(CommandError::new(Fault::InvalidRecord, 0, problem));
        }
        let payload = record.value.clone().unwrap_or_default();
        let own = match target.own {
            Own { producer: false, sequence: false } => 0,
            _ => own_header_bytes(target.stream, mapped.unwrap_or(&subject)),
        };
        let size = bytes.saturating_add(own).saturating_add(payload.len());
        let too_large = |limit: &str, max: usize| {
            let problem = format!("message of {size} bytes with its headers exceeds {limit} ({max})");
            Err(CommandError::new(Fault::TooLarge, 0, problem))
        };
        if has_id && target.own.producer {
            return Err(invalid("message id beside a producer: expected one of both"));
        }
        match max_size {
            Some(max) if size > *max => too_large("the stream's max_msg_size", *max),
            _ if size > target.max_payload => too_large("the server's max_payload", target.max_payload),
            // Of its own memory: it must not keep the client's whole command.
            _ => Ok(Self { subject, headers, payload: Bytes::copy_from_slice(&payload), has_id }),
        }
    }
}

/// The headers that are sent. Those for servers are left out but for two, and so are the bridge's own: clients that copy messages
/// have read them. A sequence is one of these unless it `ascends`.
fn headers(headers: &[Header], stream: &str, ascends: bool) -> Result<Headers, CommandError> {
    let mut parsed = Headers::default();
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
        let names_stream = value == stream;
        let value: HeaderValue = value.parse().map_err(|_| problem("value with a line break"))?;
        match Use::of(key) {
            Use::Client => parsed.add(name, value),
            Use::MessageId if is_blank => return Err(problem("empty message id")),
            Use::MessageId if parsed.has_id => return Err(problem("more than one message id")),
            Use::MessageId => {
                parsed.has_id = true;
                parsed.add(NATS_MESSAGE_ID, value);
            }
            // The name of another stream is a copied message's.
            Use::ExpectedStream if names_stream => parsed.add(NATS_EXPECTED_STREAM, value),
            Use::Condition => {
                let problem = format!(
                    "header {}: the bridge writes without conditions, leave it out to write in any case",
                    printable(key)
                );
                return Err(CommandError::forbidden(0, problem));
            }
            Use::Sequence if ascends => parsed.add(name, value),
            Use::ExpectedStream | Use::Sequence | Use::Servers => {}
        }
    }
    Ok(parsed)
}

impl Headers {
    fn add(&mut self, name: HeaderName, value: HeaderValue) {
        let name_len = AsRef::<[u8]>::as_ref(&name).len();
        self.bytes = self
            .bytes
            .max(HEADERS)
            .saturating_add(name_len)
            .saturating_add(value.as_str().len())
            .saturating_add(LINE);
        self.map.append(name, value);
    }
}

/// The party that a header is for.
enum Use {
    Client,
    MessageId,
    ExpectedStream,
    /// The writers of a subject agree on it.
    Sequence,
    /// Servers refuse the message, depending on what they have. A write without the condition is another one.
    Condition,
    /// Servers purge a stream, write elsewhere or delete the message later; or they report what they did. The bridge counts
    /// messages by its own.
    Servers,
}

impl Use {
    /// By the name, in any case: servers are not sure to distinguish cases, and HTTP's names come in lower case.
    fn of(name: &str) -> Self {
        if name.eq_ignore_ascii_case(PRODUCER) {
            return Self::Servers;
        }
        if name.eq_ignore_ascii_case(STREAM_SEQ) {
            return Self::Sequence;
        }
        let name = name.to_ascii_lowercase();
        match name.strip_prefix("nats-") {
            None => Self::Client,
            Some("msg-id") => Self::MessageId,
            Some("expected-stream") => Self::ExpectedStream,
            Some(rest) if rest.starts_with("expected-") => Self::Condition,
            Some(_) => Self::Servers,
        }
    }
}

fn invalid(problem: impl Into<String>) -> CommandError {
    CommandError::new(Fault::Invalid, 0, problem)
}

/// The bytes of headers besides their lines: `NATS/1.0`, and two line breaks.
const HEADERS: usize = 12;
/// The bytes of a header besides its name and its value: `: `, and a line break.
const LINE: usize = 4;

/// The bytes of all headers of the bridge, at most.
fn own_header_bytes(stream: &str, subject: &str) -> usize {
    OWN_HEADERS.saturating_add(stream.len()).saturating_add(subject.len())
}

/// Names the producer of a message, its epoch, and the message's sequence.
pub(super) const PRODUCER: &str = "Sluicegate-Producer";
/// Names, numbers and line breaks.
const OWN_HEADERS: usize = 192;

#[cfg(test)]
mod tests;
