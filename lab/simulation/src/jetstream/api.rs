//! Requests of JetStream's API, answered by a stream's leader; direct gets by any server.

use std::sync::Arc;

use async_nats::{Message, Subject};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::wire::Link;
use super::{JetStream, Settings, messages, messages_from, subject};
use crate::kafka::{State, Topic};

/// Asks for one message.
#[derive(Deserialize)]
struct MessageRequest {
    seq: Option<i64>,
    last_by_subj: Option<String>,
    next_by_subj: Option<String>,
    start_time: Option<String>,
}

/// Asks for many.
#[derive(Deserialize)]
struct BatchRequest {
    seq: i64,
    batch: usize,
    max_bytes: usize,
}

#[derive(Deserialize)]
struct CreateRequest {
    config: ConsumerConfig,
}

#[derive(Deserialize)]
struct ConsumerConfig {
    opt_start_seq: i64,
}

impl JetStream {
    /// Answers a request, unless the stream has no leader.
    pub(super) async fn answer(&self, link: &Arc<Link>, call: &str, request: &[u8], reply: &Subject) {
        if let Some(place) = call.strip_prefix("CONSUMER.MSG.NEXT.") {
            let name = place.split_once('.').map_or("", |(_, name)| name);
            return match serde_json::from_slice(request) {
                Ok(request) => self.deliver_next(link, name, &request, reply).await,
                Err(_) => link.deliver(messages::status(reply, 400, "Bad Request")),
            };
        }
        for message in self.answers(call, request, reply) {
            link.deliver(message);
        }
    }

    fn answers(&self, call: &str, request: &[u8], reply: &str) -> Vec<Message> {
        let state = &*self.0.logs.state();
        let json = |answer: Option<Value>| answer.map(|answer| messages::json(reply, &answer));
        if call == "INFO" {
            return Vec::from_iter(json(Some(json!({}))));
        }
        if call == "STREAM.NAMES" {
            let streams: Vec<_> = state.topics.keys().collect();
            return Vec::from_iter(json(Some(json!({"total": streams.len(), "streams": streams}))));
        }
        if let Some(stream) = call.strip_prefix("DIRECT.GET.") {
            return self.direct(state, stream, request, reply).unwrap_or_default();
        }
        let place = call.strip_prefix("STREAM.INFO.").or(call.strip_prefix("STREAM.MSG.GET."));
        let place = place.or(call.strip_prefix("CONSUMER.CREATE."));
        let (stream, consumer) = place.map_or(("", ""), |place| place.split_once('.').unwrap_or((place, "")));
        let Some(topic) = state.topics.get(stream).filter(|_| self.has_leader(state, stream)) else {
            return Vec::from_iter(self.nobody(reply));
        };
        Vec::from_iter(json(if call.starts_with("STREAM.INFO.") {
            self.info(stream, topic)
        } else if call.starts_with("STREAM.MSG.GET.") {
            serde_json::from_slice(request).ok().and_then(|request| self.message(topic, &request))
        } else {
            serde_json::from_slice(request).ok().map(|CreateRequest { config }| {
                match self.create_consumer(state, stream, consumer, config.opt_start_seq) {
                    true => json!({}),
                    false => error(400, 10026, "maximum consumers limit reached"),
                }
            })
        }))
    }

    fn info(&self, stream: &str, topic: &Topic) -> Option<Value> {
        let log = &topic.partitions[0].log;
        let first = log.first();
        let messages = log.committed - first;
        let Settings { is_direct, is_limited } = self.settings(topic.id);
        Some(json!({
            "created": rfc3339(topic.id)?,
            "config": {
                "allow_direct": is_direct,
                "retention": if is_limited { "limits" } else { "interest" },
                "subjects": [format!("{stream}.>")],
            },
            "state": {
                // As if none were deleted between the first and the last.
                "messages": messages,
                "bytes": messages * SIZE,
                "first_seq": first,
                "last_seq": log.committed - 1,
            },
        }))
    }

    fn message(&self, topic: &Topic, request: &MessageRequest) -> Option<Value> {
        let log = &topic.partitions[0].log;
        let from = request.seq.unwrap_or(log.start);
        let since = request.start_time.as_deref().map_or(Some(0), nanoseconds)?;
        let mut found = messages_from(log, from).filter(|(batch, _)| self.since_1970(batch.at) >= since);
        let found = match request {
            MessageRequest { last_by_subj: Some(_), .. } => found.last(),
            MessageRequest { next_by_subj: Some(_), .. } => found.next(),
            _ => found.next().filter(|(_, record)| record.offset == from),
        };
        let Some((batch, record)) = found else { return Some(error(404, 10037, "no message found")) };
        Some(json!({"message": {
            "subject": subject(record),
            "seq": record.offset,
            "data": STANDARD.encode(record.value.as_deref().unwrap_or_default()),
            "time": rfc3339(self.since_1970(batch.at))?,
        }}))
    }

    /// Messages of any server. It can be late.
    fn direct(&self, state: &State, stream: &str, request: &[u8], reply: &str) -> Option<Vec<Message>> {
        let request: BatchRequest = serde_json::from_slice(request).ok()?;
        let server = &state.brokers[self.0.random.lock().usize(..state.brokers.len())];
        if !server.answers() {
            return Some(Vec::from_iter(self.nobody(reply)));
        }
        let log = &state.topics.get(stream)?.partitions[0].log;
        let all = messages_from(log, request.seq).filter(|(batch, _)| batch.at.elapsed() >= server.lag);
        let all: Vec<_> = all.collect();
        if all.is_empty() {
            return Some(vec![messages::status(reply, 404, "Message Not Found")]);
        }
        let (mut answer, mut bytes, mut last) = (Vec::new(), 0, 0);
        for ((batch, record), pending) in all.iter().zip((0..all.len()).rev()).take(request.batch) {
            let payload = record.value.clone().unwrap_or_default();
            bytes += payload.len();
            if bytes > request.max_bytes && !answer.is_empty() {
                break;
            }
            let headers = messages::headers([
                ("Nats-Stream", stream.to_owned()),
                ("Nats-Subject", subject(record)),
                ("Nats-Sequence", record.offset.to_string()),
                ("Nats-Time-Stamp", rfc3339(self.since_1970(batch.at))?),
                ("Nats-Num-Pending", pending.to_string()),
                ("Nats-Last-Sequence", last.to_string()),
            ]);
            answer.push(Message { headers: Some(headers), payload, ..messages::empty(reply) });
            last = record.offset;
        }
        answer.push(messages::status(reply, 204, "EOB"));
        Some(answer)
    }
}

/// The size of a message, about.
const SIZE: i64 = 50;

fn error(code: u16, err_code: u16, description: &str) -> Value {
    json!({"error": {"code": code, "err_code": err_code, "description": description}})
}

fn rfc3339(nanoseconds: u128) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::try_from(nanoseconds).ok()?).ok()?;
    time.format(&Rfc3339).ok()
}

fn nanoseconds(time: &str) -> Option<u128> {
    u128::try_from(OffsetDateTime::parse(time, &Rfc3339).ok()?.unix_timestamp_nanos()).ok()
}
