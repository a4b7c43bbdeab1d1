//! JetStream's API as typed calls. async-nats has no batched direct gets, and its typed replies refuse what they do not
//! know.

pub(crate) mod reply;

use std::time::Duration;

use async_nats::Message;
use bytes::Bytes;
use serde::Serialize;
use sluicegate_protocol::KafkaMessage;
use tokio::time::Instant;

pub(super) use self::reply::{Intake, StreamInfo};
use super::connection::Connection;
use super::entries::Entries;
use super::error::ReadError;
use super::message::{self, Direct};
use super::stream_name::StreamName;

/// Calls of JetStream's API on one cluster. A call whose connection is lost is sent again, [`MAX_REPEATS`] times at
/// most.
pub(super) struct Api {
    pub(super) connection: Connection,
    /// Prefix of the subjects of requests.
    prefix: String,
    timeout: Duration,
}

/// Asks for one message.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct MessageQuery<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_by_subj: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_by_subj: Option<&'a str>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<&'a str>,
}

impl<'a> MessageQuery<'a> {
    const NOTHING: Self = Self { seq: None, next_by_subj: None, last_by_subj: None, start_time: None };
    pub(super) const LAST: Self = Self { last_by_subj: Some(ALL), ..Self::NOTHING };

    /// The last message of a literal subject.
    pub(super) fn last_of(subject: &'a str) -> Self {
        Self { last_by_subj: Some(subject), ..Self::NOTHING }
    }

    /// The message with this sequence.
    pub(super) fn at(sequence: i64) -> Self {
        Self { seq: Some(sequence), ..Self::NOTHING }
    }

    /// The first message with this sequence or a greater one.
    pub(super) fn from(sequence: i64) -> Self {
        Self { next_by_subj: Some(ALL), ..Self::at(sequence) }
    }

    /// The first message that was stored at this time or later.
    pub(super) fn since(time: &'a str) -> Self {
        Self { start_time: Some(time), next_by_subj: Some(ALL), ..Self::NOTHING }
    }
}

#[derive(Serialize)]
struct BatchQuery {
    seq: i64,
    batch: u32,
    max_bytes: usize,
}

#[derive(Serialize)]
struct NamesQuery {
    offset: usize,
}

impl Api {
    pub(super) fn new(connection: Connection) -> Self {
        let config = connection.config();
        let prefix = match &config.domain {
            None => "$JS.API".to_owned(),
            Some(domain) => format!("$JS.{domain}.API"),
        };
        let timeout = config.request_timeout;
        Self { connection, prefix, timeout }
    }

