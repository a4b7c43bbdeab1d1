//! Plain HTTP to Kafka on one connection: reads that are polled, some of them as Durable Streams, writes, and a stream of events.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use prost::Message;
use serde_json::{Value, json};
use sluicegate_bridge::testing::event_positions;
use sluicegate_protocol::http_route::Resource;
use sluicegate_protocol::http_streams::Elements;
use sluicegate_protocol::kafka_subscription_event::skipped::Cause;
use sluicegate_protocol::kafka_subscription_event::{CaughtUp, Event, OpenTransaction, Retrying, Skipped};
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaFetch, CmdKafkaProduce, CmdKafkaSubscribe, ErrorResp, HttpProduce, HttpRest, HttpRoute,
    HttpStreams, KafkaDeliveryResp, KafkaFetchResp, KafkaListOffsetResp, KafkaMessage, KafkaProduceResp,
    KafkaSubscribedResp, PartitionNext, Produced, Reason, SubscribedTopic, metadata,
};
use tokio::io::DuplexStream;
use tokio::task::JoinSet;

use super::{Connection, cause_of, error_of, happened, number};

/// The `id` of the last event that a client has taken; `None`: its stream begins anew.
pub(crate) type LastEvent = Arc<Mutex<Option<String>>>;

/// A connection, on which one request follows the other.
pub(super) struct Http {
    requests: Requests,
    answers: JoinSet<Option<(i64, Resp)>>,
    events: Option<(i64, Events)>,
    last_event: LastEvent,
    /// Whether reads without bounds are of Durable Streams, which give values with a schema as JSON.
    streams: bool,
}

type Requests = Arc<tokio::sync::Mutex<SendRequest<Full<Bytes>>>>;

impl Http {
    pub(super) async fn open(stream: DuplexStream, last_event: LastEvent, streams: bool) -> Option<Self> {
        let (requests, connection) = handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let requests = Arc::new(tokio::sync::Mutex::new(requests));
        Some(Self { requests, answers: JoinSet::new(), events: None, last_event, streams })
    }
}

impl Connection for Http {
    fn send(&mut self, sequence: i64, req: Req) -> BoxFuture<'_, io::Result<()>> {
        async move {
            let requests = Arc::clone(&self.requests);
            match req {
                Req::CmdPing(_) => {}
                Req::CmdKafkaSubscribe(subscribe) => {
                    let last = self.last_event.lock().clone();
                    let events = Events::open(&requests, &subscribe, last).await;
                    self.events = Some((sequence, events.ok_or(io::ErrorKind::ConnectionReset)?));
                }
                Req::CmdKafkaFetch(fetch) if self.streams && !has_bounds(&fetch) => {
                    let known = Arc::clone(&self.last_event);
                    let answer = async move { Some((sequence, follow(&requests, &fetch, &known).await?)) };
                    self.answers.spawn(answer);
                }
                req => drop(self.answers.spawn(async move { Some((sequence, ask(&requests, &req).await?)) })),
            }
            Ok(())
        }
        .boxed()
    }

    fn next(&mut self) -> BoxFuture<'_, Option<(i64, Resp)>> {
        async move {
            match &mut self.events {
                Some((sequence, events)) => Some((*sequence, events.next(&self.last_event).await?)),
                None => self.answers.join_next().await?.ok()?,
            }
        }
        .boxed()
    }
}

