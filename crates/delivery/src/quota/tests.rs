//! Quotas at the door: who waits, who is refused, and what that costs others.

use std::num::NonZeroU32;

use sluicegate_backend::Log;
use sluicegate_backend::command::{ReadBounds, Record, Source, SubscribeCommand};
use sluicegate_rights::Rights;
use tokio::time::advance;

use super::*;
use crate::cluster::{WriteSequencer, WriteTicket};
use crate::consumers::NewConsumer;
use crate::grant::Grant;
use crate::testing::logs::Logs;
use crate::testing::script::Script;

const READ: Quota = Quota {
    sessions: NonZeroU32::MIN,
    subscriptions: NonZeroU32::MIN,
    consumers: NonZeroU32::MIN,
    commands_per_second: NonZeroU32::new(10).unwrap(),
    records_per_second: NonZeroU32::new(2).unwrap(),
    read_bytes_per_second: NonZeroU32::MAX,
    write_bytes_per_second: NonZeroU32::new(1_000).unwrap(),
};

fn counted(grant: Grant, usage: &Arc<Usage>) -> Grant {
    grant.counted_to(Some(Arc::clone(usage)))
}

fn usage(quota: Quota) -> Arc<Usage> {
    Arc::new(Usage::new(quota, Arc::default()))
}

fn log(topic: &str) -> Log<'_> {
    Log { topic, partition: 0 }
}

