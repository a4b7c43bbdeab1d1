//! Reads that do not wait.

use futures_util::future::join_all;

use super::*;

#[tokio::test]
async fn end_of_a_stream_is_empty_and_nothing_is_beyond_it() {
    let case = Case::of(3).await;
    case.stream("EMPTY", 0).await;
    let end = Ends { start: 1, stable: 4, end: 4 };
    assert_eq!(case.read("S", 4).await, Ok(Chunk::nothing(4, end)));
    let fetched = case.fetch("S", Fetch { max_records: 2, ..at(0) }).await.unwrap();
    assert_eq!((sequences(&fetched), fetched.next_offset, fetched.ends), (vec![1, 2], 3, end));
    let empty = Ends { start: 1, stable: 1, end: 1 };
    assert_eq!(case.read("EMPTY", 0).await, Ok(Chunk { base: 0, ..Chunk::nothing(1, empty) }));
    assert_eq!(case.read("EMPTY", 1).await, Ok(Chunk::nothing(1, empty)));
    for (stream, offset, ends) in [("S", 5, Some((1, 4))), ("EMPTY", 2, Some((1, 1))), ("S", -1, None)] {
        let error = case.read(stream, offset).await.unwrap_err();
        assert_eq!((error.fault, error.ends), (Fault::OffsetOutOfRange, ends), "{stream} {offset}");
    }
}

#[tokio::test]
async fn acknowledged_message_is_read() {
    let case = Case::of(0).await;
    for number in 1..=200 {
        case.write("S", [number]).await;
        let fetched = case.read("S", i64::from(number)).await.unwrap();
        assert_eq!(data(&fetched), [number.to_string()], "no answer is older than its question");
    }
}

#[tokio::test]
async fn messages_of_a_deleted_stream_are_served_for_a_second_at_most() {
    let case = Case::of(3).await;
    assert_eq!(case.walk("S", 1).await, [1, 2, 3]);
    case.call("STREAM.DELETE.S", json!({})).await;
    let deleted = Instant::now();
    let error = until_some(async || {
        let asked = Instant::now();
        let read = case.read("S", 1).await;
        assert!(read.is_err() || asked - deleted < Duration::from_secs(1));
        read.err()
    });
    assert_eq!(error.await.fault, Fault::NotFound);
}

#[tokio::test]
async fn purged_messages_are_out_of_range() {
    let case = Case::of(20).await;
    assert_eq!(case.walk("S", 1).await.len(), 20);
    case.call("STREAM.PURGE.S", json!({ "seq": 11 })).await;
    // Kept messages are served until the stream is asked again.
    assert_eq!(case.walk("S", 11).await, (11..=20).collect::<Vec<i64>>());
    let error = case.read("S", 10).await.unwrap_err();
    assert_eq!((error.fault, error.ends), (Fault::OffsetOutOfRange, Some((11, 21))));
    assert_eq!(sequences(&case.read("S", 0).await.unwrap())[0], 11, "0 asks for the first message");
    case.call("STREAM.PURGE.S", json!({})).await;
    let ends = Ends { start: 21, stable: 21, end: 21 };
    assert_eq!(case.read("S", 21).await, Ok(Chunk::nothing(21, ends)));
    case.write("S", [21]).await;
    assert_eq!(case.walk("S", 0).await, [21]);
}

#[tokio::test]
async fn recreated_stream_is_another() {
    let case = Case::of(3).await;
    assert_eq!(data(&case.read("S", 1).await.unwrap()), ["1", "2", "3"]);
    let before = case.nats.version(log("S"));
    case.recreate().await;
    case.write("S", 11..=14).await;
    until_some(async || {
        let data = data(&case.read("S", 1).await.unwrap());
        let is_new = data == ["11", "12", "13", "14"];
        assert!(is_new || data == ["1", "2", "3"], "{data:?} mixes messages of two streams");
        is_new.then_some(())
    })
    .await;
    let after = case.nats.version(log("S"));
    assert!(before.topic_id.is_some() && after.topic_id.is_some() && before != after);
    case.call("STREAM.DELETE.S", json!({})).await;
    let error = case.read("S", 5).await.unwrap_err();
    assert_eq!((error.fault, error.code), (Fault::NotFound, 10059));
    assert_eq!(case.nats.version(log("S")), Version::default());
}

