//! Reads records of librdkafka's producer from its mock cluster.

use std::time::{Duration, Instant};

use crate::support::{Cluster, Fetch, Read as _, Record, at, list_offset, messages, reader, walk};

fn record(key: Option<&str>, value: Option<&str>, timestamp: i64) -> Record {
    Record { key: key.map(Into::into), value: value.map(Into::into), timestamp }
}

fn numbered(count: usize, value_len: usize) -> Vec<Record> {
    let value = |at: usize| format!("{at:08}").bytes().cycle().take(value_len).collect();
    (0..count)
        .map(|at| Record {
            key: Some(format!("k{at}").into()),
            value: Some(value(at)),
            timestamp: 1_000 + at as i64,
        })
        .collect()
}

#[tokio::test]
async fn every_codec_is_read_from_every_offset() {
    let cluster = Cluster::start(1);
    let reader = cluster.reader();
    let records = numbered(50, 300);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        cluster.create(codec, 1);
        cluster.produce(codec, 0, codec, 7, &records);
        for from in 0..=records.len() {
            let read = walk(&reader, codec, 0, from as i64, 2_000).await.expect("records");
            assert_eq!(read.len(), records.len() - from, "{codec} from {from}");
            for (message, (at, record)) in read.iter().zip(records.iter().enumerate().skip(from)) {
                assert_eq!(message.offset, at as i64, "{codec}");
                assert_eq!(message.timestamp, record.timestamp, "{codec}");
                assert_eq!(message.key.as_deref(), record.key.as_deref(), "{codec}");
                assert_eq!(message.value.as_deref(), record.value.as_deref(), "{codec}");
            }
        }
    }
}

#[tokio::test]
async fn null_and_empty_keys_and_values_differ() {
    let cluster = Cluster::start(1);
    cluster.create("nulls", 1);
    let records = [record(None, None, 5), record(Some(""), Some(""), 6), record(Some("k"), None, 7)];
    cluster.produce("nulls", 0, "none", 10, &records);
    let read = walk(&cluster.reader(), "nulls", 0, 0, 1_000).await.expect("records");
    let read: Vec<_> =
        read.iter().map(|m| (m.offset, m.timestamp, m.key.as_deref(), m.value.as_deref())).collect();
    let (empty, k) = (Some(&b""[..]), Some(&b"k"[..]));
    assert_eq!(read, [(0, 5, None, None), (1, 6, empty, empty), (2, 7, k, None)]);
}

#[tokio::test]
async fn log_start_and_end_are_found() {
    let cluster = Cluster::start(1);
    let reader = cluster.reader();
    cluster.create("ends", 2);
    assert_eq!(list_offset(&reader, "ends", 0, -1, false).await.expect("the end").offset, 0);
    cluster.produce("ends", 0, "none", 10, &numbered(30, 10));
    assert_eq!(list_offset(&reader, "ends", 0, -1, false).await.expect("the end").offset, 30);
    assert_eq!(list_offset(&reader, "ends", 0, -2, false).await.expect("the start").offset, 0);
    assert_eq!(list_offset(&reader, "ends", 1, -1, false).await.expect("the end").offset, 0);
}

#[tokio::test]
async fn fetch_beyond_the_log_end_is_out_of_range() {
    let cluster = Cluster::start(1);
    let reader = cluster.reader();
    cluster.create("range", 1);
    cluster.produce("range", 0, "none", 10, &numbered(3, 10));
    let end = reader.read(at("range", 0, 3)).await.expect("an empty answer");
    assert_eq!((end.messages.len(), end.count, end.next_offset), (0, 0, 3));
    let error = reader.read(at("range", 0, 4)).await.expect_err("nothing is there");
    assert_eq!(error.code(), 1);
    assert!(!error.retriable() && !error.is_unavailable());
    assert_eq!(error.to_string(), "OFFSET_OUT_OF_RANGE: offset 4 is not within partition 0 of topic range");
}

#[tokio::test]
async fn result_has_at_least_one_record_and_respects_its_maximum() {
    let cluster = Cluster::start(1);
    let reader = cluster.reader();
    cluster.create("sizes", 1);
    cluster.produce("sizes", 0, "none", 100, &numbered(40, 1_000));
    let one = reader.read(Fetch { max_bytes: 1, ..at("sizes", 0, 7) }).await.expect("one record");
    assert_eq!((one.count, one.next_offset, messages(&one)[0].offset), (1, 8, 7));
    let some = reader.read(Fetch { max_bytes: 5_000, ..at("sizes", 0, 7) }).await.expect("some records");
    assert_eq!(some.count, 4);
    assert!(some.messages.len() <= 5_000);
}

