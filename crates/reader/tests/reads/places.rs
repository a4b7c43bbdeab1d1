//! Many reads of one client at a broker, and one read of another client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sluicegate_reader::Reader;
use sluicegate_shared_log::Fetch;
use tokio::task::JoinSet;

use crate::batches::{batch, records};
use crate::scripted::{Broker, Key};
use crate::support::{Calls as _, at, source, until};

/// The reads of the greedy client, each of another offset.
const READS: i64 = 1_000;

/// The time that the broker takes for a fetch, one after the other on each connection.
const FETCH: Duration = Duration::from_millis(10);

fn fetch(client: u8, offset: i64) -> Fetch {
    Fetch { source: source(client), ..at(offset) }
}

/// Reads at offsets from 1 on, whose ends are counted.
fn greedy(reader: &Reader) -> (JoinSet<()>, Arc<AtomicUsize>) {
    let (mut reads, ended) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    for offset in 1..=READS {
        let (reader, ended) = (reader.clone(), Arc::clone(&ended));
        reads.spawn(async move {
            let _ = reader.read("t", fetch(1, offset)).await;
            ended.fetch_add(1, Ordering::SeqCst);
        });
    }
    (reads, ended)
}

#[tokio::test]
async fn reads_of_one_client_leave_places_to_others() {
    let broker = Broker::of(Key::Fetch, |asked| asked.usual().after(FETCH)).await;
    let reader = broker.patient_reader();
    reader.read("t", fetch(1, 0)).await.expect("an empty log");
    let (_reads, ended) = greedy(&reader);
    until(|| ended.load(Ordering::SeqCst) > 0).await;
    reader.read("t", fetch(2, 0)).await.expect("an empty log");
    // Reads that held places, and those that got one meanwhile.
    let before = ended.load(Ordering::SeqCst);
    assert!(before < 300, "behind {before} of {READS} reads of another client");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_wait_for_an_encoder_are_bounded() {
    let large = records(&[&[b'x'; 600 * 1024]]);
    let (asked, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let most = Arc::new(AtomicUsize::new(0));
    let broker = {
        let (asked, ended, most) = (Arc::clone(&asked), Arc::clone(&ended), Arc::clone(&most));
        Broker::of(Key::Fetch, move |request| {
            let waiting = asked.fetch_add(1, Ordering::SeqCst) + 1 - ended.load(Ordering::SeqCst);
            most.fetch_max(waiting, Ordering::SeqCst);
            request.fetched(i64::MAX, &batch(request.offset(), 0, 0, 1, &large))
        })
        .await
    };
    let reader = broker.patient_reader();
    let (mut reads, done) = greedy(&reader);
    while reads.join_next().await.is_some() {
        ended.store(done.load(Ordering::SeqCst), Ordering::SeqCst);
    }
    let most = most.load(Ordering::SeqCst);
    // 64 places, and reads that have ended without being counted yet. Without places there are several hundred.
    assert!(most < 200, "{most} answers were in memory");
    assert!(asked.load(Ordering::SeqCst) >= usize::try_from(READS).expect("a number"));
}
