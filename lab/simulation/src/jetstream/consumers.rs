//! Consumers in the memory of one server, and what they deliver.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subject};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::wire::Link;
use super::{JetStream, messages, messages_from, subject};
use crate::kafka::State;

pub(super) struct Consumer {
    stream: String,
    stream_id: u128,
    server: usize,
    next: i64,
    /// The messages that it has delivered.
    delivered: u64,
    /// The number of messages after which it delivers no more: somebody else has paused it.
    paused_after: Option<u64>,
    /// The number of messages after which it leaves out each second one: somebody else has changed its filter.
    filtered_after: Option<u64>,
    /// When it was asked for messages, or has answered.
    used: Instant,
    /// One request after the other.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// Asks for messages.
#[derive(Deserialize)]
pub(super) struct Request {
    batch: u32,
    max_bytes: usize,
    /// In nanoseconds, as the heartbeat.
    #[serde(default)]
    expires: u64,
    #[serde(default)]
    idle_heartbeat: u64,
    #[serde(default)]
    no_wait: bool,
}

/// The next thing that a consumer has.
enum Next {
    Message(Message),
    /// The next message has no room.
    TooLarge,
    Nothing,
    Gone,
}

impl JetStream {
    /// Creates a consumer of the messages from a sequence on. False if there are too many.
    pub(super) fn create_consumer(&self, state: &State, stream: &str, name: &str, from: i64) -> bool {
        let Some(topic) = state.topics.get(stream) else { return false };
        let [refused, paused, filtered] = [(); 3].map(|()| self.0.random.lock().u8(..8) == 0);
        let some = || self.0.random.lock().u64(..10);
        if refused {
            return false;
        }
        let consumer = Consumer {
            stream: stream.to_owned(),
            stream_id: topic.id,
            server: topic.partitions[0].leader().broker,
            next: from,
            delivered: 0,
            paused_after: paused.then(some),
            filtered_after: filtered.then(some),
            used: Instant::now(),
            turn: Arc::default(),
        };
        self.0.consumers.lock().insert(name.to_owned(), consumer);
        true
    }

    /// Delivers messages until a request is over.
    pub(super) async fn deliver_next(
        &self,
        link: &Arc<Link>,
        name: &str,
        request: &Request,
        reply: &Subject,
    ) {
        let turn = self.0.consumers.lock().get(name).map(|consumer| Arc::clone(&consumer.turn));
        let Some(turn) = turn else { return link.deliver(messages::status(reply, 503, "")) };
        let _turn = turn.lock().await;
        let until = Instant::now() + Duration::from_nanos(request.expires);
        let heartbeat = Duration::from_nanos(request.idle_heartbeat);
        let (mut left, mut bytes) = (request.batch, 0);
        let mut beat = Instant::now() + heartbeat;
        loop {
            let changed = self.0.logs.changed();
            let next = {
                let state = self.0.logs.state();
                self.next(&state, name, request.max_bytes.saturating_sub(bytes))
            };
            match next {
                Next::Gone => return link.deliver(messages::status(reply, 409, "Consumer Deleted")),
                Next::Message(message) => {
                    bytes += message.length;
                    link.deliver_to(reply, message);
                    left -= 1;
                    if left == 0 {
                        return link.deliver(messages::status(reply, 409, "Batch Completed"));
                    }
                    beat = Instant::now() + heartbeat;
                }
                Next::TooLarge => {
                    let headers = messages::headers([("Nats-Pending-Messages", left.to_string())]);
                    let full = messages::status(reply, 409, "Message Size Exceeds MaxBytes");
                    return link.deliver(Message { headers: Some(headers), ..full });
                }
                Next::Nothing if request.no_wait => {
                    return link.deliver(messages::status(reply, 404, "No Messages"));
                }
                Next::Nothing => {
                    if timeout_at(beat.min(until), changed).await.is_err() {
                        if Instant::now() >= until {
                            return link.deliver(messages::status(reply, 408, "Request Timeout"));
                        }
                        link.deliver(messages::status(reply, 100, "Idle Heartbeat"));
                        beat = Instant::now() + heartbeat;
                    }
                }
            }
        }
    }

    /// The next message, if it has at most `room` bytes.
    fn next(&self, state: &State, name: &str, room: usize) -> Next {
        let mut consumers = self.0.consumers.lock();
        let Some(consumer) = consumers.get_mut(name) else { return Next::Gone };
        let is_up = state.brokers.get(consumer.server).is_some_and(|server| server.is_up);
        let topic = state.topics.get(&consumer.stream).filter(|topic| topic.id == consumer.stream_id);
        let is_idle = consumer.used.elapsed() >= INACTIVE;
        let Some(topic) = topic.filter(|_| is_up && !is_idle) else {
            consumers.remove(name);
            return Next::Gone;
        };
        consumer.used = Instant::now();
        if consumer.paused_after.is_some_and(|after| consumer.delivered >= after) {
            return Next::Nothing;
        }
        let log = &topic.partitions[0].log;
        let is_filtered = consumer.filtered_after.is_some_and(|after| consumer.delivered >= after);
        let mut following =
            messages_from(log, consumer.next).filter(|(_, record)| !is_filtered || record.offset % 2 == 0);
        let Some((batch, record)) = following.next() else { return Next::Nothing };
        let (sequence, number) = (record.offset, consumer.delivered + 1);
        // In a long stream, as if none were deleted: it takes long to count them.
        let pending = match usize::try_from(log.committed - sequence - 1).unwrap_or_default() {
            many @ 1_000.. => many,
            _ => following.count(),
        };
        let (stream, time) = (&consumer.stream, self.since_1970(batch.at));
        let reply = format!("$JS.ACK.{stream}.{name}.1.{sequence}.{number}.{time}.{pending}");
        let subject = subject(record);
        let payload = record.value.clone().unwrap_or_default();
        let length = subject.len() + payload.len();
        if length > room {
            return Next::TooLarge;
        }
        (consumer.next, consumer.delivered) = (sequence + 1, number);
        Next::Message(Message { reply: Some(reply.into()), payload, length, ..messages::empty(&subject) })
    }
}

/// Servers forget a consumer that nobody asks for so long.
const INACTIVE: Duration = Duration::from_secs(10);
