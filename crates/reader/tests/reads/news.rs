//! News of the ends of a log, for callers that wait there.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kafka_protocol::messages::RequestKind;
use sluicegate_shared_log::{Ends, SeenEnds};
use tokio::time::{sleep, timeout};

use crate::scripted::{self, Broker, Step, reader, usual};
use crate::support::{Read as _, at};

/// The ends of a log: its start, the place of an open transaction, and its end.
type Told = Arc<Mutex<(i64, i64, i64)>>;

/// A broker of a log without readable records from its offset 8 on.
async fn broker(told: &Told) -> Broker {
    let told = Arc::clone(told);
    Broker::start(move |asked, address| match &asked.kind {
        RequestKind::Fetch(request) => {
            let wait = Duration::from_millis(request.max_wait_ms.clamp(0, 50).try_into().expect("a wait"));
            Step::Later(wait, scripted::nothing(asked, *told.lock().expect("no panic")))
        }
        _ => usual(asked, address),
    })
    .await
}

#[tokio::test]
async fn callers_at_the_end_are_told_what_they_have_not_seen() {
    let told = Told::new(Mutex::new((0, 8, 8)));
    let broker = broker(&told).await;
    let reader = reader(&[broker.address]);
    // The leader is known: waits need one.
    reader.read(at("t", 0, 8)).await.expect("an empty answer");
    let wait = |offset, start, end| {
        Box::pin(reader.wait_for_records("t", 0, offset, true, None, SeenEnds { start, end }))
    };
    let second = Duration::from_secs(1);
    let (mut of_end, mut of_start) = (wait(8, i64::MAX, 8), wait(8, 0, i64::MAX));
    let mut both = async || {
        tokio::select! {
            ends = &mut of_end => (ends, "end"),
            ends = &mut of_start => (ends, "start"),
        }
    };
    assert!(timeout(second, both()).await.is_err(), "nothing has changed");
    *told.lock().expect("no panic") = (3, 8, 8);
    let news = timeout(second, both()).await.expect("news");
    assert_eq!(news, (Some(Ends { start: 3, stable: 8, end: 8 }), "start"));

    let begun = Instant::now();
    *told.lock().expect("no panic") = (3, 8, 12);
    let mut of_start = wait(8, 3, i64::MAX);
    let ends = tokio::select! {
        ends = &mut of_end => ends,
        _ = &mut of_start => panic!("it has seen that start"),
        () = sleep(10 * second) => panic!("the transaction stays open"),
    };
    assert_eq!(ends, Some(Ends { start: 3, stable: 8, end: 12 }));
    assert!(begun.elapsed() >= 4 * second, "most transactions end sooner: {:?}", begun.elapsed());
    // A caller that is behind them has records to read.
    let behind = timeout(second, wait(5, 3, 5)).await.expect("news");
    assert_eq!(behind, None);
    assert!(timeout(second, of_start).await.is_err(), "it has seen that start");
}
