//! Logs of which much is skipped: a client that has had its share waits alone.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, pending, ready};
use parking_lot::Mutex;
use sluicegate_fair_share::ClientKey;
use sluicegate_reader::SkipMeter;
use sluicegate_shared_log::Fetch;
use tokio::time::timeout;

use crate::batches::{batch, one_record};
use crate::scripted::{Broker, Key};
use crate::support::{Calls as _, at, log, source, until};

/// The offset of the only record. Before it are batches of control records.
const RECORD: i64 = 40;

/// The size of a batch's records. Four offsets are in one batch.
const BATCH: usize = 100_000;

async fn broker() -> Broker {
    Broker::of(Key::Fetch, |asked| match asked.offset() {
        offset @ 0..RECORD => asked.fetched(RECORD + 1, &batch(offset / 4 * 4, 3, 1 << 5, 1, &[0; BATCH])),
        _ => asked.fetched(RECORD + 1, &one_record(RECORD, b'x')),
    })
    .await
}

/// Knows one client that has had its share: it never has a turn.
#[derive(Debug)]
struct Meter {
    greedy: ClientKey,
    counted: Mutex<Vec<(ClientKey, usize)>>,
}

impl Meter {
    fn new(greedy: ClientKey) -> Arc<Self> {
        Arc::new(Self { greedy, counted: Mutex::default() })
    }

    /// The bytes that were counted to this client, of each part.
    fn counted(&self, source: ClientKey) -> Vec<usize> {
        let counted = self.counted.lock();
        counted.iter().filter(|(of, _)| *of == source).map(|(_, bytes)| *bytes).collect()
    }
}

impl SkipMeter for Meter {
    fn skipped(&self, source: ClientKey, bytes: usize) -> BoxFuture<'_, ()> {
        self.counted.lock().push((source, bytes));
        if source == self.greedy { pending().boxed() } else { ready(()).boxed() }
    }
}

#[tokio::test]
async fn skipped_bytes_are_counted_to_the_client() {
    let broker = broker().await;
    let (reader, meter) = (broker.reader(), Meter::new(source(1)));
    let fetch = Fetch { source: source(2), ..at(0) };
    let fetched = reader.read_from(log("t"), fetch, &*meter).await.expect("a record");
    assert_eq!((fetched.count, fetched.next_offset), (1, RECORD + 1));
    let counted = meter.counted(source(2));
    assert_eq!(counted.len(), 10);
    assert!(counted.iter().all(|bytes| (BATCH..BATCH + 100).contains(bytes)), "{counted:?}");
    // The same part of the log is not skipped again, from whichever offset.
    let again = reader.read_from(log("t"), Fetch { offset: 18, ..fetch }, &*meter).await.expect("a record");
    assert_eq!((again.count, meter.counted(source(2)).len()), (1, 10));
}

#[tokio::test]
async fn client_that_skips_without_pause_delays_nobody_else() {
    let broker = broker().await;
    let (reader, meter) = (broker.reader(), Meter::new(source(1)));
    let greedy = {
        let (reader, meter) = (reader.clone(), Arc::clone(&meter));
        let fetch = Fetch { source: source(1), ..at(0) };
        tokio::spawn(async move { reader.read_from(log("t"), fetch, &*meter).await })
    };
    until(|| !meter.counted(source(1)).is_empty()).await;
    assert_eq!(broker.fetched(), [0]);
    // The same records, and others near them.
    for offset in [0, 1] {
        let other = Fetch { source: source(2), ..at(offset) };
        let fetched = timeout(Duration::from_millis(500), reader.read_from(log("t"), other, &*meter)).await;
        let fetched = fetched.expect("an answer at once").expect("a record");
        assert_eq!((fetched.count, fetched.next_offset), (1, RECORD + 1));
    }
    let greedy = greedy.await.expect("no panic").expect("an empty answer");
    assert_eq!((greedy.count, greedy.next_offset), (0, 4));
    assert_eq!(meter.counted(source(1)).len(), 1);
}
