//! Many reads of one client at a broker, and one read of another client.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kafka_protocol::messages::RequestKind;
use prost::encoding::encode_varint;
use sluicegate_fair_share::ClientKey;
use sluicegate_reader::Reader;
use tokio::task::JoinSet;

use crate::batches::batch;
use crate::scripted::{self, Broker, Step, reader_within, usual};
use crate::support::{Fetch, Read as _, at};

/// The reads of the greedy client, each of another offset.
const READS: i64 = 1_000;

/// The time that the broker takes for a fetch, one after the other on each connection.
const FETCH: Duration = Duration::from_millis(10);

fn fetch(address: [u8; 4], offset: i64) -> Fetch<'static> {
    Fetch { source: ClientKey::from(IpAddr::from(address)), ..at("t", 0, offset) }
}

/// Reads at offsets from 1 on, whose ends are counted.
fn greedy(reader: &Reader) -> (JoinSet<()>, Arc<AtomicUsize>) {
    let (mut reads, ended) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    for offset in 1..=READS {
        let (reader, ended) = (reader.clone(), Arc::clone(&ended));
        reads.spawn(async move {
            let _ = reader.read(fetch([192, 0, 2, 1], offset)).await;
            ended.fetch_add(1, Ordering::SeqCst);
        });
    }
    (reads, ended)
}

#[tokio::test]
async fn reads_of_one_client_leave_places_to_others() {
    let broker = Broker::start(|asked, address| match &asked.kind {
        RequestKind::Fetch(_) => Step::Later(FETCH, scripted::fetched(asked, 0, 0, b"")),
        _ => usual(asked, address),
    })
    .await;
    let reader = reader_within(&[broker.address], "20000");
    reader.read(fetch([192, 0, 2, 1], 0)).await.expect("an empty log");
    let (_reads, ended) = greedy(&reader);
    crate::support::until(|| ended.load(Ordering::SeqCst) > 0).await;
    let began = Instant::now();
    reader.read(fetch([192, 0, 2, 2], 0)).await.expect("an empty log");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?} beside {READS} reads of another client");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_wait_for_an_encoder_are_bounded() {
    let large = Arc::new(record(600 * 1024));
    let (asked, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let most = Arc::new(AtomicUsize::new(0));
    let broker = {
        let (asked, ended, most) = (Arc::clone(&asked), Arc::clone(&ended), Arc::clone(&most));
        Broker::start(move |request, address| match &request.kind {
            RequestKind::Fetch(fetch) => {
                let waiting = asked.fetch_add(1, Ordering::SeqCst) + 1 - ended.load(Ordering::SeqCst);
                most.fetch_max(waiting, Ordering::SeqCst);
                let offset = fetch.topics[0].partitions[0].fetch_offset;
                Step::Answer(scripted::fetched(request, 0, i64::MAX, &batch(offset, 0, 0, 1, &large)))
            }
            _ => usual(request, address),
        })
        .await
    };
    let reader = reader_within(&[broker.address], "20000");
    let (mut reads, done) = greedy(&reader);
    while reads.join_next().await.is_some() {
        ended.store(done.load(Ordering::SeqCst), Ordering::SeqCst);
    }
    let most = most.load(Ordering::SeqCst);
    // 64 places, and reads that have ended without being counted yet. Without places there are several hundred.
    assert!(most < 200, "{most} answers were in memory");
    assert!(asked.load(Ordering::SeqCst) >= usize::try_from(READS).expect("a number"));
}

/// A record with a value of this size.
fn record(size: usize) -> Vec<u8> {
    let zigzag = |number: usize| 2 * number as u64;
    let mut body = vec![0, 0, 0, 1];
    encode_varint(zigzag(size), &mut body);
    body.resize(body.len() + size, b'x');
    body.push(0);
    let mut record = Vec::new();
    encode_varint(zigzag(body.len()), &mut record);
    record.extend(body);
    record
}