/// The answer to a command that is one request.
async fn ask(requests: &Requests, req: &Req) -> Option<Resp> {
    let request = match req {
        Req::CmdKafkaFetch(fetch) => {
            let some = |bound: u32| (bound > 0).then_some(bound);
            let query = [
                ("timeout", fetch.max_wait_ms),
                ("max_bytes", some(fetch.max_bytes)),
                ("min_bytes", some(fetch.min_bytes)),
                ("max_records", some(fetch.max_records)),
            ];
            let query = query.into_iter().filter_map(|(name, bound)| Some(format!("&{name}={}", bound?)));
            let (topic, partition, isolation) = (&fetch.topic, fetch.partition, isolation(fetch.isolation));
            let log = format!("/topics/{topic}/partitions/{partition}");
            let query: String = query.collect();
            get(format!("{log}/records?offset={}{query}{isolation}", fetch.offset))
        }
        Req::CmdKafkaListOffset(list) => {
            get(format!("/topics/{}/partitions/{}/offsets", list.topic, list.partition))
        }
        Req::CmdKafkaProduce(produce) => post(produce)?,
        _ => return None,
    };
    let (head, body) = send(requests, request).await?.into_parts();
    let body: Value = serde_json::from_slice(&body.collect().await.ok()?.to_bytes()).ok()?;
    if head.status != 200 {
        return Some(Resp::ErrorResp(problem(head.status.as_u16(), &body)));
    }
    Some(match req {
        Req::CmdKafkaFetch(_) => {
            let next_offset = head.headers.get("sluicegate-next-offset")?.to_str().ok()?.parse().ok()?;
            let messages = body.as_array()?.iter().map(record).collect();
            Resp::KafkaFetchResp(KafkaFetchResp { messages, next_offset, ..KafkaFetchResp::default() })
        }
        Req::CmdKafkaListOffset(_) => {
            Resp::KafkaListOffsetResp(KafkaListOffsetResp { offset: number(&body["end_offset"]) })
        }
        _ => {
            let results = body["offsets"].as_array().map_or(std::slice::from_ref(&body), Vec::as_slice);
            let results = results.iter().map(produced).collect();
            Resp::KafkaProduceResp(KafkaProduceResp { results })
        }
    })
}

fn has_bounds(fetch: &CmdKafkaFetch) -> bool {
    fetch.max_bytes > 0 || fetch.max_records > 0 || fetch.min_bytes > 0
}

/// The answer to a fetch as a read of a stream. `known` is the topic's part of the stream's offsets, which the client keeps: the
/// bridge tells it when there is another topic.
async fn follow(requests: &Requests, fetch: &CmdKafkaFetch, known: &LastEvent) -> Option<Resp> {
    let stream = format!("/{}/{}", fetch.topic, fetch.partition);
    let streams = HttpStreams {
        content_type: "application/json".to_owned(),
        elements: Elements::Envelope.into(),
        ..HttpStreams::default()
    };
    let ask = async |method: &str, query: String| {
        let route = Resource::Streams(streams.clone());
        let answer = send(requests, request(method, route, format!("{stream}{query}"), Bytes::new())).await?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        let next =
            head.headers.get("stream-next-offset").and_then(|next| next.to_str().ok()).map(str::to_owned);
        Some((head.status.as_u16(), next, body))
    };
    let topic = known.lock().clone();
    let topic = match topic {
        Some(topic) => topic,
        None => match ask("HEAD", String::new()).await? {
            (200, next, _) => {
                let topic = next?.rsplit_once('_')?.0.to_owned();
                *known.lock() = Some(topic.clone());
                topic
            }
            // The answer to HEAD does not tell why.
            (..) => return Some(Resp::ErrorResp(ErrorResp { retriable: true, ..ErrorResp::default() })),
        },
    };
    let (offset, wait) = (fetch.offset, fetch.max_wait_ms.unwrap_or(500));
    let isolation = isolation(fetch.isolation);
    let query = format!("?offset={topic}_{offset:020}&live=long-poll&timeout={wait}{isolation}");
    let (status, next, body) = ask("GET", query).await?;
    let messages = match status {
        200 => serde_json::from_slice::<Vec<Value>>(&body).ok()?.iter().map(record_of_stream).collect(),
        204 => Vec::new(),
        _ => {
            let mut error = problem(status, &serde_json::from_slice(&body).ok()?);
            if error.reason() == Reason::Recreated {
                *known.lock() = None;
                error.retriable = true;
            }
            return Some(Resp::ErrorResp(error));
        }
    };
    let next_offset = next?.rsplit_once('_')?.1.parse().ok()?;
    Some(Resp::KafkaFetchResp(KafkaFetchResp { messages, next_offset, ..KafkaFetchResp::default() }))
}

