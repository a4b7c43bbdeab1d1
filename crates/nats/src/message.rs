//! Messages of a stream as servers give them: by direct gets, by consumers, and with headers in base64.

use async_nats::header::{HeaderMap, HeaderValue};
use async_nats::{Message, StatusCode};
use bytes::Bytes;
use sluicegate_protocol::{Header, KafkaMessage};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// An answer to a direct get.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one for each answer")]
pub(super) enum Direct {
    Message {
        message: KafkaMessage,
        /// The stream that it is from: the one in question, or a mirror.
        stream: String,
        /// The sequence of the message before it in this answer.
        previous: Option<i64>,
        /// The number of messages that follow it in the stream. None: servers before 2.11 give one message, and nothing
        /// after it.
        pending: Option<i64>,
    },
    /// There are no more messages.
    End,
    Refused,
}

/// A delivery of a consumer.
#[derive(Debug, PartialEq)]
pub(super) enum Delivery {
    Message {
        message: KafkaMessage,
        /// Counts the consumer's messages from 1.
        number: u64,
        /// The number of messages that follow it in the stream.
        pending: i64,
    },
    /// The consumer is there and has no message.
    Heartbeat,
    /// As many messages have come as were requested. It follows the last one.
    Complete,
    /// The request has ended before.
    RequestOver,
    /// The same, because the next message does not fit.
    Full {
        /// The messages that were requested and do not come.
        pending: Option<u32>,
    },
    /// The consumer has ended, or refuses the request.
    Ended,
}

/// The headers that a server adds to a message in an answer to a direct get, after the publisher's.
#[derive(Default)]
struct Added<'a> {
    stream: Option<&'a str>,
    subject: Option<&'a str>,
    sequence: Option<&'a str>,
    time: Option<&'a str>,
    /// The number of messages that follow. Not from servers before 2.11.
    pending: Option<&'a str>,
    previous: Option<&'a str>,
}

/// `None` if it is malformed.
pub(super) fn direct(message: Message) -> Option<Direct> {
    let Message { headers: all, payload, status, .. } = message;
    let all = all.unwrap_or_default();
    let mut added = Added::default();
    let headers = headers(&all, |name, last| {
        let place = match name {
            "Nats-Stream" => &mut added.stream,
            "Nats-Subject" => &mut added.subject,
            "Nats-Sequence" => &mut added.sequence,
            "Nats-Time-Stamp" => &mut added.time,
            "Nats-Num-Pending" => &mut added.pending,
            "Nats-Last-Sequence" => &mut added.previous,
            _ => return false,
        };
        *place = Some(last.as_str());
        true
    });
    // Neither publishers nor old servers can make a message look like an end.
    if let (Some(status), None) = (status, added.sequence) {
        return Some(if is_end(status) { Direct::End } else { Direct::Refused });
    }
    let message = KafkaMessage {
        offset: added.sequence?.parse().ok().filter(|sequence| *sequence > 0)?,
        timestamp: timestamp(added.time?)?,
        key: Some(Bytes::copy_from_slice(added.subject?.as_bytes())),
        value: Some(payload),
        headers,
        ..KafkaMessage::default()
    };
    let previous = added.previous.and_then(|previous| previous.parse().ok());
    Some(Direct::Message {
        message,
        stream: added.stream?.to_owned(),
        previous,
        pending: added.pending.map(|pending| pending.parse().unwrap_or_default()),
    })
}

fn is_end(status: StatusCode) -> bool {
    [END_OF_BATCH, StatusCode::NOT_FOUND.as_u16()].contains(&status.as_u16())
}

