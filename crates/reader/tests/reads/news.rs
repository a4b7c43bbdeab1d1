//! News of the ends of a log, for callers that wait there.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sluicegate_shared_log::{Ends, SeenEnds};
use tokio::time::{sleep, timeout};

use crate::scripted::Broker;
use crate::support::{Calls as _, at, log};

/// The ends of a log: its start, the place of an open transaction, and its end.
type Told = Arc<Mutex<(i64, i64, i64)>>;

/// A broker of a log without readable records from its offset 8 on.
async fn broker(told: &Told) -> Broker {
    let told = Arc::clone(told);
    let pause = Duration::from_millis(50);
    Broker::of_fetches(move |asked| {
        asked.ends(*told.lock().expect("no panic")).after(asked.wait().min(pause))
    })
    .await
}

#[tokio::test]
async fn callers_at_the_end_are_told_what_they_have_not_seen() {
    let told = Told::new(Mutex::new((0, 8, 8)));
    let broker = broker(&told).await;
    let reader = broker.reader();
    // The leader is known: waits need one.
    reader.read("t", at(8)).await.expect("an empty answer");
    let wait = |offset, start, end| {
        Box::pin(reader.wait_for_records(log("t"), offset, true, None, SeenEnds { start, end }))
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
