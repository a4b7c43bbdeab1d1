//! A consumer of our own on a stream, and its messages in order.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use serde::Serialize;
use tokio::time::timeout;

use super::api::{Api, json};
use super::entries::Entries;
use super::error::ReadError;
use super::message::{Delivery, delivery};
use super::session::Session;
use super::stream_name::StreamName;

/// A pull consumer without acknowledgements.
///
/// # Cancel safety
/// After a dropped call, messages may be missing: the next call notices that.
pub(super) struct Consumer {
    session: Arc<Session>,
    /// Of requests for messages.
    subject: String,
    inbox: String,
    deliveries: BoxStream<'static, Message>,
    /// The messages of a request.
    batch: u32,
    /// Messages that were requested and may still come.
    left: u32,
    /// The consumer's number of the last message.
    last: u64,
}

/// A request for messages. Durations are in nanoseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct NextMessages {
    pub(super) batch: u32,
    pub(super) max_bytes: usize,
    /// 0 with `no_wait`.
    pub(super) expires: u64,
    pub(super) idle_heartbeat: u64,
    /// The request ends when there is no further message.
    pub(super) no_wait: bool,
}

#[derive(Serialize)]
struct CreateConsumer<'a> {
    stream_name: &'a str,
    config: ConsumerConfig<'a>,
}

#[derive(Serialize)]
struct ConsumerConfig<'a> {
    name: &'a str,
    deliver_policy: &'static str,
    opt_start_seq: i64,
    ack_policy: &'static str,
    mem_storage: bool,
    num_replicas: u32,
    inactive_threshold: u64,
}

impl Consumer {
    /// Creates a consumer of the messages from `first` on. The server removes it when it is not asked for a while.
    pub(super) async fn create(api: &Api, stream: StreamName<'_>, first: i64) -> Result<Self, ReadError> {
        let session = api.connection.session(api.deadline()).await?;
        let (inbox, deliveries) = session.subscribe().await?;
        let name = format!("sluicegate-{:032x}", fastrand::u128(..));
        let config = ConsumerConfig {
            name: &name,
            deliver_policy: "by_start_sequence",
            opt_start_seq: first,
            ack_policy: "none",
            mem_storage: true,
            num_replicas: 1,
            inactive_threshold: nanoseconds(INACTIVE),
        };
        let request = json(&CreateConsumer { stream_name: stream.as_str(), config });
        api.check(&format!("CONSUMER.CREATE.{stream}.{name}"), request).await?;
        let subject = api.subject(&format!("CONSUMER.MSG.NEXT.{stream}.{name}"));
        Ok(Self { session, subject, inbox, deliveries, batch: 0, left: 0, last: 0 })
    }

    /// The largest message that the server accepts, in bytes.
    pub(super) fn max_payload(&self) -> usize {
        self.session.max_payload()
    }

    /// Messages that were requested and may still come.
    pub(super) fn left(&self) -> u32 {
        self.left
    }

    /// Asks for messages. Servers spread them over requests at the same time, all of which must be alike.
    pub(super) async fn ask(&mut self, next: &NextMessages) -> Result<(), ReadError> {
        self.session.publish(&self.subject, Some(self.inbox.clone()), json(next), None).await?;
        (self.batch, self.left) = (next.batch, self.left.saturating_add(next.batch));
        Ok(())
    }

    /// Waits until something comes, and takes what is there until that is `enough`. After an error, `messages` has
    /// those before it.
    pub(super) async fn take(
        &mut self,
        messages: &mut Entries,
        enough: impl Fn(&Entries) -> bool,
    ) -> Result<(), ReadError> {
        let first = tokio::select! {
            () = self.session.lost() => return Err(ReadError::Lost),
            first = timeout(SILENCE, self.deliveries.next()) => first,
        };
        let first = first.map_err(|_| ReadError::Unanswered { subject: self.subject.clone() })?;
        let mut next = Some(first.ok_or(ReadError::Lost)?);
        while let Some(message) = next {
            self.take_one(message, messages)?;
            if self.left == 0 || enough(messages) {
                break;
            }
            next = self.deliveries.next().now_or_never().flatten();
        }
        Ok(())
    }

    fn take_one(&mut self, message: Message, messages: &mut Entries) -> Result<(), ReadError> {
        let ended = |what| Err(ReadError::Malformed { subject: self.subject.clone(), what });
        match delivery(message) {
            Some(Delivery::Message { message, number, pending }) => {
                let is_next = self.last.checked_add(1) == Some(number);
                if !is_next || !messages.push(&message) {
                    return ended("messages are missing");
                }
                messages.note_pending(pending);
                (self.left, self.last) = (self.left.saturating_sub(1), number);
                Ok(())
            }
            // The last message of the request has come before.
            Some(Delivery::Heartbeat | Delivery::Complete) => Ok(()),
            // Not even one message has fitted: the cluster has larger ones than this server accepts.
            Some(Delivery::Full { pending }) if pending.unwrap_or(self.left) >= self.batch => {
                ended("message too large")
            }
            Some(Delivery::Full { pending }) => {
                self.left = self.left.saturating_sub(pending.unwrap_or(self.left));
                Ok(())
            }
            Some(Delivery::RequestOver) => {
                self.left = 0;
                Ok(())
            }
            Some(Delivery::Ended) => ended("the consumer has ended"),
            None => ended("malformed message"),
        }
    }
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Room for the headers of a message, besides what a server accepts: a request must fit the largest message.
pub(super) const ROOM: usize = 64 * 1024;
/// A consumer that is silent for so long is gone, or its server is. More than two heartbeats.
pub(super) const SILENCE: Duration = Duration::from_millis(2_500);
/// When servers remove a consumer that nobody asks.
const INACTIVE: Duration = Duration::from_secs(10);
