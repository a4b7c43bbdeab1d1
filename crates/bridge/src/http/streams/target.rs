//! Parses the path of a stream, and the query of a read.

use std::time::Duration;

use bytes::Bytes;
use sluicegate_backend::command::RecordFilter;
use sluicegate_backend::{Log, System};
use sluicegate_dialect as dialect;
use sluicegate_dialect::http::FILTER;

use super::super::problem::{Problem, ProblemKind};
use super::super::rest::filters::{of_records, with_json};
use super::super::rest::path::{Query, invalid, log_name, partition_number};
use super::position::Position;

/// A stream: a partition, a stream of NATS, or one subject of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) topic: String,
    pub(super) partition: i32,
    /// None: all subjects, or the system has none.
    pub(super) subject: Option<String>,
}

impl Target {
    /// Parses a path on a cluster of `system`.
    ///
    /// # Errors
    /// It is no stream's.
    pub(super) fn parse(path: &str, system: System) -> Result<Self, Problem> {
        let mut segments = path.trim_start_matches('/').split('/');
        let [topic, part, more] = [segments.next(), segments.next(), segments.next()];
        let topic = topic.unwrap_or_default();
        if topic == RESERVED {
            let detail =
                "subscriptions of Durable Streams are not served: the bridge keeps nothing for clients";
            return Err(Problem::new(ProblemKind::NoResource, detail));
        }
        let expected = if system.has_partitions { "/TOPIC/PARTITION" } else { "/STREAM or /STREAM/SUBJECT" };
        let unknown = || Problem::new(ProblemKind::NoResource, format!("unknown path: expected {expected}"));
        if topic.is_empty() || more.is_some() || (part.is_none() && system.has_partitions) {
            return Err(unknown());
        }
        let topic = log_name(topic, system)?;
        match part {
            Some(part) if system.has_partitions => {
                Ok(Self { topic, partition: partition_number(part)?, subject: None })
            }
            part => {
                let subject = part.map(|part| log_name(part, system)).transpose()?;
                if let Some(Err(expected)) =
                    subject.as_ref().map(|subject| dialect::of(system).check_key(subject))
                {
                    let detail = format!("the subject in the path: {expected}");
                    return Err(Problem::new(ProblemKind::Malformed, detail));
                }
                Ok(Self { partition: Log::of_stream("").partition, topic, subject })
            }
        }
    }

    pub(super) fn log(&self) -> Log<'_> {
        Log { topic: &self.topic, partition: self.partition }
    }
}

/// The query of a read.
#[derive(Debug)]
pub(super) struct ReadQuery {
    pub(super) begin: Begin,
    pub(super) live: Option<Live>,
    pub(super) cursor: Option<u64>,
    /// The wait of a long poll.
    pub(super) wait: Duration,
    /// Whether records of open and aborted transactions are left out.
    pub(super) committed: bool,
    pub(super) filters: Vec<RecordFilter>,
}

/// Where a read begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    Start,
    /// The end, as it is now.
    Now,
    At(Position),
}

/// How a read waits for records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Live {
    /// An answer once there are some.
    LongPoll,
    /// Server-sent events.
    Events,
}

impl ReadQuery {
    /// Parses a query. Parameters that are unknown are ignored (section 5.6).
    ///
    /// # Errors
    /// A parameter is invalid.
    pub(super) fn parse(query: &str, target: &Target, system: System) -> Result<Self, Problem> {
        let words = dialect::of(system).words();
        let known =
            [OFFSET, LIVE, CURSOR, "timeout", words.key, words.key_prefix, "header", FILTER, "isolation"];
        let query = Query::with_unknown(query, &known, &words.lists())?;
        let live = match query.text(LIVE) {
            None => None,
            Some("long-poll") => Some(Live::LongPoll),
            Some("sse") => Some(Live::Events),
            Some(_) => return Err(invalid(LIVE, "expected long-poll or sse")),
        };
        let begin = match query.text(OFFSET) {
            None if live.is_some() => return Err(invalid(OFFSET, "expected it with live")),
            None | Some("-1") => Begin::Start,
            Some("now") => Begin::Now,
            Some(text) => {
                let expected = "expected -1, now, or a Stream-Next-Offset of this stream";
                Begin::At(Position::parse(text).ok_or_else(|| invalid(OFFSET, expected))?)
            }
        };
        // A cursor that is no number is of nobody's: its client gets one.
        let cursor = query.text(CURSOR);
        let cursor = cursor.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let cursor = cursor.and_then(|text| text.parse().ok());
        let mut filters = with_json(of_records(&query, words)?, &query, system)?;
        filters.extend(target.subject.as_ref().map(|subject| RecordFilter {
            equals: vec![Bytes::copy_from_slice(subject.as_bytes())],
            ..RecordFilter::default()
        }));
        let wait = query.number("timeout", 0..=LONG_POLL_MS)?.unwrap_or(LONG_POLL_MS);
        let wait = Duration::from_millis(wait.unsigned_abs());
        Ok(Self { begin, live, cursor, wait, committed: query.committed()?, filters })
    }
}

/// The first segment of paths that are no streams (section 6).
const RESERVED: &str = "__ds";
/// The longest wait for records: below the 30 s after which gateways end silent requests.
const LONG_POLL_MS: i64 = 20_000;
const OFFSET: &str = "offset";
const LIVE: &str = "live";
const CURSOR: &str = "cursor";
