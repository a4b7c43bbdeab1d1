//! Streams that change under their readers.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::*;

#[tokio::test]
async fn version_is_that_of_the_leader_also_where_clients_write() {
    let case = Case::of(3).await;
    case.nats.partitions(ClientKey::UNKNOWN, "S").await.unwrap();
    let before = case.nats.version(log("S"));
    assert!(before.topic_id.is_some());
    case.recreate().await;
    assert_eq!(case.nats.version(log("S")), before, "nobody has asked");
    let now = case.nats.ask_version(ClientKey::UNKNOWN, log("S")).await.unwrap();
    assert!(now.topic_id.is_some_and(|id| Some(id) != before.topic_id), "{now:?}");
    assert_eq!(case.nats.version(log("S")), now);
    case.recreate().await;
    case.nats.partitions(ClientKey::UNKNOWN, "S").await.unwrap();
    assert_ne!(case.nats.version(log("S")), now, "a subscription begins with what the leader says");
}

/// The sequences that a reader of a stream was given, and those that it was told it would not get.
#[derive(Default)]
struct Seen {
    given: BTreeSet<i64>,
    missed: BTreeSet<i64>,
}

impl Seen {
    /// Follows a stream until it is at `end`. Its messages must come in order and once.
    async fn follow(nats: Arc<Nats>, end: i64) -> Self {
        let (mut seen, mut next) = (Self::default(), 1);
        while next < end {
            match fetch(&nats, "S", waiting(next)).await {
                Ok(fetched) => {
                    let given = sequences(&fetched);
                    let places = given.iter().copied().chain([fetched.next_offset]);
                    let places = [next - 1].into_iter().chain(places);
                    assert!(places.is_sorted_by(|one, other| one < other), "{given:?} from {next}");
                    seen.given.extend(given);
                    next = fetched.next_offset;
                }
                Err(CommandError { fault: Fault::OffsetOutOfRange, ends: Some((start, _)), .. }) => {
                    assert!(start > next, "{start} is not after {next}");
                    seen.missed.extend(next..start);
                    next = start;
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        seen
    }

    #[track_caller]
    fn check(&self, end: i64) {
        let both: Vec<_> = self.given.intersection(&self.missed).collect();
        assert!(both.is_empty(), "given and told as missing: {both:?}");
        let silent: Vec<_> = (1..end)
            .filter(|sequence| !self.given.contains(sequence) && !self.missed.contains(sequence))
            .collect();
        assert!(silent.is_empty(), "{} of {} are missing in silence: {silent:?}", silent.len(), end - 1);
    }
}

#[tokio::test]
async fn live_messages_come_in_order_and_once_unless_they_are_told_as_missed() {
    // Kept, discarded by a limit, and purged, which readers can be too fast for.
    for (settings, count, at_once, misses) in [
        (json!({}), 5_000, 100, Some(false)),
        (json!({ "max_msgs": 5 }), 20_000, 1_000, Some(true)),
        (json!({}), 6_000, 100, None),
    ] {
        let case = Case::start().await;
        case.streams.create("S", settings).await.unwrap();
        let end = i64::from(count) + 1;
        let follow = |_| tokio::spawn(Seen::follow(Arc::clone(&case.nats), end));
        let readers: Vec<_> = (0..4).map(follow).collect();
        case.consumers("S", 1).await;
        for from in (1..=count).step_by(at_once) {
            case.write("S", (from..=count).take(at_once)).await;
            if misses.is_none() {
                case.call("STREAM.PURGE.S", json!({})).await;
            }
        }
        let (mut given, mut missed) = (0, 0);
        for reader in readers {
            let seen = within(reader).await.unwrap();
            seen.check(end);
            given += seen.given.len();
            missed += seen.missed.len();
        }
        let is_wanted = misses.is_none_or(|misses| given > 0 && (missed > 0) == misses);
        assert!(is_wanted, "{given} given, {missed} missed");
    }
}

/// Lets the only consumer of the stream pause.
async fn pause(case: &Case) {
    let names = case.call("CONSUMER.NAMES.S", json!({})).await;
    let name = names["consumers"][0].as_str().unwrap();
    let until = json!({ "pause_until": "2100-01-01T00:00:00Z" });
    let paused = case.call(&format!("CONSUMER.PAUSE.S.{name}"), until).await;
    assert_eq!(paused["paused"], true, "{paused}");
}

#[tokio::test]
async fn consumer_that_others_pause_is_replaced() {
    let case = Case::of(3).await;
    let wait = case.watch("S", 4).await;
    pause(&case).await;
    let written = Instant::now();
    case.write("S", [4]).await;
    assert_eq!(data(&wait.await.unwrap().unwrap()), ["4"]);
    assert!(written.elapsed() < Duration::from_secs(6), "after {:?}", written.elapsed());
    let wait = case.watch("S", 5).await;
    let written = Instant::now();
    case.write("S", [5]).await;
    assert_eq!(data(&wait.await.unwrap().unwrap()), ["5"]);
    assert!(written.elapsed() < Duration::from_secs(1), "a stream is polled if its consumers are paused");
}

#[tokio::test]
async fn consumer_that_others_filter_is_replaced() {
    let case = Case::of(3).await;
    let wait = case.watch("S", 4).await;
    case.filter_consumer().await;
    case.write("S", [4, 5]).await;
    case.streams.write("S.b", [Bytes::from_static(b"6")]).await.unwrap();
    let fetched = wait.await.unwrap().unwrap();
    assert_eq!((sequences(&fetched), fetched.next_offset), (vec![4, 5, 6], 7));
}

#[tokio::test]
async fn filtered_consumer_is_noticed_behind_deleted_messages() {
    let case = Case::of(3).await;
    let wait = case.watch("S", 4).await;
    case.filter_consumer().await;
    // Later messages come while the first gap is in doubt.
    for sequence in [4, 6, 8] {
        case.write("S", [sequence]).await;
        case.streams.write("S.b", [Bytes::from_static(b"b")]).await.unwrap();
    }
    case.delete("S", &[4, 6]).await;
    wait.await.unwrap().unwrap();
    let wait = case.wait("S", waiting(10)).await;
    case.write("S", [10]).await;
    wait.await.unwrap().unwrap();
    assert_eq!(case.walk("S", 5).await, [5, 7, 8, 9, 10]);
}

#[tokio::test]
async fn wait_that_is_over_tells_the_end_of_the_stream() {
    let case = Case::of(3).await;
    let long = case.watch("S", 4).await;
    pause(&case).await;
    let wait = case.wait("S", Fetch { wait: Duration::from_millis(300), ..waiting(4) }).await;
    case.write("S", [4, 5]).await;
    let fetched = wait.await.unwrap().unwrap();
    assert_eq!((data(&fetched), fetched.ends.end), (vec!["4".to_owned(), "5".to_owned()], 6));
    long.abort();
}
