//! Streams of scripted logs.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use prost::Message as _;
use serde_json::Value;
use sluicegate_backend::{CommandError, Fault, System};
use sluicegate_delivery::drain::Drain;
use sluicegate_delivery::grant::Grant;
use sluicegate_delivery::testing::PARTITIONS;
use sluicegate_delivery::testing::logs::Logs;
use sluicegate_delivery::{ClientKind, Item, Place};
use sluicegate_dialect::json::format::Format;
use sluicegate_protocol::{KafkaFetchResp, KafkaMessage};
use sluicegate_rights::Topics;
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::event::Events;
use super::id::{Id, MAX_PARTITIONS, Positions, ago, over};
use super::query::EventsQuery;
use super::{Refused, check_partitions, query};
use crate::http::event_stream::{self, Writer as _};
use crate::http::tests::{headers, rest};

/// A client's stream.
struct Stream {
    frames: Receiver<Bytes>,
    drain: Drain,
    run: JoinHandle<()>,
}

/// The fields of an event.
#[derive(Debug, Default)]
struct Event {
    id: Option<String>,
    /// The kind of an event that is no record.
    event: Option<String>,
    data: Option<String>,
    others: Vec<String>,
}

/// Begins a stream as a request with this query and this `id` does.
async fn open(logs: &Logs, query: &str, partition: Option<i32>, last: Option<&str>) -> Stream {
    open_of(logs, System::Kafka, query, partition, last).await
}

async fn open_of(
    logs: &Logs,
    system: System,
    query: &str,
    partition: Option<i32>,
    last: Option<&str>,
) -> Stream {
    let EventsQuery { mut command, format, max_bytes, .. } =
        EventsQuery::parse(&query::at(query, system).unwrap(), system, "t", partition).unwrap();
    if let Some(last) = last {
        command.sources[0].next = Id::parse(last, partition).unwrap().positions.next();
    }
    let grant = Grant::all(&logs.cluster_of(system)).with_tables(Topics::default());
    let is_table = command.table.is_some();
    let subscription = grant.subscribe(command).await.unwrap();
    let events = Events::new(system, format, max_bytes, Positions::new(partition), is_table);
    let (sender, frames) = mpsc::channel(1);
    let drain = Drain::default();
    let listed = grant.list(ClientKind::Events);
    let run = tokio::spawn(event_stream::run(subscription, events, grant, listed, drain.clone(), sender));
    Stream { frames, drain, run }
}

fn parsed(frame: &Bytes) -> Vec<Event> {
    let text = std::str::from_utf8(frame).unwrap();
    let events = text.split_terminator("\n\n").filter(|event| *event != ":\n");
    let event = |text: &str| {
        let mut event = Event::default();
        for line in text.lines() {
            match line.split_once(": ") {
                Some(("id", id)) => event.id = Some(id.to_owned()),
                Some(("event", name)) => event.event = Some(name.to_owned()),
                Some(("data", data)) => event.data = Some(data.to_owned()),
                _ => event.others.push(line.to_owned()),
            }
        }
        assert!(event.data.is_some(), "{text}");
        event
    };
    events.map(event).collect()
}

impl Stream {
    /// The events of the next frame; none if there is none within a second.
    async fn next(&mut self) -> Vec<Event> {
        match timeout(Duration::from_secs(1), self.frames.recv()).await {
            Ok(Some(frame)) => parsed(&frame),
            Ok(None) | Err(_) => Vec::new(),
        }
    }

    /// All events until there are none for a second.
    async fn all(&mut self) -> Vec<Event> {
        let mut all = Vec::new();
        loop {
            match self.next().await {
                events if events.is_empty() => return all,
                events => all.extend(events),
            }
        }
    }
}

impl Event {
    /// The partition and offset of a record.
    fn record(&self) -> Option<(i64, i64)> {
        let data: serde_json::Value = serde_json::from_str(self.data.as_ref()?).unwrap();
        let number = |name: &str| data[name].as_i64().unwrap();
        self.event.is_none().then(|| (number("partition"), number("offset")))
    }
}

fn records(events: &[Event]) -> Vec<(i64, i64)> {
    events.iter().filter_map(Event::record).collect()
}

/// The kind and the data of each event but positions.
fn told(events: &[Event]) -> Vec<String> {
    let kind = |event: &Event| event.event.clone().unwrap_or_else(|| "record".to_owned());
    let told = events.iter().filter(|event| event.event.as_deref() != Some("position"));
    told.map(|event| format!("{} {}", kind(event), event.data.as_ref().unwrap())).collect()
}

