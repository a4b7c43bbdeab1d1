//! Answers of JetStream's API in JSON.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use sluicegate_protocol::KafkaMessage;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::{ApiError, ReadError};
use crate::message;
use crate::subject;

/// A stream, as its leader knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamInfo {
    /// In nanoseconds since 1970. Distinguishes the stream from others of the same name.
    pub(crate) created: u128,
    /// The first sequence, or the next one if there is no message.
    pub(crate) first: i64,
    /// The next sequence.
    pub(crate) end: i64,
    /// The average size of a message in bytes, at least 1.
    pub(crate) average: usize,
    /// Whether replicas answer direct gets.
    pub(crate) is_direct: bool,
    /// Whether a consumer has no effect on what is kept.
    pub(crate) is_limited: bool,
    /// Whether messages can have a lifetime of their own, such as those that remove a key.
    pub(crate) has_lifetimes: bool,
    pub(crate) intake: Arc<Intake>,
}

/// The messages that a stream takes from publishers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Intake {
    /// With wildcards. A mirror has none.
    pub(crate) subjects: Vec<String>,
    /// The largest message, headers included, in bytes.
    pub(crate) max_size: Option<usize>,
    /// For how long a message with the id of another one is not stored.
    pub(crate) duplicate_window: Duration,
    /// For how long the last message of a subject is surely kept. None: no message can be written on condition of it, because
    /// readers remove it, the stream gives it another subject, or republishes it with the condition, which other streams then
    /// judge by their own messages.
    pub(crate) last_kept: Option<Duration>,
    /// Whether messages are stored without acknowledgement.
    pub(crate) is_silent: bool,
    pub(crate) is_sealed: bool,
}

impl Intake {
    /// Whether a literal subject is one of them.
    pub(crate) fn takes(&self, subject: &str) -> bool {
        self.subjects.iter().any(|filter| subject::matches(filter, subject))
    }
}

#[derive(Deserialize)]
struct InfoReply<'a> {
    #[serde(borrow)]
    created: Cow<'a, str>,
    #[serde(borrow)]
    config: ConfigReply<'a>,
    state: StateReply,
}

#[derive(Deserialize)]
struct ConfigReply<'a> {
    #[serde(default)]
    allow_direct: bool,
    #[serde(borrow, default)]
    retention: Cow<'a, str>,
    subjects: Option<Vec<String>>,
    /// Negative if there is no limit.
    #[serde(default = "unlimited")]
    max_msg_size: i64,
    /// In nanoseconds.
    #[serde(default)]
    duplicate_window: u64,
    #[serde(default)]
    no_ack: bool,
    #[serde(default)]
    sealed: bool,
    #[serde(default)]
    allow_msg_ttl: bool,
    /// In nanoseconds; 0 if there is no limit.
    #[serde(default)]
    max_age: u64,
    // Not positive if there is no limit.
    #[serde(default)]
    max_msgs: i64,
    #[serde(default)]
    max_bytes: i64,
    #[serde(borrow, default)]
    discard: Cow<'a, str>,
    subject_transform: Option<IgnoredAny>,
    republish: Option<IgnoredAny>,
}

impl ConfigReply<'_> {
    fn last_kept(&self) -> Option<Duration> {
        if self.retention != LIMITS || self.subject_transform.is_some() || self.republish.is_some() {
            return None;
        }
        let is_cut = self.discard != "new" && (self.max_msgs > 0 || self.max_bytes > 0);
        Some(match self.max_age {
            _ if is_cut => Duration::from_nanos(self.duplicate_window),
            0 => Duration::MAX,
            max_age => Duration::from_nanos(max_age),
        })
    }
}

#[derive(Deserialize)]
struct StateReply {
    messages: u64,
    bytes: u64,
    first_seq: i64,
    last_seq: i64,
}

#[derive(Deserialize)]
struct NamesReply {
    total: usize,
    /// Null if there is none.
    streams: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct MessageReply<'a> {
    #[serde(borrow)]
    message: StoredMessage<'a>,
}

#[derive(Deserialize)]
struct StoredMessage<'a> {
    #[serde(borrow)]
    subject: Cow<'a, str>,
    seq: i64,
    /// In base64, as the data.
    #[serde(borrow, default)]
    hdrs: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Trace<'a> {
    #[serde(borrow)]
    events: Vec<TraceEvent<'a>>,
}

#[derive(Deserialize)]
struct TraceEvent<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    /// The sender of the message that has come in: [`OF_CLIENT`], or another server.
    #[serde(default, rename = "kind")]
    from: i32,
    /// The subject that a mapping leads to.
    #[serde(default)]
    to: Option<String>,
}

