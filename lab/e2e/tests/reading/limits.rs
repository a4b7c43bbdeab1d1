//! Batches over the size limit.

use sluicegate_stack::envoy::Profile;
use sluicegate_stack::kafka::{Codec, Record, Write};
use sluicegate_stack::socket::Socket;

use crate::reading::gateway::{TIGHT_RESPONSE, tight};
use crate::reading::reference::{FOREVER, START, assert_same, messages, noise};

/// Kafka's `RECORD_LIST_TOO_LARGE`.
const RECORD_LIST_TOO_LARGE: i32 = 18;

fn record(seed: u64, key: usize, value: usize) -> Record {
    let key = Some(noise(key, seed + 50));
    Record { key, timestamp: Some(START), ..Record::of(noise(value, seed + 100)) }
}

#[tokio::test]
async fn batch_over_the_limit_can_be_passed_by() {
    let (kafka, stack) = tight(Profile::Tunnel).await;
    let small = record(1, 3, 10);
    // It compresses to a thousandth; its size in memory counts.
    let bomb = Record { value: Some(vec![0; 2 * TIGHT_RESPONSE]), ..small.clone() };
    let records = [small.clone(), bomb, small];
    let mut socket = Socket::open(stack).await;
    for codec in Codec::ALL {
        let topic = kafka.topic("bomb", 1, &[FOREVER]).await.unwrap();
        let how = Write { codec, batch: Some(1), ..Write::default() };
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
        // Nothing more is known of an uncompressed batch that was not received.
        let next = error.message.ends_with("the next batch is at offset 2");
        assert_eq!(next, codec != Codec::None, "{codec:?}: {error:?}");
    }
}
