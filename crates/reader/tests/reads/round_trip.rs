//! Whatever librdkafka's producer writes comes back exactly, from every offset and in answers of any size.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sluicegate_reader::Reader;
use tokio::runtime::Runtime;

use crate::support::{Cluster, Record, walk};

/// The records of one producer call, in the order of the log.
#[derive(Debug, Clone)]
struct Written {
    codec: &'static str,
    batch: usize,
    records: Vec<Record>,
}

#[test]
fn written_records_are_read_from_every_offset() {
    let cluster = Cluster::start(1);
    let reader = cluster.reader();
    let runtime = Runtime::new().expect("a runtime");
    let topics = std::cell::Cell::new(0);
    // Each case is a topic, and each topic takes memory until the end.
    let config = Config { cases: 16, max_shrink_iters: 32, failure_persistence: None, ..Config::default() };
    let judged = TestRunner::new(config).run(&(vec(written(), 1..4), 1_usize..20_000), |(log, max_bytes)| {
        let topic = format!("topic-{}", topics.replace(topics.get() + 1));
        cluster.create(&topic, 1);
        for Written { codec, batch, records } in &log {
            cluster.produce(&topic, 0, codec, *batch, records);
        }
        let records: Vec<Record> = log.into_iter().flat_map(|written| written.records).collect();
        runtime.block_on(check(&reader, &topic, max_bytes, &records));
        Ok(())
    });
    if let Err(failure) = judged {
        panic!("{failure}");
    }
}

async fn check(reader: &Reader, topic: &str, max_bytes: usize, records: &[Record]) {
    for from in 0..=records.len() {
        let offset = i64::try_from(from).expect("few records");
        let read = walk(reader, topic, 0, offset, max_bytes).await.expect("records");
        assert_eq!(read.len(), records.len() - from, "from {from}");
        for (message, (at, record)) in read.iter().zip(records.iter().enumerate().skip(from)) {
            assert_eq!(usize::try_from(message.offset), Ok(at));
            assert_eq!(message.timestamp, record.timestamp, "offset {at}");
            assert_eq!(message.key.as_deref(), record.key.as_deref(), "offset {at}");
            assert_eq!(message.value.as_deref(), record.value.as_deref(), "offset {at}");
        }
    }
}

fn written() -> impl Strategy<Value = Written> {
    let codec = prop::sample::select(vec!["none", "gzip", "snappy", "lz4", "zstd"]);
    (codec, 1_usize..20, vec(record(), 1..20)).prop_map(|(codec, batch, records)| Written {
        codec,
        batch,
        records,
    })
}

fn record() -> impl Strategy<Value = Record> {
    // Repetitive and random bytes, so that compression has both to do.
    let bytes = || {
        prop_oneof![
            vec(any::<u8>(), 0..50),
            (any::<u8>(), 0_usize..5_000).prop_map(|(byte, len)| vec![byte; len])
        ]
    };
    // librdkafka takes 0 for "now".
    (proptest::option::of(bytes()), proptest::option::of(bytes()), 1_i64..4_102_444_800_000)
        .prop_map(|(key, value, timestamp)| Record { key, value, timestamp })
}
