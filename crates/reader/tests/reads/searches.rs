//! Searches for records by time, which a broker can take long for.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use kafka_protocol::messages::RequestKind;
use sluicegate_fair_share::ClientKey;
use sluicegate_reader::Reader;

use crate::scripted::{self, Asked, Broker, Step, reader, reader_within, usual};
use crate::silence::{PROMPT, SLOW, call_repeatedly};
use crate::support::{chain, list_offset, until};

/// The first time that a request searches for.
fn searched(asked: &Asked) -> Option<i64> {
    let RequestKind::ListOffsets(request) = &asked.kind else { return None };
    Some(request.topics[0].partitions[0].timestamp).filter(|timestamp| *timestamp >= 0)
}

/// Searches for a time for the client with this address.
async fn search(reader: Reader, address: [u8; 4], timestamp: i64) {
    let source = ClientKey::from(IpAddr::from(address));
    let listed: Vec<_> = reader.list_offsets(source, &[("t", 0, timestamp)], false).collect().await;
    assert!(listed[0].1.is_ok(), "{listed:?}");
}

#[tokio::test]
async fn searches_that_take_long_delay_no_other_call() {
    let broker = Broker::start(|asked, address| match searched(asked) {
        Some(_) => Step::Later(SLOW, scripted::listed(asked, 0, 0)),
        None => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    list_offset(&reader, "t", 0, -1, false).await.expect("the end");
    let mut searches = tokio::task::JoinSet::new();
    for timestamp in 0..40 {
        let reader = reader.clone();
        searches.spawn(async move { list_offset(&reader, "t", 0, timestamp, false).await.is_ok() });
    }
    until(|| broker.listed() > 2).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let bystander = tokio::spawn(call_repeatedly(reader.clone(), Arc::clone(&is_over)));
    tokio::time::sleep(SLOW).await;
    is_over.store(true, Ordering::SeqCst);
    let took = bystander.await.expect("no panic");
    let slowest = took.iter().max().copied().unwrap_or_default();
    assert!(took.len() > 10 && slowest < PROMPT, "{slowest:?} of {} calls", took.len());
    assert!(broker.listed() < took.len() + 10, "two searches at a time");
}

#[tokio::test]
async fn searches_of_one_client_leave_turns_to_others() {
    let times = Arc::new(Mutex::new(Vec::new()));
    let received = Arc::clone(&times);
    let broker = Broker::start(move |asked, address| match searched(asked) {
        Some(timestamp) => {
            received.lock().expect("no panic").push(timestamp);
            Step::Later(Duration::from_millis(20), scripted::listed(asked, 0, 0))
        }
        None => usual(asked, address),
    })
    .await;
    let reader = reader_within(&[broker.address], "20000");
    let mut greedy = tokio::task::JoinSet::new();
    for timestamp in 1..=40 {
        greedy.spawn(search(reader.clone(), [192, 0, 2, 1], timestamp));
    }
    until(|| !times.lock().expect("no panic").is_empty()).await;
    let before = times.lock().expect("no panic").len();
    search(reader, [192, 0, 2, 2], 0).await;
    let at = times.lock().expect("no panic").iter().position(|timestamp| *timestamp == 0);
    let between = at.expect("it was received") - before;
    assert!(between <= 5, "{between} searches of another client were first");
    greedy.join_all().await;
}

#[tokio::test]
async fn search_without_an_answer_in_time_is_not_repeated() {
    let count = Arc::new(AtomicUsize::new(0));
    let received = Arc::clone(&count);
    let broker = Broker::start(move |asked, address| match searched(asked) {
        Some(_) => {
            received.fetch_add(1, Ordering::SeqCst);
            Step::Silence
        }
        None => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    list_offset(&reader, "t", 0, -1, false).await.expect("the end");
    let connections = broker.connections();
    let error = list_offset(&reader, "t", 0, 7, false).await.expect_err("no answer");
    assert!(chain(&error).contains("no response from"), "{}", chain(&error));
    assert!(error.code() == 7 && error.retriable());
    assert_eq!(count.load(Ordering::SeqCst), 1);
    // The broker was not suspected: the connection for other look-ups is still open.
    list_offset(&reader, "t", 0, -1, false).await.expect("the end");
    assert_eq!(broker.connections(), connections + 1);
}