/// `None` if it is malformed.
pub(super) fn delivery(message: Message) -> Option<Delivery> {
    let Message { subject, reply, headers: all, payload, status, description, .. } = message;
    if let Some(Acknowledgement { sequence, number, timestamp, pending }) =
        reply.as_deref().and_then(Acknowledgement::parse)
    {
        let message = KafkaMessage {
            offset: sequence,
            timestamp,
            key: Some(subject.into_string().into()),
            value: Some(payload),
            headers: headers(&all.unwrap_or_default(), |_, _| false),
            ..KafkaMessage::default()
        };
        return Some(Delivery::Message { message, number, pending });
    }
    let pending = || all?.get("Nats-Pending-Messages")?.as_str().parse().ok();
    Some(match (status?, description.as_deref()) {
        (StatusCode::IDLE_HEARTBEAT, _) => Delivery::Heartbeat,
        (StatusCode::REQUEST_TERMINATED, Some("Batch Completed")) => Delivery::Complete,
        (StatusCode::TIMEOUT | StatusCode::NOT_FOUND, _) => Delivery::RequestOver,
        (StatusCode::REQUEST_TERMINATED, Some("Message Size Exceeds MaxBytes")) => {
            Delivery::Full { pending: pending() }
        }
        _ => Delivery::Ended,
    })
}

/// The subject to acknowledge a message on says where the message is.
#[derive(Debug, PartialEq)]
struct Acknowledgement {
    sequence: i64,
    number: u64,
    timestamp: i64,
    pending: i64,
}

impl Acknowledgement {
    fn parse(reply: &str) -> Option<Self> {
        let tokens = reply.strip_prefix("$JS.ACK.")?;
        // ADR-15: $JS.ACK.<stream>.<consumer>.…, or $JS.ACK.<domain>.<account>.<stream>.<consumer>.…
        let names = match tokens.split('.').count() {
            7 => 2,
            9.. => 4,
            _ => return None,
        };
        // … <deliveries>.<sequence>.<consumer's sequence>.<time in nanoseconds>.<pending>
        let mut place = tokens.split('.').skip(names).skip(1);
        let [sequence, number, nanoseconds, pending] =
            std::array::from_fn(|_| place.next().unwrap_or_default());
        let nanoseconds: i64 = nanoseconds.parse().ok()?;
        Some(Self {
            sequence: sequence.parse().ok().filter(|sequence| *sequence > 0)?,
            number: number.parse().ok()?,
            timestamp: nanoseconds.div_euclid(NANOSECONDS),
            pending: pending.parse().ok()?,
        })
    }
}

/// Milliseconds since 1970 of a time in RFC 3339.
pub(super) fn timestamp(time: &str) -> Option<i64> {
    let nanoseconds = OffsetDateTime::parse(time, &Rfc3339).ok()?.unix_timestamp_nanos();
    i64::try_from(nanoseconds.div_euclid(NANOSECONDS.into())).ok()
}

/// Headers in the order of their names: async-nats does not keep their own. The last value of a name is left out if it
/// was `taken`.
fn headers<'a>(all: &'a HeaderMap, mut taken: impl FnMut(&'a str, &'a HeaderValue) -> bool) -> Vec<Header> {
    let mut headers = Vec::new();
    for (name, values) in all.iter() {
        let name = name.as_ref();
        let values = match values.split_last() {
            Some((last, before)) if taken(name, last) => before,
            _ => values.as_slice(),
        };
        headers.extend(values.iter().map(|value| header(name, value.as_str())));
    }
    sort(&mut headers);
    headers
}

/// Parses headers as they are stored. Gives what async-nats would give, and U+FFFD for what is not UTF-8.
pub(super) fn parse_headers(bytes: &[u8]) -> Vec<Header> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().skip(1).peekable();
    let mut headers = Vec::new();
    while let Some(line) = lines.next() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let mut value = value.trim_start().to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with(char::is_whitespace)) {
            value.push_str(more);
        }
        headers.push(header(name, value.trim_end()));
    }
    sort(&mut headers);
    headers
}

fn header(name: &str, value: &str) -> Header {
    Header { key: name.to_owned(), value: Some(Bytes::copy_from_slice(value.as_bytes())) }
}

/// The same message always has the same bytes. Values of one name keep their order.
fn sort(headers: &mut [Header]) {
    headers.sort_by(|one, other| one.key.cmp(&other.key));
}

/// The status of the last answer to a batched direct get.
const END_OF_BATCH: u16 = 204;

/// In a millisecond.
const NANOSECONDS: i64 = 1_000_000;

#[cfg(test)]
mod tests;
