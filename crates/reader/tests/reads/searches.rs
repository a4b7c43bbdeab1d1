//! Searches for records by time, which a broker can take long for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use sluicegate_reader::Reader;

use crate::scripted::{Asked, Broker, Step};
use crate::silence::{PROMPT, SLOW, call_repeatedly};
use crate::support::{Calls as _, chain, source, until};

/// A broker that answers searches as `script` says, and with the end of an empty log other requests for offsets.
async fn broker(script: impl Fn(&Asked) -> Step + Send + Sync + 'static) -> Broker {
    Broker::of_lists(move |asked| if asked.timestamp() < 0 { asked.usual() } else { script(asked) }).await
}

/// The times that were searched for.
fn searched(broker: &Broker) -> Vec<i64> {
    broker.listed().into_iter().filter(|timestamp| *timestamp >= 0).collect()
}

/// Searches for a time for the client with this number.
async fn search(reader: Reader, client: u8, timestamp: i64) {
    let listed: Vec<_> = reader.list_offsets(source(client), &[("t", 0, timestamp)], false).collect().await;
    assert!(listed[0].1.is_ok(), "{listed:?}");
}

#[tokio::test]
async fn searches_that_take_long_delay_no_other_call() {
    let broker = broker(|asked| asked.usual().after(SLOW)).await;
    let reader = broker.reader();
    reader.list("t", -1).await.expect("the end");
    let searches = join_all((0..40).map(|timestamp| reader.list("t", timestamp)));
    let is_over = Arc::new(AtomicBool::new(false));
    let bystander = async {
        until(|| !searched(&broker).is_empty()).await;
        let calls = call_repeatedly(reader.clone(), Arc::clone(&is_over));
        let (took, ()) = tokio::join!(calls, async {
            tokio::time::sleep(SLOW).await;
            is_over.store(true, Ordering::SeqCst);
        });
        took
    };
    let (took, _) = tokio::join!(bystander, searches);
    let slowest = took.iter().max().copied().unwrap_or_default();
    assert!(took.len() > 10 && slowest < PROMPT, "{slowest:?} of {} calls", took.len());
    assert!(broker.listed().len() < took.len() + 10, "two searches at a time");
}

#[tokio::test]
async fn searches_of_one_client_leave_turns_to_others() {
    let broker = broker(|asked| asked.usual().after(Duration::from_millis(20))).await;
    let reader = broker.patient_reader();
    let mut greedy = tokio::task::JoinSet::new();
    for timestamp in 1..=40 {
        greedy.spawn(search(reader.clone(), 1, timestamp));
    }
    until(|| !searched(&broker).is_empty()).await;
    let before = searched(&broker).len();
    search(reader, 2, 0).await;
    let at = searched(&broker).iter().position(|timestamp| *timestamp == 0);
    let between = at.expect("it was received") - before;
    assert!(between <= 5, "{between} searches of another client were first");
    greedy.join_all().await;
}

#[tokio::test]
async fn search_without_an_answer_in_time_is_not_repeated() {
    let broker = broker(|_| Step::Silence).await;
    let reader = broker.reader();
    reader.list("t", -1).await.expect("the end");
    let connections = broker.connections();
    let error = reader.list("t", 7).await.expect_err("no answer");
    assert!(chain(&error).contains("no response from") && error.retriable(), "{}", chain(&error));
    assert_eq!((error.code(), searched(&broker).len()), (7, 1));
    // The broker was not suspected: the connection for other look-ups is still open.
    reader.list("t", -1).await.expect("the end");
    assert_eq!(broker.connections(), connections + 1);
}