/// A record whose key is a text, and whose value is no JSON.
fn record_of_stream(record: &Value) -> KafkaMessage {
    let base64 =
        |value: &Value| STANDARD.decode(value["base64"].as_str().unwrap_or_default()).unwrap_or_default();
    let bytes = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(Bytes::from(text.clone())),
        Value::Object(_) => Some(Bytes::from(base64(value))),
        json => Some(Bytes::from(json.to_string())),
    };
    let (key, value) = (bytes(&record["key"]), bytes(&record["value"]));
    let (offset, timestamp) = (number(&record["offset"]), number(&record["timestamp"]));
    KafkaMessage { offset, timestamp, key, value, ..KafkaMessage::default() }
}

/// A request that writes one record, which is its body, or a list of them.
fn post(produce: &CmdKafkaProduce) -> Option<Request<Full<Bytes>>> {
    let (first, topic) = (produce.records.first()?, produce.records.first()?.topic.clone());
    if let [record] = &produce.records[..] {
        let route = HttpProduce { topic, partition: record.partition, ..HttpProduce::default() };
        return Some(request("POST", Resource::Produce(route), String::new(), first.value.clone()?));
    }
    let records = produce.records.iter().map(|record| {
        let value = STANDARD.encode(record.value.as_deref().unwrap_or_default());
        json!({"partition": record.partition, "value": value})
    });
    let body = json!({"records": records.collect::<Vec<_>>()}).to_string();
    let rest = Resource::Rest(HttpRest::default());
    let mut request = request("POST", rest, format!("/topics/{topic}"), body.into());
    request.headers_mut().insert(CONTENT_TYPE, "application/vnd.kafka.binary.v2+json".parse().ok()?);
    Some(request)
}

/// The result of a record, whose error is a text.
fn produced(result: &Value) -> Produced {
    let (partition, offset) = (partition(result), number(&result["offset"]));
    match result["error"].is_string() {
        true => Produced { error: Some(error_of(result)), ..Produced::default() },
        false => Produced { partition, offset, ..Produced::default() },
    }
}

struct Events {
    topic: String,
    body: Incoming,
    unread: BytesMut,
    /// What the bridge has told, with the `id` behind it.
    told: VecDeque<(Resp, Option<String>)>,
    /// The `id` behind what the client has got last.
    given: Option<String>,
    /// Where the last event has said that each partition goes on.
    next: BTreeMap<i32, i64>,
    /// The same of the event behind which the stream begins; empty if it begins anew.
    last: BTreeMap<i32, i64>,
    /// Where the client is. It can have taken a part of what the event behind the last one has told.
    taken: BTreeMap<i32, i64>,
}

impl Events {
    async fn open(requests: &Requests, subscribe: &CmdKafkaSubscribe, last: Option<String>) -> Option<Self> {
        let (source, isolation) = (subscribe.sources.first()?, isolation(subscribe.isolation));
        let topic = source.topic.clone();
        let taken: BTreeMap<_, _> = source.next.iter().map(|next| (next.partition, next.offset)).collect();
        let keys = subscribe.filters.iter().flat_map(|filter| &filter.equals);
        let keys: String = keys.map(|key| format!("&key={}", String::from_utf8_lossy(key))).collect();
        let on_lag = if subscribe.on_lag == 0 { "" } else { "&on_lag=skip" };
        let path = format!("/topics/{topic}/events?from=earliest&format=base64{isolation}{keys}{on_lag}");
        let mut request = get(path);
        let places = last.as_deref().and_then(event_positions).map(|(_, places)| places);
        if let Some(last) = last {
            request.headers_mut().insert("last-event-id", last.parse().ok()?);
        }
        let (head, mut body) = send(requests, request).await?.into_parts();
        let (unread, mut told, given, next) = (BytesMut::new(), VecDeque::new(), None, BTreeMap::new());
        if head.status != 200 {
            let text = (&mut body).collect().await.ok()?.to_bytes();
            let mut error = problem(head.status.as_u16(), &serde_json::from_slice(&text).ok()?);
            if !taken.is_empty() && error.reason() == Reason::InvalidCommand {
                // The last event is of another topic.
                error.set_reason(Reason::Recreated);
            }
            told.push_back((Resp::ErrorResp(error), None));
        }
        let last = places.into_iter().flatten().collect();
        Some(Self { topic, body, unread, told, given, next, last, taken })
    }