#[tokio::test]
async fn large_record_is_read() {
    let cluster = Cluster::start(1);
    cluster.create("large", 1);
    let records = numbered(3, 1 << 20);
    cluster.produce("large", 0, "none", 1, &records);
    let read = walk(&cluster.reader(), "large", 0, 0, 1_000).await.expect("records");
    let values: Vec<_> =
        read.iter().map(|message| message.value.as_ref().map(|value| value.to_vec())).collect();
    assert_eq!(values, records.into_iter().map(|record| record.value).collect::<Vec<_>>());
}

#[tokio::test]
async fn record_over_the_limit_is_an_error_with_the_next_offset() {
    let cluster = Cluster::start(1);
    cluster.create("limit", 1);
    let records = [numbered(1, 10), numbered(1, 2_000), numbered(1, 10)].concat();
    cluster.produce("limit", 0, "none", 10, &records);
    let servers = cluster.mock.bootstrap_servers();
    let reader = reader(&[("bootstrap.servers", &servers), ("message.max.bytes", "1000")]);
    let before = reader.read(at("limit", 0, 0)).await.expect("what comes before it");
    assert_eq!((before.count, before.next_offset), (1, 1));
    let error = reader.read(at("limit", 0, 1)).await.expect_err("it is too large");
    assert_eq!(error.code(), 10);
    assert!(!error.retriable());
    let text = error.to_string();
    assert!(text.starts_with("MESSAGE_TOO_LARGE: record of 200"), "{text}");
    assert!(
        text.ends_with("at offset 1 exceeds the limit of 1000, the next record is at offset 2"),
        "{text}"
    );
    assert_eq!(reader.read(at("limit", 0, 2)).await.expect("what comes after it").count, 1);
}

#[tokio::test]
async fn missing_topic_or_partition_is_an_error_at_once() {
    let cluster = Cluster::start(1);
    let reader = cluster.reader();
    cluster.create("present", 1);
    let started = Instant::now();
    for (topic, partition) in [("present", 1), ("present", 99)] {
        let error = list_offset(&reader, topic, partition, -1, false).await.expect_err("no such partition");
        assert_eq!(error.code(), 3, "{error}");
        assert!(!error.retriable());
        let error = reader.read(at(topic, partition, 0)).await.expect_err("no such partition");
        assert_eq!(
            error.to_string(),
            format!("UNKNOWN_TOPIC_OR_PARTITION: partition {partition} of topic {topic}")
        );
    }
    let error = reader.read(at("absent", 0, 0)).await.expect_err("no such topic");
    assert_eq!(error.code(), 3, "{error}");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn long_poll_delays_no_other_call() {
    let cluster = Cluster::start(1);
    let reader = cluster.reader();
    cluster.create("tail", 1);
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let reader = reader.clone();
            let max_wait = Duration::from_secs(3);
            tokio::spawn(async move { reader.read(Fetch { max_wait, ..at("tail", 0, 0) }).await })
        })
        .collect();
    let started = Instant::now();
    for _ in 0..50 {
        assert_eq!(list_offset(&reader, "tail", 0, -1, false).await.expect("the end").offset, 0);
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(waiting.iter().all(|caller| !caller.is_finished()));
    for caller in waiting {
        assert_eq!(caller.await.expect("no panic").expect("an empty answer").count, 0);
    }
}

#[tokio::test]
async fn silent_leader_delays_no_call_to_another_leader() {
    let cluster = Cluster::start(2);
    let servers = cluster.mock.bootstrap_servers();
    let reader = reader(&[("bootstrap.servers", &servers), ("socket.timeout.ms", "1500")]);
    cluster.create("spread", 2);
    for partition in 0..2 {
        cluster.mock.partition_leader("spread", partition, Some(1 + partition)).expect("a leader");
        assert_eq!(list_offset(&reader, "spread", partition, -1, false).await.expect("the end").offset, 0);
    }
    cluster.mock.broker_round_trip_time(1, Duration::from_secs(60)).expect("a broker");
    let silent = tokio::spawn({
        let reader = reader.clone();
        async move { list_offset(&reader, "spread", 0, -1, false).await }
    });
    let mut calls = 0;
    while !silent.is_finished() {
        let started = Instant::now();
        assert_eq!(list_offset(&reader, "spread", 1, -1, false).await.expect("the end").offset, 0);
        assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
        calls += 1;
    }
    silent.await.expect("no panic").expect_err("no answer in time");
    assert!(calls > 10, "{calls}");
}

