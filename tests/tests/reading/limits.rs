//! Answers and records at their size limits.

use sluicegate_tests::envoy::Profile;
use sluicegate_tests::kafka::{Codec, Record, Write};
use sluicegate_tests::socket::Socket;

use crate::gateway::{TIGHT_ANSWER, TIGHT_RECORD, TIGHT_RESPONSE, tight};
use crate::reference::{FOREVER, START, assert_same, messages, noise};

/// Kafka's `RECORD_LIST_TOO_LARGE`.
const RECORD_LIST_TOO_LARGE: i32 = 18;
/// Kafka's `MESSAGE_TOO_LARGE`.
const MESSAGE_TOO_LARGE: i32 = 10;

fn record(seed: u64, key: usize, value: usize) -> Record {
    let key = Some(noise(key, seed + 50));
    Record { key, timestamp: Some(START), ..Record::of(noise(value, seed + 100)) }
}

#[tokio::test]
async fn record_over_the_limit_is_an_error_with_its_offset() {
    let (kafka, stack) = tight(Profile::Tunnel).await;
    let half = TIGHT_RECORD / 2;
    // The limit is about a whole record, its key included.
    let sizes = [(3, 10), (0, 100_000), (3, 10), (half, half), (3, 10), (TIGHT_RECORD, 0)];
    let records: Vec<Record> =
        (1..).zip(sizes).map(|(seed, (key, value))| record(seed, key, value)).collect();
    let mut socket = Socket::open(stack).await;
    for codec in Codec::ALL {
        for batch in [1, 100] {
            let topic = kafka.topic("over", 1, &[FOREVER]).await.unwrap();
            let how = Write { codec, batch: Some(batch), transaction: None };
            let offsets = kafka.produce(&topic, 0, &records, how).await.unwrap();
            let written = messages(&offsets, &records);
            for (offset, want) in (0..).zip(&written) {
                let what = format!("{codec:?}, {batch} in a batch, offset {offset}");
                let answer = socket.fetch(&topic, 0, offset).await;
                if want.value.as_ref().unwrap().len() == 10 {
                    assert_same(&answer.unwrap(), std::slice::from_ref(want), &what);
                    continue;
                }
                let error = answer.expect_err(&what);
                let start =
                    format!("failed to fetch message, topic: {topic}, partition: 0, err: MESSAGE_TOO_LARGE");
                assert!(error.message.starts_with(&start), "{what}: {}", error.message);
                let end = format!(
                    "at offset {offset} exceeds the limit of {TIGHT_RECORD}, the next record is at offset {}",
                    offset + 1
                );
                assert!(error.message.ends_with(&end), "{what}: {}", error.message);
                assert_eq!((error.code, error.retriable), (MESSAGE_TOO_LARGE, false), "{what}");
            }
            assert_eq!(socket.fetch(&topic, 0, 6).await, Ok(Vec::new()), "behind the last one");
        }
    }
}

#[tokio::test]
async fn record_larger_than_an_answer_comes_alone() {
    let (kafka, stack) = tight(Profile::Tunnel).await;
    let small = TIGHT_ANSWER / 4;
    let sizes = [small, small, TIGHT_ANSWER, small, TIGHT_RECORD - 100, small, 2 * TIGHT_ANSWER];
    let records: Vec<Record> = (1..).zip(sizes).map(|(seed, value)| record(seed, 0, value)).collect();
    let mut socket = Socket::open(stack).await;
    for codec in Codec::ALL {
        let topic = kafka.topic("alone", 1, &[FOREVER]).await.unwrap();
        let offsets = kafka.produce(&topic, 0, &records, Write { codec, ..Write::default() }).await.unwrap();
        let written = messages(&offsets, &records);
        for (offset, len) in [(0, 2), (1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1)] {
            let read = socket.fetch(&topic, 0, offset).await.unwrap();
            let from = usize::try_from(offset).unwrap();
            assert_same(&read, &written[from..from + len], &format!("{codec:?}, from {offset}"));
        }
    }
}

#[tokio::test]
async fn batch_over_the_limit_can_be_passed_by() {
    let (kafka, stack) = tight(Profile::Tunnel).await;
    let small = record(1, 3, 10);
    // It compresses to a thousandth: what counts is what it takes in memory.
    let bomb = Record { value: Some(vec![0; 2 * TIGHT_RESPONSE]), ..small.clone() };
    let records = [small.clone(), bomb, small];
    let mut socket = Socket::open(stack).await;
    for codec in Codec::ALL {
        let topic = kafka.topic("bomb", 1, &[FOREVER]).await.unwrap();
        let how = Write { codec, batch: Some(1), transaction: None };
        let offsets = kafka.produce(&topic, 0, &records, how).await.unwrap();
        let written = messages(&offsets, &records);
        for offset in [0, 2] {
            let read = socket.fetch(&topic, 0, offset).await.unwrap();
            let want = &written[usize::try_from(offset).unwrap()..][..1];
            assert_same(&read, want, &format!("{codec:?}, from {offset}"));
        }
        let error = socket.fetch(&topic, 0, 1).await.expect_err("an error");
        assert!(error.message.contains("RECORD_LIST_TOO_LARGE: "), "{codec:?}: {error:?}");
        assert!(error.message.contains("at offset 1 "), "{codec:?}: {error:?}");
        assert_eq!((error.code, error.retriable), (RECORD_LIST_TOO_LARGE, false), "{codec:?}: {error:?}");
        // Of a batch that is not taken in, nothing more is known.
        let next = error.message.ends_with("the next batch is at offset 2");
        assert_eq!(next, codec != Codec::None, "{codec:?}: {error:?}");
    }
}