#[tokio::test]
async fn large_messages_are_read_one_at_a_time() {
    let case = Case::start().await;
    case.streams.create("S", json!({})).await.unwrap();
    let large = Bytes::from(vec![b'x'; 1 << 20]);
    case.streams.write("S.a", std::iter::repeat_n(large, 5)).await.unwrap();
    let small = case.fetch("S", Fetch { max_bytes: 1, ..at(1) }).await.unwrap();
    assert_eq!(sequences(&small), [1]);
    assert_eq!(case.walk("S", 1).await, [1, 2, 3, 4, 5]);
    let large = case.fetch("S", Fetch { max_bytes: 4 << 20, ..at(2) }).await.unwrap();
    assert!(sequences(&large).starts_with(&[2, 3]));
}

#[tokio::test]
async fn deleted_messages_are_gaps_with_direct_gets_and_without() {
    let case = Case::start().await;
    for (stream, direct) in [("S", true), ("SLOW", false)] {
        case.streams.create(stream, json!({ "allow_direct": direct })).await.unwrap();
        case.write(stream, 1..=100).await;
        let deleted = [3, 50, 51, 99, 100];
        case.delete(stream, &deleted).await;
        let kept: Vec<i64> = (1..=100).filter(|sequence| !deleted.contains(sequence)).collect();
        assert_eq!(case.walk(stream, 1).await, kept, "{stream}");
        assert_eq!(sequences(&case.read(stream, 50).await.unwrap()).first(), Some(&52), "{stream}");
        let end = case.read(stream, 99).await.unwrap();
        assert_eq!((end.count, end.next_offset), (0, 101), "the gap reaches to the end of {stream}");
        let error = case.read(stream, 102).await.unwrap_err();
        assert_eq!(error.fault, Fault::OffsetOutOfRange, "{stream}");
        let subjects = [format!("{stream}.>")];
        let update = json!({ "name": stream, "subjects": subjects, "allow_direct": !direct });
        case.call(&format!("STREAM.UPDATE.{stream}"), update).await;
        assert_eq!(case.walk(stream, 52).await, (52..99).collect::<Vec<i64>>(), "{stream}");
    }
}

#[tokio::test]
async fn message_that_ends_connections_stops_nobody() {
    let case = Case::of(3).await;
    case.stream("OTHER", 3).await;
    for (subject, headers) in [
        (&b"S.a"[..], &b"NATS/1.0\r\na: caf\xe9\r\n\r\n"[..]),
        (b"S.a", b"NATS/1.0\r\nnothing\r\n\r\n"),
        (b"S.a", b"NATS/1.0\r\n\xff: 1\r\n\r\n"),
        (b"S.caf\xe9", b"NATS/1.0\r\n\r\n"),
        (b"S.a", b"NATS/1.0\r\na: x\ry\r\n\r\n"),
    ] {
        case.streams.write_raw(subject, headers, b"odd").unwrap();
    }
    case.write("S", 9..=11).await;
    assert_eq!(case.walk("S", 1).await, (1..=11).collect::<Vec<i64>>());
    assert_eq!(case.walk("OTHER", 1).await, [1, 2, 3]);
    let fetched = case.read("S", 4).await.unwrap();
    let odd = &messages(&fetched)[0];
    assert_eq!(odd.headers[0].value.as_deref(), Some("caf\u{fffd}".as_bytes()));
    assert_eq!(odd.value.as_deref(), Some(&b"odd"[..]));
}

#[tokio::test]
async fn readers_of_one_place_share_requests() {
    let case = Case::of(100).await;
    let reads = (0..64).map(|_| case.read("S", 50));
    for fetched in join_all(reads).await {
        assert_eq!(sequences(&fetched.unwrap()), (50..=100).collect::<Vec<i64>>());
    }
    assert_eq!(case.shared.stats().misses, 1);
    assert!(case.nats.recent(log("S"), at(60)).is_some_and(|recent| recent.count == 41));
    assert!(case.nats.recent(log("S"), at(101)).is_none(), "kept messages never prove the end");
}