#[tokio::test]
async fn long_poll_ends_in_time() {
    let cluster = Cluster::start(1);
    let reader = cluster.reader();
    cluster.create("empty", 1);
    let started = Instant::now();
    let max_wait = Duration::from_millis(300);
    let fetched = reader.read(Fetch { max_wait, ..at("empty", 0, 0) }).await.expect("an empty answer");
    assert_eq!((fetched.count, fetched.next_offset), (0, 0));
    assert!(started.elapsed() >= max_wait, "{:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn each_partition_is_read_from_its_leader() {
    let cluster = Cluster::start(3);
    let reader = cluster.reader();
    cluster.create("spread", 6);
    for partition in 0..6 {
        cluster.mock.partition_leader("spread", partition, Some(1 + partition % 3)).expect("a leader");
        cluster.produce("spread", partition, "lz4", 10, &numbered(20, 100));
    }
    for partition in 0..6 {
        assert_eq!(walk(&reader, "spread", partition, 0, 10_000).await.expect("records").len(), 20);
    }
}

#[tokio::test]
async fn many_callers_share_one_reader() {
    let cluster = Cluster::start(1);
    let reader = cluster.reader();
    cluster.create("shared", 1);
    cluster.produce("shared", 0, "zstd", 50, &numbered(200, 100));
    let callers: Vec<_> = (0..200)
        .map(|from| {
            let reader = reader.clone();
            tokio::spawn(async move { walk(&reader, "shared", 0, from, 3_000).await.map(|read| read.len()) })
        })
        .collect();
    for (from, caller) in callers.into_iter().enumerate() {
        assert_eq!(caller.await.expect("no panic").expect("records"), 200 - from);
    }
}

#[tokio::test]
async fn more_long_polls_than_connections_wait() {
    let cluster = Cluster::start(1);
    let reader = cluster.reader();
    cluster.create("crowd", 1);
    let started = Instant::now();
    let max_wait = Duration::from_millis(500);
    let waiting: Vec<_> = (0..60)
        .map(|_| {
            let reader = reader.clone();
            tokio::spawn(async move { reader.read(Fetch { max_wait, ..at("crowd", 0, 0) }).await })
        })
        .collect();
    for caller in waiting {
        assert_eq!(caller.await.expect("no panic").expect("an empty answer").count, 0);
    }
    assert!(started.elapsed() >= max_wait, "{:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[tokio::test]
async fn answering_cluster_is_ready() {
    let cluster = Cluster::start(2);
    cluster.reader().ready().await.expect("a ready cluster");
}

#[tokio::test]
async fn records_are_read_from_a_replica_as_far_as_it_has_them() {
    let cluster = Cluster::start(3);
    let servers = cluster.mock.bootstrap_servers();
    cluster.create("near", 1);
    cluster.mock.partition_leader("near", 0, Some(1)).expect("a leader");
    cluster.produce("near", 0, "none", 5, &numbered(20, 10));
    cluster.mock.broker_rack(2, "here").expect("a broker");
    cluster.mock.partition_follower("near", 0, 2).expect("a follower");
    for (low, high) in [(None, None), (None, Some(7)), (Some(12), None)] {
        cluster.mock.follower_watermarks("near", 0, low, high).expect("watermarks");
        let reader = reader(&[("bootstrap.servers", &servers), ("client.rack", "here")]);
        assert_eq!(walk(&reader, "near", 0, 0, 10_000).await.expect("records").len(), 20, "{low:?} {high:?}");
        let error = reader.read(at("near", 0, 21)).await.expect_err("nothing is there");
        assert_eq!(error.code(), 1, "{error}");
    }
    // Gone, and still named by the leader.
    cluster.mock.broker_down(2).expect("a broker");
    let reader = reader(&[("bootstrap.servers", &servers), ("client.rack", "here")]);
    assert_eq!(walk(&reader, "near", 0, 0, 10_000).await.expect("records").len(), 20);
}