fn command(topic: &str) -> SubscribeCommand {
    let source = Source { topic: topic.to_owned(), ..Default::default() };
    SubscribeCommand { sources: vec![source], ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn reads_of_requests_are_refused_and_those_of_sessions_wait_in_order() {
    let (cluster, _) = Script::cluster(1_000);
    let usage = usage(READ);
    let request = counted(Grant::all(&cluster), &usage);
    let (session, _place) = request.clone().into_session().unwrap();
    for _ in 0..51 {
        request.fetch(log("0"), 0, ReadBounds::default(), vec![], &mut ()).await.unwrap();
    }
    let error = request.fetch(log("0"), 0, ReadBounds::default(), vec![], &mut ()).await.unwrap_err();
    assert_eq!((error.fault, error.code, error.fault.is_retriable()), (Fault::QuotaExceeded, 0, true));
    assert_eq!(error.message, "too many commands a second of this identity");
    assert!((1..=100).contains(&error.retry_after.as_millis()), "{error:?}");
    let (began, order) = (Instant::now(), std::sync::Mutex::new(Vec::new()));
    let reads = (0..100).map(|number| {
        let (session, order) = (&session, &order);
        async move {
            session.fetch(log("0"), 0, ReadBounds::default(), vec![], &mut ()).await.unwrap();
            order.lock().unwrap().push(number);
        }
    });
    futures_util::future::join_all(reads).await;
    assert_eq!(*order.lock().unwrap(), (0..100).collect::<Vec<_>>());
    assert_eq!(began.elapsed().as_secs_f64().round(), 10.0);
    // Another person has a quota of their own.
    let bystander = counted(Grant::all(&cluster), &self::usage(READ));
    assert_eq!(bystander.fetch(log("0"), 0, ReadBounds::default(), vec![], &mut ()).await.err(), None);
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_command_counts() {
    let (cluster, _) = Script::cluster(1_000);
    let one = Quota { commands_per_second: NonZeroU32::MIN, ..READ };
    let full = || {
        let usage = usage(one);
        (0..6).for_each(|_| usage.read().unwrap());
        counted(Grant::all(&cluster), &usage)
    };
    let (places, bounds) = ([(log("0"), 0)], ReadBounds::default());
    let records = vec![Record { topic: "0".into(), ..Record::default() }];
    let errors = [
        full().fetch(log("0"), 0, bounds, vec![], &mut ()).await.err(),
        full().multi_fetch(&places, bounds, vec![], &mut ()).await.err(),
        full().list_offset(log("0"), 0, false).await.err(),
        full().list_offsets(&places, false).await.err(),
        full().ends(log("0"), false).await.err(),
        full().topics().await.err(),
        full().describe("0").await.err(),
        full().describe_page(Default::default(), |_| 0).await.err(),
        full().subscribe(command("0")).await.err(),
        full().produce(records, WriteTicket::default(), || {}).await.err(),
    ];
    for error in errors {
        assert_eq!(error.map(|error| error.fault), Some(Fault::QuotaExceeded));
    }
}

#[tokio::test(start_paused = true)]
async fn writes_are_refused_with_the_time_of_a_retry() {
    let (cluster, script) = Script::cluster(1_000);
    let (session, _place) = counted(Grant::all(&cluster), &usage(READ)).into_session().unwrap();
    let write = async |count: usize, bytes: usize| {
        let value = Some(vec![0; bytes].into());
        let record = Record { topic: "0".into(), value, ..Record::default() };
        session.produce(vec![record; count], WriteTicket::default(), || {}).await.map(|reports| reports.len())
    };
    // More than can be used in advance: all of it is written, and then nothing for as long as it is owed.
    assert_eq!(write(20, 0).await, Ok(20));
    let error = write(1, 0).await.unwrap_err();
    let words = "too many records a second of this identity";
    assert_eq!((error.fault, error.message.as_str()), (Fault::QuotaExceeded, words));
    let began = Instant::now();
    while let Err(error) = write(1, 0).await {
        sleep(error.retry_after).await;
    }
    assert_eq!(began.elapsed().as_secs_f64().round(), 5.0);
    advance(Duration::from_secs(60)).await;
    assert_eq!(write(1, 7_000).await, Ok(1));
    let error = write(1, 0).await.unwrap_err();
    assert_eq!(error.message, "too many bytes a second that are written of this identity");
    assert_eq!(script.taken().len(), 22);
}

#[tokio::test(start_paused = true)]
async fn refused_write_lets_no_later_one_overtake() {
    let (cluster, script) = Script::cluster(1_000);
    let grant = counted(Grant::all(&cluster), &usage(READ));
    let mut order = WriteSequencer::default();
    let record =
        |value: &'static str| Record { topic: "0".into(), value: Some(value.into()), ..Record::default() };
    let [first, second, third] = std::array::from_fn(|_| order.issue());
    // The last command is polled first, and its place in the quota is free before that of the second.
    let first = async {
        sleep(Duration::from_secs(1)).await;
        grant.produce(vec![record("a"); 11], first, || {}).await.unwrap();
    };
    let full = usage(READ);
    full.write(20, 0).unwrap();
    let refused = counted(Grant::all(&cluster), &full);
    let second = async { refused.produce(vec![record("b")], second, || {}).await.unwrap_err() };
    let third = async { grant.produce(vec![record("c")], third, || {}).await.unwrap() };
    let (_, error, ()) = tokio::join!(third, second, first);
    assert_eq!(error.fault, Fault::QuotaExceeded);
    let taken = script.taken();
    assert_eq!((taken.len(), &taken[11][..]), (12, &b"c"[..]));
}

#[tokio::test(start_paused = true)]
async fn places_are_free_again_after_their_use() {
    let logs = Logs::default();
    let grant = counted(Grant::of(&logs.cluster(), Rights::all()), &usage(READ));
    let (session, place) = grant.clone().into_session().unwrap();
    assert_eq!(grant.clone().into_session().err(), Some(1));
    drop((session, place));
    assert!(grant.clone().into_session().is_ok());
    let subscribe = || grant.subscribe(command("t"));
    let first = subscribe().await.unwrap();
    let error = subscribe().await.err().unwrap();
    assert_eq!((error.fault, error.retry_after), (Fault::QuotaExceeded, RETRY_PLACE));
    drop(first);
    assert!(subscribe().await.is_ok());
    let create = || grant.create_consumer("g", NewConsumer::default());
    let consumer = create().await.unwrap();
    let refused = create().await.err().unwrap();
    assert_eq!(refused.to_string(), "too many consumers of this identity: expected at most 1");
    grant.delete_consumer(&consumer).await.unwrap();
    drop(consumer);
    assert!(create().await.is_ok());
}