#[tokio::test]
async fn offsets_are_found_by_time() {
    let case = Case::of(5).await;
    case.stream("EMPTY", 0).await;
    let find = async |stream, timestamp| {
        let logs = [(log(stream), timestamp)];
        case.nats.list_offsets(ClientKey::UNKNOWN, &logs, false).next().await.unwrap().1
    };
    let list = async |stream, timestamp| find(stream, timestamp).await.unwrap();
    let stored = messages(&case.read("S", 1).await.unwrap());
    let (first, last) = (stored[0].timestamp, stored[4].timestamp);
    assert_eq!(list("S", -2).await, ListedOffset { offset: 1, timestamp: -1 });
    assert_eq!(list("S", -1).await, ListedOffset { offset: 6, timestamp: -1 });
    assert_eq!(list("S", -3).await, ListedOffset { offset: 5, timestamp: last });
    assert_eq!(list("S", 0).await, ListedOffset { offset: 1, timestamp: first });
    assert_eq!(list("S", first).await, ListedOffset { offset: 1, timestamp: first });
    let none = ListedOffset { offset: -1, timestamp: -1 };
    for (stream, timestamp) in [("S", last + 1), ("S", i64::MAX), ("EMPTY", 0), ("EMPTY", -3)] {
        assert_eq!(list(stream, timestamp).await, none, "{stream} {timestamp}");
    }
    assert_eq!(find("S", -4).await.unwrap_err().fault, Fault::Invalid);
    let error = find("NONE", 0).await.unwrap_err();
    let missing = "stream NONE does not exist, create it first";
    assert_eq!((error.fault, error.code, &*error.message), (Fault::NotFound, 10059, missing));
}

#[tokio::test]
async fn streams_are_topics_with_one_partition() {
    let case = Case::start().await;
    assert_eq!(&*case.nats.topics().await.unwrap(), &[] as &[String]);
    for name in ["b", "a", "KV_c"] {
        case.stream(name, 0).await;
    }
    assert_eq!(&*case.nats.topics().await.unwrap(), ["KV_c", "a", "b"]);
    let partition = Partition { partition: 0, leader: None, replicas: Vec::new() };
    let partitions = case.nats.partitions(ClientKey::UNKNOWN, "a").await;
    assert_eq!(partitions, Ok(Arc::new(Description::new(None, vec![partition]))));
    assert_eq!(case.nats.check_log(ClientKey::UNKNOWN, log("a")).await, Ok(()));
    for (log, fault) in [
        (log("missing"), Fault::NotFound),
        (Log { topic: "a", partition: 1 }, Fault::NotFound),
        (log("a.b"), Fault::Invalid),
    ] {
        assert_eq!(case.nats.check_log(ClientKey::UNKNOWN, log).await.unwrap_err().fault, fault, "{log:?}");
    }
}

/// Both kinds: batches of replicas, and single messages of a leader.
#[tokio::test]
async fn reads_without_an_answer_leave_places_to_others() {
    for (direct, call) in [(true, "DIRECT.GET"), (false, "STREAM.MSG.GET")] {
        // To a stream that acknowledges nothing.
        let silence = format!("mappings {{ \"$JS.API.{call}.SLOW\": \"NOWHERE.a\" }}");
        let case = Case::start_with(&silence, |_| {}).await;
        case.streams.create("NOWHERE", json!({ "no_ack": true })).await.unwrap();
        for stream in ["SLOW", "S"] {
            case.streams.create(stream, json!({ "allow_direct": direct })).await.unwrap();
        }
        case.write("SLOW", 1..=20_000).await;
        case.write("S", 1..=1).await;
        let slow = (0..64).map(|number| {
            let source = ClientKey::parse(b"192.0.2.1");
            case.fetch("SLOW", Fetch { source, ..at(1 + 300 * number) })
        });
        let bystander = async {
            let held = || case.shared.stats().misses >= 36;
            until(held).await;
            let fetch = Fetch { source: ClientKey::parse(b"192.0.2.2"), ..at(1) };
            timeout(Duration::from_secs(1), case.fetch("S", fetch)).await
        };
        tokio::select! {
            answers = join_all(slow) => panic!("{call} is not silent: {answers:?}"),
            read = bystander => assert_eq!(sequences(&read.expect("a read at once").unwrap()), [1], "{call}"),
        }
    }
}
