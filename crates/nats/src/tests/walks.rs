//! Reads of a long stream from its beginning, by which a consumer reads ahead.

use super::*;

/// Far more messages than a walk reads at a time.
const COUNT: u32 = 14_000;

impl Case {
    /// The sequences that a walk finds from here on, whose consumer is parked then.
    async fn begin(&self, stream: &str) -> i64 {
        let first = self.read(stream, 1).await.unwrap();
        let second = self.read(stream, first.next_offset).await.unwrap();
        self.consumers(stream, 1).await;
        // The messages that the consumer has delivered at once.
        let mut next = second.next_offset;
        while let Some(kept) = self.nats.recent(log(stream), at(next)) {
            next = kept.next_offset;
        }
        assert!(next < i64::from(COUNT), "the walk has not read everything");
        next
    }
}

fn all() -> Vec<i64> {
    (1..=i64::from(COUNT)).collect()
}

#[tokio::test]
async fn walk_reads_every_message_once() {
    let case = Case::start().await;
    for (stream, settings) in
        [("S", json!({})), ("SLOW", json!({ "allow_direct": false })), ("R", json!({ "storage": "memory" }))]
    {
        case.streams.create(stream, settings).await.unwrap();
        case.write(stream, 1..=COUNT).await;
        let deleted = [2_000, 2_001, 5_000, i64::from(COUNT)];
        for sequence in deleted {
            case.call(&format!("STREAM.MSG.DELETE.{stream}"), json!({ "seq": sequence })).await;
        }
        let kept: Vec<i64> = all().into_iter().filter(|sequence| !deleted.contains(sequence)).collect();
        assert_eq!(case.walk(stream, 1).await, kept, "{stream}");
        case.consumers(stream, 1).await;
    }
}

#[tokio::test]
async fn many_walks_read_every_message_once() {
    let case = Case::start().await;
    case.stream("S", COUNT).await;
    let walks = (0..20).map(|walk| case.walk("S", 1 + walk * 100));
    for (walk, found) in futures_util::future::join_all(walks).await.into_iter().enumerate() {
        assert_eq!(found, all()[walk * 100..], "walk {walk}");
    }
}

#[tokio::test]
async fn read_without_one_before_it_begins_no_walk() {
    let case = Case::start().await;
    case.stream("S", COUNT).await;
    for offset in [1, 3_000, 6_000] {
        case.read("S", offset).await.unwrap();
    }
    case.consumers("S", 0).await;
}

#[tokio::test]
async fn walk_notices_that_messages_are_purged() {
    let case = Case::start().await;
    case.stream("S", COUNT).await;
    let next = case.begin("S").await;
    case.call("STREAM.PURGE.S", json!({ "seq": next + 10 })).await;
    let error = case.read("S", next).await.unwrap_err();
    let ends = Some((next + 10, i64::from(COUNT) + 1));
    assert_eq!((error.fault, error.ends), (Fault::OffsetOutOfRange, ends));
    assert_eq!(case.walk("S", 0).await, (next + 10..=i64::from(COUNT)).collect::<Vec<i64>>());
}

#[tokio::test]
async fn walk_notices_that_the_stream_is_recreated() {
    let case = Case::start().await;
    case.stream("S", COUNT).await;
    let next = case.begin("S").await;
    case.call("STREAM.DELETE.S", json!({})).await;
    case.streams.create("S", json!({})).await.unwrap();
    case.write("S", COUNT + 1..=2 * COUNT).await;
    let found = case.read("S", next).await.unwrap();
    assert_eq!(sequences(&found)[0], next);
    let is_new = |data: &String| data.parse::<u32>().unwrap() > COUNT;
    assert!(data(&found).iter().all(is_new), "no message of the former stream");
}

#[tokio::test]
async fn walk_goes_on_without_its_consumer() {
    let case = Case::start().await;
    case.stream("S", COUNT).await;
    let next = case.begin("S").await;
    let names = case.call("CONSUMER.NAMES.S", json!({})).await;
    let consumer = names["consumers"][0].as_str().unwrap();
    case.call(&format!("CONSUMER.DELETE.S.{consumer}"), json!({})).await;
    assert_eq!(case.walk("S", next).await, all()[usize::try_from(next).unwrap() - 1..]);
}

#[tokio::test]
async fn walk_survives_a_restart_of_the_server() {
    let mut case = Case::start().await;
    case.stream("S", COUNT).await;
    let next = case.begin("S").await;
    case.server.process.kill();
    case.server.up().await.unwrap();
    assert_eq!(case.walk("S", next).await, all()[usize::try_from(next).unwrap() - 1..]);
}

#[tokio::test]
async fn message_that_ends_connections_does_not_end_a_walk() {
    let case = Case::start().await;
    case.stream("S", 8_000).await;
    case.streams.write_raw(b"S.a", b"NATS/1.0\r\na: caf\xe9\r\n\r\n", b"odd").unwrap();
    case.write("S", 8_002..=COUNT + 1).await;
    assert_eq!(case.walk("S", 1).await.len(), COUNT as usize + 1);
}

#[tokio::test]
async fn stream_that_a_consumer_would_change_is_read_without() {
    let case = Case::start().await;
    for (stream, settings) in
        [("QUEUE", json!({ "retention": "workqueue" })), ("FULL", json!({ "max_consumers": 1 }))]
    {
        let settings = settings.as_object().unwrap().clone();
        case.streams.create(stream, Value::Object(settings)).await.unwrap();
        let config = json!({ "name": "theirs", "durable_name": "theirs", "ack_policy": "explicit" });
        let request = json!({ "stream_name": stream, "config": config });
        case.call(&format!("CONSUMER.CREATE.{stream}.theirs"), request).await;
        case.write(stream, 1..=COUNT).await;
        assert_eq!(case.walk(stream, 1).await, all(), "{stream}");
        case.consumers(stream, 1).await;
    }
}

#[tokio::test]
async fn walk_needs_no_permission_for_consumers() {
    for denied in ["$JS.API.CONSUMER.CREATE.>", "$JS.API.CONSUMER.MSG.NEXT.>"] {
        let users = format!(
            r#"authorization {{ users: [
                {{ user: u, password: p, permissions: {{ publish: {{ deny: ["{denied}"] }} }} }},
                {{ user: admin, password: a }}
            ] }}
            no_auth_user: admin"#
        );
        let case = Case::start_with(&users, |config| {
            config.credentials = Credentials::Password { user: "u".to_owned(), password: "p".to_owned() };
        })
        .await;
        case.stream("S", COUNT).await;
        assert_eq!(case.walk("S", 1).await, all(), "without {denied}");
    }
}

/// Others can change a consumer, if the account lets them.
#[tokio::test]
async fn walk_whose_consumer_others_filter_loses_nothing() {
    let case = Case::start().await;
    case.streams.create("S", json!({})).await.unwrap();
    let mut number = 0;
    for _ in 0..15 {
        for subject in ["S.a", "S.b"] {
            let data: Vec<Bytes> = (0..1_000).map(|_| Bytes::from_static(b"data")).collect();
            number += data.len();
            case.streams.write(subject, data).await.unwrap();
        }
    }
    let (mut next, mut found, mut is_filtered) = (1, Vec::new(), false);
    while found.len() < number {
        let fetched = case.read("S", next).await.unwrap();
        found.extend(sequences(&fetched));
        assert!(fetched.next_offset > next, "it ends at {next}");
        next = fetched.next_offset;
        is_filtered = is_filtered || case.filter_consumer().await;
    }
    assert!(is_filtered, "there was no walk");
    assert_eq!(found, (1..=number as i64).collect::<Vec<i64>>());
}
