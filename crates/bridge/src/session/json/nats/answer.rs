//! What clusters of NATS answer.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sluicegate_protocol::kafka_subscription_event::skipped::Cause;
use sluicegate_protocol::nats_subscription_event::{CaughtUp, Event, Retrying, Skipped};
use sluicegate_protocol::{
    ListedSequence, NatsSubscribedResp, NatsSubscriptionEvent, Published as Report, SubscribedStream,
};

use crate::session::json::answer::{Outcome, outcome};
use crate::session::json::error::Error;
use crate::session::json::item::cause_name;

/// The sequence of a time.
#[derive(Serialize)]
pub(in crate::session::json) struct Sequence {
    sequence: i64,
    timestamp: i64,
}

/// The result of one message.
#[derive(Serialize)]
pub(in crate::session::json) struct Published {
    sequence: i64,
    /// Of a message with a `message_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate_window_ms: Option<u64>,
}

/// An answer of a subscription without messages of the stream.
#[derive(Serialize)]
#[serde(untagged)]
pub(in crate::session::json) enum Item<'a> {
    Subscribed { subscribed: Vec<Stream<'a>> },
    CaughtUp { stream: &'a str, next: i64, caught_up: Empty },
    Skipped { stream: &'a str, next: i64, skipped: Range },
    Retrying { stream: &'a str, retrying: Outage<'a> },
}

#[derive(Serialize)]
pub(in crate::session::json) struct Stream<'a> {
    stream: &'a str,
    stream_id: String,
    /// Where it begins.
    next: i64,
}

#[derive(Serialize)]
pub(in crate::session::json) struct Empty {}

#[derive(Serialize)]
pub(in crate::session::json) struct Range {
    from: i64,
    to: i64,
    cause: &'static str,
}

#[derive(Serialize)]
pub(in crate::session::json) struct Outage<'a> {
    since: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error<'a>>,
}

impl Sequence {
    pub(in crate::session::json) fn of(listed: &ListedSequence) -> Outcome<'_, Self> {
        let ListedSequence { sequence, timestamp, error } = listed;
        outcome(error.as_ref(), Self { sequence: *sequence, timestamp: *timestamp })
    }
}

impl Published {
    pub(in crate::session::json) fn of(report: &Report) -> Outcome<'_, Self> {
        let Report { sequence, error, duplicate, duplicate_window_ms } = report;
        let has_id = *duplicate_window_ms > 0;
        let published = Self {
            sequence: *sequence,
            duplicate: has_id.then_some(*duplicate),
            duplicate_window_ms: has_id.then_some(*duplicate_window_ms),
        };
        outcome(error.as_ref(), published)
    }
}

impl<'a> Item<'a> {
    pub(in crate::session::json) fn subscribed(
        NatsSubscribedResp { streams }: &'a NatsSubscribedResp,
    ) -> Self {
        let stream = |SubscribedStream { stream, stream_id, next_sequence }: &'a SubscribedStream| Stream {
            stream,
            stream_id: URL_SAFE_NO_PAD.encode(stream_id),
            next: *next_sequence,
        };
        Self::Subscribed { subscribed: streams.iter().map(stream).collect() }
    }

    /// None: an event that this version does not know.
    pub(in crate::session::json) fn event(event: &'a NatsSubscriptionEvent) -> Option<Self> {
        Some(match event.event.as_ref()? {
            Event::CaughtUp(CaughtUp { stream, next_sequence }) => {
                Self::CaughtUp { stream, next: *next_sequence, caught_up: Empty {} }
            }
            Event::Skipped(Skipped { stream, from, to, cause }) => {
                let cause = cause_name(Cause::try_from(*cause).unwrap_or_default());
                Self::Skipped { stream, next: *to, skipped: Range { from: *from, to: *to, cause } }
            }
            Event::Retrying(Retrying { stream, error, since }) => {
                let error = error.as_ref().map(Error::of_command);
                Self::Retrying { stream, retrying: Outage { since: *since, error } }
            }
        })
    }
}
