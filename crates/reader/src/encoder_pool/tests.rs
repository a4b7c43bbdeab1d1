//! Answers that wait for a turn, and those that do not.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;

use flate2::Compression;
use flate2::write::GzEncoder;
use sluicegate_fair_share::ClientKey;
use std::io::Write;
use tokio::task::yield_now;

use super::*;
use crate::record_batches::{batch, one_record, records};

const LIMITS: Limits = Limits { max_bytes: 1000, max_record_bytes: 1 << 22, max_batch_bytes: 1 << 26 };

fn holder(number: u8) -> Holder {
    Holder { cluster: 0, source: ClientKey::from(IpAddr::from([10, 0, 0, number])) }
}

fn of(records: Vec<u8>) -> Encoding {
    Encoding { records: records.into(), aborted: Vec::new(), from: 0, limits: LIMITS, max_kept: 5000 }
}

#[tokio::test]
async fn large_answers_take_turns_and_small_ones_wait_for_none() {
    let pool = EncoderPool { places: Places::new(1), ..EncoderPool::new() };
    let taken = pool.places.acquire(holder(9)).await;
    let large = of((0..30_000).flat_map(|offset| one_record(offset, b'x')).collect());
    assert!(large.records.len() > SMALL);
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut encodings = Vec::new();
    for client in [vec![1; 20], vec![2]].concat() {
        let (pool, large, order) = (pool.clone(), large.clone(), Arc::clone(&order));
        encodings.push(tokio::spawn(async move {
            let (encoded, messages) = pool.encode(holder(client), large).await.expect("records");
            order.lock().unwrap().push(client);
            (encoded.count, messages.len())
        }));
        yield_now().await;
    }
    assert_eq!(pool.places.waiting(), 21);
    let (encoded, _) = pool.encode(holder(1), of(one_record(0, b'x'))).await.expect("a record");
    assert_eq!(encoded.count, 1);
    drop(taken);
    for encoding in encodings {
        // More than was asked for is kept, since it was expensive.
        let (count, bytes) = encoding.await.unwrap();
        assert!(count > 1 && (4000..=5000).contains(&bytes), "{count} records in {bytes} bytes");
    }
    // Its turn is the second. A task is told of its end after those of later turns if its thread has to wait for a core.
    let newcomer = order.lock().unwrap().iter().position(|client| *client == 2);
    assert!(newcomer.is_some_and(|newcomer| newcomer <= 10), "{newcomer:?}");
}

#[tokio::test]
async fn small_answer_with_a_large_batch_waits_for_its_turn() {
    let pool = EncoderPool { places: Places::new(1), ..EncoderPool::new() };
    let taken = pool.places.acquire(holder(9)).await;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&records(&[&[0; 2 * SMALL]])).unwrap();
    let bomb = of(batch(0, 0, 1, 1, &gzip.finish().unwrap()));
    assert!(bomb.records.len() < SMALL / 100);
    let encoding = tokio::spawn({
        let pool = pool.clone();
        async move { pool.encode(holder(1), bomb).await }
    });
    yield_now().await;
    assert_eq!(pool.places.waiting(), 1);
    drop(taken);
    assert_eq!(encoding.await.unwrap().expect("a record").0.count, 1);
}