fn filled(count: usize) -> Logs {
    let logs = Logs::default();
    for partition in 0..PARTITIONS {
        logs.append(partition, count);
    }
    logs
}

#[tokio::test(start_paused = true)]
async fn stream_resumes_exactly_after_each_event() {
    let logs = filled(7);
    let all = open(&logs, "from=earliest", None, None).await.all().await;
    assert!(all[0].others[0].starts_with("retry: "), "{all:?}");
    let want: BTreeMap<i64, Vec<i64>> =
        (0..PARTITIONS.into()).map(|number| (number, (0..7).collect())).collect();
    let mut seen: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    let mut last = None;
    // The first one has an `id`, too: without it, a client that reconnects would begin at the end.
    for event in &all {
        if let Some((partition, offset)) = event.record() {
            seen.entry(partition).or_default().push(offset);
        }
        last = event.id.as_deref().or(last);
        let mut both = seen.clone();
        for (partition, offset) in records(&open(&logs, "", None, last).await.all().await) {
            both.entry(partition).or_default().push(offset);
        }
        assert_eq!(both, want, "after {event:?}");
    }
    assert_eq!(seen, want);
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_by_comments() {
    let mut stream = open(&Logs::default(), "", Some(0), None).await;
    stream.all().await;
    for _ in 0..2 {
        let comment = timeout(Duration::from_millis(15_001), stream.frames.recv()).await;
        assert_eq!(comment.unwrap().unwrap(), ":\n");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_client_holds_one_delivery_and_loses_nothing() {
    let logs = filled(5000);
    let mut stream = open(&logs, "from=earliest", Some(0), None).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    logs.append(0, 1);
    assert_eq!(records(&stream.all().await), (0..5001).map(|offset| (0, offset)).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn records_left_out_move_the_id() {
    let logs = filled(5);
    let all = open(&logs, "from=earliest&key=x", Some(0), None).await.all().await;
    assert_eq!(records(&all), []);
    let last = all.iter().rev().find_map(|event| event.id.as_deref());
    let Id { positions, .. } = Id::parse(last.unwrap(), Some(0)).unwrap();
    assert_eq!(positions.next(), [(0, 5)]);
}

#[tokio::test(start_paused = true)]
async fn events_say_what_happens_besides_records() {
    let logs = filled(5);
    logs.delete_before(0, 2);
    let mut stream = open(&logs, "from=0", Some(0), None).await;
    let mut all = told(&stream.all().await);
    all.retain(|event| !event.starts_with("record "));
    let skipped = r#"skipped {"partition":0,"from":0,"to":2,"cause":"deleted"}"#;
    assert_eq!(all, [skipped, r#"caught-up {"partition":0,"next_offset":5}"#]);
    logs.break_with(0, CommandError::new(Fault::Unreachable { retriable: true }, 8, "no broker"));
    let want = r#"retrying {"partition":0,"reason":"unreachable","detail":"no broker","kafka_code":8,"retriable":true}"#;
    assert_eq!(told(&stream.all().await), [want]);
    logs.break_with(0, CommandError::new(Fault::NotAuthorized, 29, "m"));
    // With the next attempt.
    let rest = parsed(&stream.frames.recv().await.unwrap());
    let want =
        r#"error {"partition":0,"reason":"unauthorized","detail":"m","kafka_code":29,"retriable":false}"#;
    assert_eq!(told(&rest), [want]);
    assert_eq!(stream.frames.recv().await, None);
    assert!(Id::parse(rest[0].id.as_ref().unwrap(), Some(0)).unwrap().is_over);
}

/// Its client can go on at another bridge, with what was in the logs when this one could read them.
#[tokio::test(start_paused = true)]
async fn id_of_a_table_has_the_time_when_its_logs_were_read_to_their_ends() {
    let logs = filled(0);
    logs.set_keys(|_| "k");
    let mut stream = open(&logs, "snapshot=latest_per_key", None, None).await;
    let unreachable = CommandError::new(Fault::Unreachable { retriable: true }, 8, "no broker");
    for (is_broken, want) in [(false, 0..=30), (true, 75..=105), (false, 0..=30)] {
        match is_broken {
            true => logs.break_with(0, unreachable.clone()),
            false => logs.mend(),
        }
        stream.all().await;
        let mut last = None;
        // Six times 15 s.
        for _ in 0..6 {
            last = parsed(&stream.frames.recv().await.unwrap()).remove(0).id;
        }
        let at = Id::parse(&last.unwrap(), None).unwrap().positions.at.unwrap();
        let behind = ago(Duration::ZERO) - at;
        assert!(want.contains(&behind), "{behind} s, broken: {is_broken}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_of_a_stream_have_the_words_of_nats() {
    let logs = filled(5);
    logs.delete_before(0, 2);
    let open = async |query, last| open_of(&logs, System::Nats, query, Some(0), last).await;
    let mut stream = open("from=0", None).await;
    let all = stream.all().await;
    let record = |sequence| {
        let data = r#""subject":"","data":{"base64":"AAAAAAAAAAAAAA=="}"#;
        format!(r#"record {{"sequence":{sequence},"timestamp":0,{data}}}"#)
    };
    let mut want = vec![r#"skipped {"from":0,"to":2,"cause":"deleted"}"#.to_owned()];
    want.extend((2..5).map(record));
    want.push(r#"caught-up {"next_sequence":5}"#.to_owned());
    assert_eq!(told(&all), want);
    // It resumes after each message.
    let messages = all.iter().filter(|event| event.event.is_none() && event.data.is_some());
    for (sequence, message) in (2..5).zip(messages) {
        let rest = told(&open("from=latest", message.id.as_deref()).await.all().await);
        assert_eq!(rest[..rest.len() - 1], (sequence + 1..5).map(record).collect::<Vec<_>>());
    }
    let retrying = r#"retrying {"reason":"unreachable","detail":"m","retriable":true}"#;
    let unauthorized = r#"error {"reason":"unauthorized","detail":"m","nats_code":10101,"retriable":false}"#;
    for (fault, code, want) in
        [(Fault::Unreachable { retriable: true }, 8, retrying), (Fault::NotAuthorized, 10101, unauthorized)]
    {
        logs.break_with(0, CommandError::new(fault, code, "m"));
        assert_eq!(told(&parsed(&stream.frames.recv().await.unwrap())), [want]);
    }
}

#[tokio::test(start_paused = true)]
async fn stream_ends_when_the_bridge_drains_and_when_its_client_leaves() {
    let mut stream = open(&Logs::default(), "", None, None).await;
    stream.all().await;
    stream.drain.begin(1, Duration::from_secs(1));
    assert_eq!(stream.frames.recv().await, None);
    let mut stream = open(&Logs::default(), "", None, None).await;
    stream.all().await;
    drop(stream.frames);
    // Long before the next comment would find out.
    timeout(Duration::from_secs(1), stream.run).await.expect("the end").unwrap();
}

/// The status of the answer to a client that was at `id`, as browsers and as polyfills send it.
async fn status_after(logs: &Logs, id: &str) -> StatusCode {
    let path = "/topics/t/partitions/0/events";
    let of_browser = headers(&[("accept", "text/event-stream"), ("last-event-id", id)]);
    let grant = Grant::all(&logs.cluster());
    let status = crate::http::ask(&grant, &rest(path), Method::GET, &of_browser, "").await.status;
    let route = rest(&format!("{path}?&lastEventId={id}"));
    let of_polyfill = headers(&[("accept", "text/event-stream")]);
    assert_eq!(crate::http::ask(&grant, &route, Method::GET, &of_polyfill, "").await.status, status);
    status
}

/// A browser connects again unless it gets 204.
#[tokio::test]
async fn stream_that_is_over_or_of_a_deleted_topic_does_not_begin_again() {
    let (logs, id) = (Logs::default(), Positions::new(Some(0)).encode());
    assert_eq!(status_after(&logs, &id).await, StatusCode::OK);
    assert_eq!(status_after(&logs, &over(&id)).await, StatusCode::NO_CONTENT);
    logs.recreate(2, None);
    for (topic_id, want) in [(2, StatusCode::OK), (1, StatusCode::BAD_REQUEST)] {
        let mut positions = Positions::new(Some(0));
        positions.topic_id = Some(topic_id);
        assert_eq!(status_after(&logs, &positions.encode()).await, want);
    }
}

/// A stream whose positions no longer fit into an `id` ends for good.
#[tokio::test(start_paused = true)]
async fn partitions_are_bounded() {
    let logs = Logs::default();
    let mut stream = open(&logs, "", None, None).await;
    stream.all().await;
    let added = i32::try_from(MAX_PARTITIONS).unwrap() - PARTITIONS;
    logs.add_partitions(added);
    let begin = timeout(Duration::from_secs(11), stream.frames.recv()).await.unwrap().unwrap();
    let text = parsed(&begin).remove(0).id.unwrap();
    let last = Id::parse(&text, None).unwrap();
    assert_eq!(last.positions.partitions().count(), MAX_PARTITIONS);
    stream.all().await;
    let check =
        async |partition| check_partitions(&Grant::all(&logs.cluster()), "t", partition, Some(&last)).await;
    assert!(check(None).await.is_ok());

    logs.add_partitions(1);
    let end = loop {
        let frame = stream.frames.recv().await.unwrap();
        if frame != ":\n" {
            break parsed(&frame).remove(0);
        }
    };
    assert_eq!(end.event.as_deref(), Some("error"));
    assert!(Id::parse(&end.id.unwrap(), None).unwrap().is_over);
    assert_eq!(stream.frames.recv().await, None);
    assert!(matches!(check(None).await, Err(Refused::Bad(_))));
    // An `id` with more partitions than the topic has is of another topic.
    let one = Positions::new(Some(400));
    let other = Id { positions: one, is_over: false };
    let refused = check_partitions(&Grant::all(&logs.cluster()), "t", Some(400), Some(&other)).await;
    assert!(matches!(refused, Err(Refused::Bad(_))));
}

#[test]
fn data_is_one_line() {
    let value = Some(Bytes::from_static(b"{\"a\":\r\n [1,\r2]}\n"));
    let message = KafkaMessage { offset: 4, value, key: Some("k\n".into()), ..Default::default() };
    let messages = KafkaFetchResp { messages: vec![message], ..Default::default() }.encode_to_vec().into();
    let want = "data: {\"partition\":0,\"offset\":4,\"timestamp\":0,\"key\":\"k\\n\",\"value\":{\"a\":   [1, 2]}}\nid: .0.5\n\n";
    assert_eq!(written(System::Kafka, usize::MAX, messages), want);
}

/// The text of events with encoded messages.
fn written(system: System, max_bytes: usize, messages: Bytes) -> String {
    let mut events = Events::new(system, Format::Json, max_bytes, Positions::new(Some(0)), false);
    let mut text = Vec::new();
    let next = Place { topic: "t".into(), partition: 0, offset: 9 };
    events.put(&mut text, Item::Delivery { next, messages, end: 9 }, Duration::ZERO);
    events.put_records(&mut text);
    String::from_utf8(text).unwrap()
}

#[test]
fn record_above_the_bound_is_named_in_its_place() {
    for (system, name, key) in [(System::Kafka, "offset", "key"), (System::Nats, "sequence", "subject")] {
        for key_len in [1, 1_000] {
            let message = |offset, len| {
                let (key, value) = (Some("k".repeat(key_len).into()), Some(vec![b'1'; len].into()));
                KafkaMessage { offset, key, value, ..Default::default() }
            };
            let messages = [(4, 1), (5, 2_000), (6, 1)].map(|(offset, len)| message(offset, len)).to_vec();
            let messages = Bytes::from(KafkaFetchResp { messages, ..Default::default() }.encode_to_vec());
            let whole = written(system, usize::MAX, messages.clone());
            let large = whole.split_inclusive("\n\n").nth(1).unwrap();
            assert_eq!(written(system, large.len(), messages.clone()), whole);
            let bounded = written(system, key_len + 300, messages.clone());
            let [_, instead, _] = bounded.split_inclusive("\n\n").collect::<Vec<_>>()[..] else {
                panic!("{bounded}")
            };
            assert!(instead.len() <= key_len + 300, "{instead}");
            assert_eq!(whole.replace(large, instead), bounded);
            let instead = &parsed(&Bytes::copy_from_slice(instead.as_bytes()))[0];
            assert_eq!((instead.event.as_deref(), instead.id.as_deref()), (Some("too-large"), Some(".0.6")));
            let data: Value = serde_json::from_str(instead.data.as_ref().unwrap()).unwrap();
            assert_eq!((&data[name], &data["reason"]), (&5.into(), &"too_large".into()));
            assert_eq!(data[key], "k".repeat(key_len), "{data}");
        }
    }
}
