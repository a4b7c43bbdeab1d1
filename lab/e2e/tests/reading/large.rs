//! Large answers pass every way in, and a client that does not read them holds few.

use sluicegate_stack::kafka::{Codec, Record, Write};
use sluicegate_stack::random::Random;
use sluicegate_stack::socket::{self, Socket};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;

use crate::reading::{FOREVER, START, assert_same, messages, shared, with};

in_ways! {
    [tunnel relay direct nginx]
    values_of_megabytes_arrive_whole
}

async fn values_of_megabytes_arrive_whole(way: Way) {
    let (kafka, stack) = shared(way).await;
    let mut socket = Socket::open(&stack).await;
    let topic = kafka.topic("large", 1, &[FOREVER, ("max.message.bytes", "8388608")]).await.unwrap();
    let large = |(seed, len): (u64, usize)| Record {
        key: Some(Random::new(seed).bytes(len / 4)),
        timestamp: Some(START),
        ..Record::of(Random::new(seed + 100).bytes(len))
    };
    let records: Vec<Record> = (1..).zip([65_500, 65_536, 262_144, 4 << 20]).map(large).collect();
    let how = Write { codec: Codec::Zstd, ..Write::default() };
    let offsets = kafka.produce(&topic, 0, &records, how).await.unwrap();
    assert_same(&socket.walk(&topic, 0, 0).await, &messages(&offsets, &records), "a walk");
}

/// One less than a session runs at the same time.
const FETCHES: usize = 15;
/// More than a fetch that waits reserves.
const RECORD: usize = 4_000_000;
/// Answers that can be made for a client that reads nothing: three reserve `read.max_bytes` of 1 MiB, and the buffers
/// of Envoy and the system, some MiB, take a few before that.
const MADE: usize = 8;

#[tokio::test]
async fn stalled_reader_stays_within_its_answer_bytes() {
    let (kafka, stack) = with("[read]\nwait_ms = 25000").await;
    let tail = kafka.topic("stalled", 1, &[FOREVER]).await.unwrap();
    let other = kafka.topic("beside", 1, &[FOREVER]).await.unwrap();
    kafka.produce(&other, 0, &[Record::of("small")], Write::default()).await.unwrap();
    let mut attacker = Socket::open_narrow(&stack).await;
    let mut bystander = Socket::open(&stack).await;

    for _ in 0..FETCHES {
        attacker.send(socket::fetch(&tail, 0, 0)).await;
    }
    // There is room for its answer once nearly all others have come to the log end.
    let asked = attacker.send(socket::fetch(&other, 0, 0)).await;
    assert_eq!(attacker.receive().await.0, asked);
    let before = answer_bytes(&stack).await;
    let record = Record::of(vec![b'x'; RECORD]);
    kafka.produce(&tail, 0, &[record], Write::default()).await.unwrap();

    for _ in 0..FETCHES {
        assert_eq!(bystander.fetch(&tail, 0, 0).await.unwrap().len(), 1);
    }
    let made = answer_bytes(&stack).await - before;
    assert!(made < (FETCHES + MADE) * RECORD, "{made} bytes were made for both");

    for _ in 0..FETCHES {
        let read = socket::messages(attacker.receive().await.1).unwrap();
        assert_eq!(read[0].value.as_ref().unwrap().len(), RECORD);
    }
}

async fn answer_bytes(stack: &Stack) -> usize {
    let samples = stack.bridge.metrics("sluicegate_answer_bytes_total").await.unwrap();
    samples.iter().map(|(_, bytes)| *bytes as usize).sum()
}