    /// What comes next. The client has taken what came before.
    async fn next(&mut self, last_event: &LastEvent) -> Option<Resp> {
        if let Some(given) = self.given.take() {
            *last_event.lock() = Some(given);
        }
        loop {
            if let Some((resp, id)) = self.told.pop_front() {
                self.given = id;
                return Some(resp);
            }
            match self.unread.windows(2).position(|end| end == b"\n\n") {
                Some(end) => {
                    let event = self.unread.split_to(end);
                    self.unread.advance(2);
                    self.tell(std::str::from_utf8(&event).ok()?)?;
                }
                None => {
                    let frame = self.body.frame().await?.ok()?;
                    self.unread.extend_from_slice(&frame.into_data().ok()?);
                }
            }
        }
    }

    /// Says what an event says as a session does.
    fn tell(&mut self, event: &str) -> Option<()> {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        let data: Value = serde_json::from_str(field("data: ")?).ok()?;
        let (id, name, partition) = (field("id: "), field("event: "), partition(&data));
        let at = self.at(partition);
        let (told, place) = match name {
            Some("position") => (None, None),
            None => {
                let (record, next) = (record(&data), number(&data["offset"]) + 1);
                (Some(self.delivery(partition, next, vec![record])), Some(next))
            }
            Some("caught-up") => {
                let end = data["open_transaction"]["end"].as_i64();
                let open_transaction = end.map(|end| OpenTransaction { end });
                let next_offset = number(&data["next_offset"]);
                let place = CaughtUp { partition, next_offset, open_transaction, ..CaughtUp::default() };
                (Some(happened(Event::CaughtUp(place))), Some(next_offset))
            }
            Some("skipped") => {
                let (from, to) = (number(&data["from"]), number(&data["to"]));
                let from = if from < at { from } else { from.max(self.taken(partition)) };
                ((from < to).then(|| skipped(partition, (from, to), cause_of(&data))), Some(to))
            }
            Some("retrying") => {
                let retrying = Retrying { partition, ..Retrying::default() };
                (Some(happened(Event::Retrying(retrying))), None)
            }
            Some(_) => (Some(Resp::ErrorResp(error_of(&data))), None),
        };
        let place = place.map(|place| (partition, place));
        let told = match self.go_on(id.unwrap_or_default(), place) {
            Ok(()) => told,
            Err(message) => Some(Resp::ErrorResp(ErrorResp { message, ..ErrorResp::default() })),
        };
        self.told.extend(told.map(|told| (told, None)));
        if let (Some(id), Some((_, behind))) = (id, self.told.back_mut()) {
            *behind = Some(id.to_owned());
        }
        Some(())
    }

    /// Where the stream is in a partition; −1: it has not begun there.
    fn at(&self, partition: i32) -> i64 {
        self.next.get(&partition).or(self.last.get(&partition)).copied().unwrap_or(-1)
    }

    fn taken(&self, partition: i32) -> i64 {
        self.taken.get(&partition).copied().unwrap_or_default()
    }

