//! Slow partitions of a healthy broker, searches for records by time, which can take long, and brokers that send nothing
//! at all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use sluicegate_fair_share::ClientKey;
use sluicegate_reader::Reader;

use crate::scripted::{Asked, Broker, Key, Step, TOPIC};
use crate::support::{Calls as _, at, check_outage, log, nowhere, reader, source, switch, until};

/// Longer than half of `socket.timeout.ms`, the time for one response.
const SLOW: Duration = Duration::from_millis(1_500);

/// The time for a call that is not behind a slow one, on a busy machine.
const PROMPT: Duration = Duration::from_millis(900);

/// A broker that takes [`SLOW`] for the end of topic `slow`, and no time for other requests.
async fn slow_partition() -> Broker {
    Broker::of(Key::ListOffsets, |asked| match &asked.list().topics[0].name.0[..] {
        "slow" => asked.usual().after(SLOW),
        _ => asked.usual(),
    })
    .await
}

/// Calls until `is_over`. Gives the time of each call.
async fn call_repeatedly(reader: Reader, is_over: &AtomicBool) -> Vec<Duration> {
    let mut took = Vec::new();
    // So that the calls leave the processor to others.
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    while !is_over.load(Ordering::SeqCst) {
        pace.tick().await;
        let started = Instant::now();
        reader.list("t", -1).await.expect("the end");
        took.push(started.elapsed());
    }
    took
}

#[tokio::test]
async fn slow_partition_fails_no_other_call() {
    let broker = slow_partition().await;
    let reader = broker.reader();
    let is_over = switch();
    let bystanders = join_all((0..20).map(|_| call_repeatedly(reader.clone(), is_over)));
    let slow = async {
        for _ in 0..2 {
            let error = reader.list("slow", -1).await.expect_err("no answer in time");
            check_outage(&error, "no response from");
        }
        is_over.store(true, Ordering::SeqCst);
    };
    let (took, ()) = tokio::join!(bystanders, slow);
    let took = took.concat();
    let delayed = took.iter().filter(|took| **took > PROMPT).count();
    assert!(delayed <= 40, "{delayed} of {} calls took longer than {PROMPT:?}", took.len());
    assert!(broker.connections() <= 20, "{} connections", broker.connections());
}

/// Both ends are asked for together first, then each alone.
#[tokio::test]
async fn slow_partition_of_a_call_fails_no_other_of_it() {
    let broker = slow_partition().await;
    let reader = broker.reader();
    let asked = [(log("slow"), -1), (log("t"), -1)];
    let listed = reader.list_offsets(ClientKey::default(), &asked, false);
    let mut answers: Vec<_> = listed.collect().await;
    answers.sort_by_key(|(number, _)| *number);
    let [(_, slow), (_, other)] = &answers[..] else { panic!("{answers:?}") };
    assert!(slow.as_ref().is_err_and(|error| error.with_causes().contains("no response from")), "{slow:?}");
    assert!(other.is_ok(), "{other:?}");
}

#[tokio::test]
async fn frozen_broker_is_detected_and_recovers() {
    let (frozen, leader) = (switch(), nowhere());
    // Not a leader itself, it names the frozen one as the leader throughout.
    let other = Broker::of(Key::Metadata, move |asked| asked.metadata(&[leader, asked.broker], TOPIC)).await;
    let other_address = other.address;
    let broker = Broker::start_at(leader, move |asked| match asked.key == Key::Metadata {
        _ if frozen.load(Ordering::SeqCst) => Step::Silence,
        true => asked.metadata(&[asked.broker, other_address], TOPIC),
        false => asked.usual(),
    })
    .await;
    let reader = reader(&[broker.address, other.address]);
    reader.list("t", -1).await.expect("the end");
    frozen.store(true, Ordering::SeqCst);

    let first = Instant::now();
    for called in join_all((0..20).map(|_| reader.list("t", -1))).await {
        let error = called.expect_err("nothing comes");
        check_outage(&error, "no response from");
    }
    assert!(first.elapsed() < Duration::from_millis(2_300), "{:?}", first.elapsed());
    let connections = broker.connections();
    // One call tries it several times, each time briefly.
    reader.list("t", -1).await.expect_err("nothing comes");
    assert!(broker.connections() <= connections + 3, "{} connections", broker.connections());

    frozen.store(false, Ordering::SeqCst);
    let thawed = Instant::now();
    while reader.list("t", -1).await.is_err() {
        assert!(thawed.elapsed() < Duration::from_secs(3), "{:?}", thawed.elapsed());
    }
}

#[tokio::test]
async fn fetches_that_take_long_delay_no_lookup() {
    let broker = Broker::of(Key::Fetch, |_| Step::Silence).await;
    let reader = broker.patient_reader();
    let mut fetches = tokio::task::JoinSet::new();
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    // Until each of their connections has one, so far from each other that none waits for another.
    let mut offsets = (0..).step_by(1_000);
    while broker.fetched().len() < 4 {
        let (reader, offset) = (reader.clone(), offsets.next().expect("an offset"));
        fetches.spawn(async move { reader.read("t", at(offset)).await.is_ok() });
        pace.tick().await;
    }
    for topic in ["t", "u"] {
        let started = Instant::now();
        reader.list(topic, -1).await.expect("the end");
        assert!(started.elapsed() < PROMPT, "{:?} for the end of {topic}", started.elapsed());
    }
}

/// A broker that answers searches as `script` says, and with the end of an empty log other requests for offsets.
async fn searched_broker(script: impl Fn(&Asked) -> Step + Send + Sync + 'static) -> Broker {
    Broker::of(
        Key::ListOffsets,
        move |asked| if asked.timestamp() < 0 { asked.usual() } else { script(asked) },
    )
    .await
}

/// The times that were searched for.
fn searched(broker: &Broker) -> Vec<i64> {
    broker.listed().into_iter().filter(|timestamp| *timestamp >= 0).collect()
}

/// Searches for a time for the client with this number.
async fn search(reader: Reader, client: u8, timestamp: i64) {
    let listed: Vec<_> = reader.list_offsets(source(client), &[(log("t"), timestamp)], false).collect().await;
    assert!(listed[0].1.is_ok(), "{listed:?}");
}

#[tokio::test]
async fn searches_that_take_long_delay_no_other_call() {
    let broker = searched_broker(|asked| asked.usual().after(SLOW)).await;
    let reader = broker.reader();
    reader.list("t", -1).await.expect("the end");
    let searches = join_all((0..40).map(|timestamp| reader.list("t", timestamp)));
    let is_over = switch();
    let bystander = async {
        until(|| !searched(&broker).is_empty()).await;
        let calls = call_repeatedly(reader.clone(), is_over);
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
    let broker = searched_broker(|asked| asked.usual().after(Duration::from_millis(20))).await;
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
    let broker = searched_broker(|_| Step::Silence).await;
    let reader = broker.reader();
    reader.list("t", -1).await.expect("the end");
    let connections = broker.connections();
    let error = reader.list("t", 7).await.expect_err("no answer");
    check_outage(&error, "no response from");
    assert_eq!((error.code(), searched(&broker).len()), (7, 1));
    // The broker was not suspected: the connection for other look-ups is still open.
    reader.list("t", -1).await.expect("the end");
    assert_eq!(broker.connections(), connections + 1);
}