#[derive(Deserialize)]
struct ErrorReply {
    error: Option<ApiError>,
}

impl StreamInfo {
    /// Parses the answer to the request on `subject`, as all functions here.
    pub(crate) fn parse(subject: &str, payload: &[u8]) -> Result<Self, ReadError> {
        let InfoReply { created, config, state } = parse(subject, payload)?;
        let malformed = |what| ReadError::Malformed { subject: subject.to_owned(), what };
        let created = OffsetDateTime::parse(&created, &Rfc3339).ok();
        let created = created.and_then(|created| u128::try_from(created.unix_timestamp_nanos()).ok());
        let end = state.last_seq.checked_add(1).filter(|end| *end > 0);
        let end = end.ok_or_else(|| malformed("sequence out of range"))?;
        let last_kept = config.last_kept();
        let average = state.bytes.checked_div(state.messages).unwrap_or_default().max(1);
        Ok(Self {
            created: created.ok_or_else(|| malformed("time of creation"))?,
            // A new stream begins with 0, though there is no such sequence.
            first: state.first_seq.clamp(1, end),
            end,
            average: usize::try_from(average).unwrap_or(usize::MAX),
            is_direct: config.allow_direct,
            is_limited: config.retention == LIMITS,
            has_lifetimes: config.allow_msg_ttl,
            intake: Arc::new(Intake {
                subjects: config.subjects.unwrap_or_default(),
                max_size: usize::try_from(config.max_msg_size).ok(),
                duplicate_window: Duration::from_nanos(config.duplicate_window),
                last_kept,
                is_silent: config.no_ack,
                is_sealed: config.sealed,
            }),
        })
    }
}

/// Succeeds if the answer is no error.
pub(crate) fn check(subject: &str, payload: &[u8]) -> Result<(), ReadError> {
    let malformed = |_| ReadError::Malformed { subject: subject.to_owned(), what: MALFORMED };
    match serde_json::from_slice::<ErrorReply>(payload).map_err(malformed)?.error {
        Some(error) => Err(ReadError::Refused(error)),
        None => Ok(()),
    }
}

/// Names of streams, and how many there are on all pages.
pub(crate) fn stream_names(subject: &str, payload: &[u8]) -> Result<(Vec<String>, usize), ReadError> {
    let NamesReply { total, streams } = parse(subject, payload)?;
    Ok((streams.unwrap_or_default(), total))
}

/// A stored message.
pub(crate) fn message(subject: &str, payload: &[u8]) -> Result<KafkaMessage, ReadError> {
    let MessageReply { message: stored } = parse(subject, payload)?;
    let malformed = |what| ReadError::Malformed { subject: subject.to_owned(), what };
    let decoded = |text: &str| STANDARD.decode(text).map_err(|_| malformed("base64"));
    let timestamp = message::timestamp(&stored.time).ok_or_else(|| malformed("time of a message"))?;
    if stored.seq < 1 {
        return Err(malformed("sequence out of range"));
    }
    Ok(KafkaMessage {
        offset: stored.seq,
        timestamp,
        key: Some(stored.subject.into_owned().into()),
        value: Some(decoded(&stored.data)?.into()),
        headers: message::parse_headers(&decoded(&stored.hdrs)?),
        ..KafkaMessage::default()
    })
}

/// The subject that a client's traced message is mapped to, if it is; `None` of a server that has it from another one.
pub(crate) fn mapped(subject: &str, payload: &[u8]) -> Result<Option<Option<String>>, ReadError> {
    let Trace { events } = parse(subject, payload)?;
    let is_first = events.iter().any(|event| event.kind == "in" && event.from == OF_CLIENT);
    let mapped = events.into_iter().find(|event| event.kind == "sm").and_then(|event| event.to);
    Ok(is_first.then_some(mapped))
}

/// The answer, which is an error of the API if it is not a `T`.
fn parse<'a, T: Deserialize<'a>>(subject: &str, payload: &'a [u8]) -> Result<T, ReadError> {
    serde_json::from_slice(payload).or_else(|_| {
        check(subject, payload)?;
        Err(ReadError::Malformed { subject: subject.to_owned(), what: MALFORMED })
    })
}

fn unlimited() -> i64 {
    -1
}

const LIMITS: &str = "limits";
const OF_CLIENT: i32 = 0;
const MALFORMED: &str = "malformed JSON";

#[cfg(test)]
mod tests;
