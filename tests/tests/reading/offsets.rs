//! `cmd_kafka_list_offset`.

use sluicegate_tests::envoy::Profile;
use sluicegate_tests::kafka::{Codec, Record, Write};
use sluicegate_tests::socket::Socket;

use crate::gateway::shared;
use crate::reference::{FOREVER, varied};

const LOG_END: i64 = -1;
const LOG_START: i64 = -2;

#[tokio::test]
async fn log_start_and_end_follow_writes_and_deletes() {
    let (kafka, stack) = shared(Profile::Tunnel).await;
    let topic = kafka.topic("ends", 2, &[FOREVER]).await.unwrap();
    let mut socket = Socket::open(stack).await;
    let mut check = async |partition: i32, start: i64, end: i64| {
        assert_eq!(kafka.watermarks(&topic, partition).unwrap(), (start, end));
        assert_eq!(socket.list_offset(&topic, partition, LOG_START).await, Ok(start));
        assert_eq!(socket.list_offset(&topic, partition, LOG_END).await, Ok(end));
    };
    check(1, 0, 0).await;
    kafka.produce(&topic, 1, &varied(5), Write::default()).await.unwrap();
    check(1, 0, 5).await;
    kafka.delete_records_before(&topic, 1, 3).await.unwrap();
    check(1, 3, 5).await;
    kafka.delete_records_before(&topic, 1, 5).await.unwrap();
    check(1, 5, 5).await;
    check(0, 0, 0).await;
}

#[tokio::test]
async fn time_finds_the_first_record_at_or_after_it() {
    let (kafka, stack) = shared(Profile::Tunnel).await;
    // In no order: the first by offset counts, not the nearest in time.
    let times = [1_000, 3_000, 2_000, 2_000, 5_000, 4_000];
    let records: Vec<Record> =
        times.iter().map(|time| Record { timestamp: Some(*time), ..Record::of("v") }).collect();
    let mut socket = Socket::open(stack).await;
    for batch in [1, 3, 100] {
        let topic = kafka.topic("times", 1, &[FOREVER]).await.unwrap();
        let how = Write { batch: Some(batch), ..Write::default() };
        kafka.produce(&topic, 0, &records, how).await.unwrap();
        let asked = [0, 1, 999, 1_000, 1_001, 2_000, 3_000, 3_001, 4_500, 5_000, 5_001, i64::MAX];
        let mut found = Vec::new();
        for time in asked {
            found.push(socket.list_offset(&topic, 0, time).await.unwrap());
        }
        assert_eq!(found, [0, 0, 0, 0, 1, 1, 1, 4, 4, 4, -1, -1], "{batch} in a batch");
        assert_eq!(kafka.offsets_at(&topic, &asked), found, "{batch} in a batch");
    }
}

#[tokio::test]
async fn time_is_found_within_a_compressed_batch() {
    let (kafka, stack) = shared(Profile::Tunnel).await;
    let records = varied(20);
    let mut socket = Socket::open(stack).await;
    for codec in Codec::ALL {
        let topic = kafka.topic("times", 1, &[FOREVER]).await.unwrap();
        kafka.produce(&topic, 0, &records, Write { codec, ..Write::default() }).await.unwrap();
        for (offset, record) in (0..).zip(&records) {
            let time = record.timestamp.unwrap();
            assert_eq!(socket.list_offset(&topic, 0, time).await, Ok(offset), "{codec:?}");
            assert_eq!(socket.list_offset(&topic, 0, time - 1).await, Ok(offset), "{codec:?}");
        }
    }
}

#[tokio::test]
async fn empty_partition_has_equal_ends_and_no_times() {
    let (kafka, stack) = shared(Profile::Tunnel).await;
    let topic = kafka.topic("empty", 1, &[]).await.unwrap();
    let mut socket = Socket::open(stack).await;
    for (timestamp, want) in [(LOG_START, 0), (LOG_END, 0), (0, -1), (i64::MAX, -1)] {
        assert_eq!(socket.list_offset(&topic, 0, timestamp).await, Ok(want), "at {timestamp}");
    }
}