    /// The time limit of a call.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// When a call that begins now must be answered.
    pub(super) fn deadline(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.timeout).unwrap_or(now)
    }

    /// The error of a call that took too long.
    pub(super) fn silence(&self, call: &str) -> ReadError {
        match self.connection.current() {
            Some(_) => ReadError::Unanswered { subject: self.subject(call) },
            None => self.connection.failure(),
        }
    }

    /// The subject of a call.
    pub(super) fn subject(&self, call: &str) -> String {
        format!("{}.{call}", self.prefix)
    }

    /// Succeeds if the account has JetStream.
    pub(super) async fn check_account(&self) -> Result<(), ReadError> {
        self.check("INFO", Bytes::new()).await
    }

    /// The version of the server that is connected. Empty if the connection is lost.
    pub(super) fn server_version(&self) -> String {
        self.connection.current().map(|session| session.server_version()).unwrap_or_default()
    }

    /// Succeeds if the answer is no error.
    pub(super) async fn check(&self, call: &str, request: Bytes) -> Result<(), ReadError> {
        let (subject, message) = self.call(call, request).await?;
        reply::check(&subject, &message.payload)
    }

    /// A stream, as its leader knows it now.
    pub(super) async fn stream_info(&self, stream: StreamName<'_>) -> Result<StreamInfo, ReadError> {
        let (subject, message) = self.call(&format!("STREAM.INFO.{stream}"), Bytes::new()).await?;
        StreamInfo::parse(&subject, &message.payload)
    }

    /// The names of all streams.
    ///
    /// # Errors
    /// [`ReadError`], and [`ReadError::Malformed`] for more than [`MAX_NAMES`].
    pub(super) async fn stream_names(&self) -> Result<Vec<String>, ReadError> {
        let mut names = Vec::new();
        loop {
            let (subject, message) =
                self.call("STREAM.NAMES", json(&NamesQuery { offset: names.len() })).await?;
            let (page, total) = reply::stream_names(&subject, &message.payload)?;
            let is_last = page.is_empty();
            names.extend(page);
            if names.len() > MAX_NAMES {
                return Err(ReadError::Malformed { subject, what: "too many streams" });
            }
            if is_last || names.len() >= total {
                return Ok(names);
            }
        }
    }

    /// One message from the stream's leader; `None` if there is none.
    pub(super) async fn message(
        &self,
        stream: StreamName<'_>,
        query: MessageQuery<'_>,
    ) -> Result<Option<KafkaMessage>, ReadError> {
        let (subject, message) = self.call(&format!("STREAM.MSG.GET.{stream}"), json(&query)).await?;
        match reply::message(&subject, &message.payload) {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.is_missing_message() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The subject that the server's mappings make of a literal one; `None` if they leave it. Nothing is delivered.
    pub(super) async fn mapped(&self, subject: &str, deadline: Instant) -> Result<Option<String>, ReadError> {
        let session = self.connection.session(deadline).await?;
        let Some(mut answers) = session.trace(subject, deadline).await? else { return Ok(None) };
        loop {
            // Other servers of the cluster can answer first.
            if let Some(mapped) = reply::mapped(subject, &answers.next(deadline).await?.payload)? {
                return Ok(mapped);
            }
        }
    }

    /// Messages from `sequence` on, of at most `max_bytes` and one more message, in one request to any replica. It can
    /// be behind the leader. Nothing is repeated: a message can be what ends the connection.
    pub(super) async fn batch(
        &self,
        stream: StreamName<'_>,
        sequence: i64,
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Entries, ReadError> {
        let began = Instant::now();
        let got = self.direct_get(stream, sequence, max_bytes, deadline).await;
        self.ended("DIRECT.GET", began, &got);
        got
    }

    async fn direct_get(
        &self,
        stream: StreamName<'_>,
        sequence: i64,
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Entries, ReadError> {
        let subject = self.subject(&format!("DIRECT.GET.{stream}"));
        let session = self.connection.session(deadline).await?;
        let query = BatchQuery { seq: sequence, batch: MAX_BATCH, max_bytes };
        // The last answer says that it is the last.
        let mut answers =
            session.request(&subject, json(&query), MAX_BATCH.saturating_add(1), deadline).await?;
        let mut entries = Entries::default();
        loop {
            let direct = match answers.next(deadline).await {
                Ok(message) => message::direct(message),
                // The messages that have arrived are in order and without gaps.
                Err(_) if !entries.is_empty() => return Ok(entries),
                Err(error) => return Err(error),
            };
            match direct {
                // A mirror may lack messages, or have those of an earlier stream of the same name.
                Some(Direct::Message { stream: of, .. }) if of != stream.as_str() => return Ok(entries),
                Some(Direct::Message { message, previous, pending, .. }) => {
                    // Before the first message of a batch, there is 0.
                    let before = if entries.is_empty() { 0 } else { entries.last() };
                    let is_next = previous.is_none_or(|previous| previous == before);
                    if !is_next || message.offset < sequence || !entries.push(&message) {
                        return Ok(entries);
                    }
                    let Some(pending) = pending else { return Ok(entries) };
                    entries.note_pending(pending);
                }
                Some(Direct::End) => return Ok(entries),
                Some(Direct::Refused) | None => {
                    return Err(ReadError::Malformed { subject, what: "answer of a direct get" });
                }
            }
        }
    }

    /// Calls the API and gives the only answer, with the subject of the request.
    async fn call(&self, call: &str, request: Bytes) -> Result<(String, Message), ReadError> {
        let subject = self.subject(call);
        let deadline = self.deadline();
        let mut repeats = 0_u32;
        loop {
            let began = Instant::now();
            let answer = self.once(&subject, request.clone(), deadline).await;
            let api = APIS.into_iter().find(|api| call.starts_with(api)).unwrap_or_default();
            self.ended(api, began, &answer);
            match answer {
                Err(ReadError::Lost) if repeats < MAX_REPEATS => repeats = repeats.saturating_add(1),
                answer => return Ok((subject, answer?)),
            }
        }
    }

    /// Counts a request.
    fn ended<T>(&self, api: &'static str, began: Instant, answer: &Result<T, ReadError>) {
        let [answered, timed_out, failed] = OUTCOMES;
        let outcome = match answer {
            Ok(_) => answered,
            Err(ReadError::Unanswered { .. }) => timed_out,
            Err(_) => failed,
        };
        self.connection.metrics().requested(api, outcome, began.elapsed());
    }

    async fn once(&self, subject: &str, request: Bytes, deadline: Instant) -> Result<Message, ReadError> {
        let session = self.connection.session(deadline).await?;
        session.request(subject, request, 1, deadline).await?.next(deadline).await
    }
}

/// A request in JSON.
pub(super) fn json(request: &impl Serialize) -> Bytes {
    // Cannot fail: requests are structs of numbers and texts.
    serde_json::to_vec(request).unwrap_or_default().into()
}

/// The kinds of requests, as they are counted.
pub(super) const APIS: [&str; 6] =
    ["DIRECT.GET", "STREAM.INFO", "STREAM.MSG.GET", "STREAM.NAMES", "CONSUMER.CREATE", "INFO"];
pub(super) const OUTCOMES: [&str; 3] = ["answered", "timed_out", "failed"];

/// Matches every subject.
const ALL: &str = ">";
/// Messages in one answer. Together with [`super::session::MAX_EXPECTED`] it bounds the requests at the same time.
const MAX_BATCH: u32 = 1_000;
const MAX_REPEATS: u32 = 3;
const MAX_NAMES: usize = 100_000;