    /// Takes the places of an `id`. By it alone, a stream says where partitions begin, and where those go on that are not the
    /// event's own one, whose place the event tells, too.
    ///
    /// # Errors
    /// A client that comes back with it would get records again, or miss some.
    fn go_on(&mut self, id: &str, own: Option<(i32, i64)>) -> Result<(), String> {
        let Some((topic_id, places)) = event_positions(id) else {
            return own.map_or(Ok(()), |own| Err(format!("an event at {own:?} without an id")));
        };
        let begins_anew = self.next.is_empty() && self.taken.is_empty();
        for (partition, to) in places {
            let (at, taken) = (self.at(partition), self.taken(partition));
            let begins = begins_anew || self.next.get(&partition) == Some(&-1);
            if self.next.insert(partition, to).is_none() {
                let topic = SubscribedTopic {
                    topic: self.topic.clone(),
                    topic_id: Bytes::copy_from_slice(&topic_id.to_be_bytes()),
                    partitions: vec![PartitionNext { partition, offset: taken }],
                };
                let begun = KafkaSubscribedResp { topics: vec![topic], snapshot: false };
                self.told.push_back((Resp::KafkaSubscribedResp(begun), None));
            }
            let own = own.filter(|(of, _)| *of == partition).map(|(_, place)| place);
            if to < at || own.is_some_and(|place| place != to) {
                return Err(format!(
                    "an id at {to} of partition {partition}, after {at}, of an event at {own:?}"
                ));
            }
            let from = at.max(taken);
            if own.is_none() && from < to {
                let told = match begins {
                    true => skipped(partition, (from, to), Cause::Deleted),
                    false => self.delivery(partition, to, Vec::new()),
                };
                self.told.push_back((told, None));
            }
        }
        Ok(())
    }

    fn delivery(&self, partition: i32, next_offset: i64, messages: Vec<KafkaMessage>) -> Resp {
        let (topic, high_watermark) = (self.topic.clone(), next_offset);
        Resp::KafkaDeliveryResp(KafkaDeliveryResp { messages, topic, partition, next_offset, high_watermark })
    }
}

fn skipped(partition: i32, (from, to): (i64, i64), cause: Cause) -> Resp {
    happened(Event::Skipped(Skipped { partition, from, to, cause: cause.into(), ..Skipped::default() }))
}

fn record(record: &Value) -> KafkaMessage {
    let bytes = |name: &str| {
        let text = record[name].as_str()?;
        Some(Bytes::from(STANDARD.decode(text).unwrap_or_default()))
    };
    let (key, value, offset) = (bytes("key"), bytes("value"), number(&record["offset"]));
    KafkaMessage { offset, timestamp: number(&record["timestamp"]), key, value, ..KafkaMessage::default() }
}

fn partition(document: &Value) -> i32 {
    i32::try_from(number(&document["partition"])).unwrap_or(-1)
}

fn isolation(isolation: i32) -> &'static str {
    if isolation == 0 { "" } else { "&isolation=read_committed" }
}

fn problem(status: u16, document: &Value) -> ErrorResp {
    ErrorResp { retriable: matches!(status, 429 | 503 | 504), ..error_of(document) }
}

async fn send(requests: &Requests, request: Request<Full<Bytes>>) -> Option<Response<Incoming>> {
    let mut requests = requests.lock().await;
    requests.ready().await.ok()?;
    requests.send_request(request).await.ok()
}

fn get(path: String) -> Request<Full<Bytes>> {
    request("GET", Resource::Rest(HttpRest::default()), path, Bytes::new())
}

/// A request as a gateway sends it.
#[expect(clippy::expect_used, reason = "the simulation itself is wrong")]
fn request(method: &str, resource: Resource, path: String, body: Bytes) -> Request<Full<Bytes>> {
    let route = HttpRoute { resource: Some(resource), path, ..HttpRoute::default() };
    let request = Request::builder().method(method).header(HOST, "localhost").header(metadata::WRITE, "true");
    let request = request.header(metadata::HTTP, STANDARD.encode(route.encode_to_vec()));
    request.body(Full::new(body)).expect("a valid request")
}
