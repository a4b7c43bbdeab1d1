//! Messages of producers, whose commands are repeated.

use std::sync::atomic::{AtomicUsize, Ordering};

use sluicegate_backend::command::STREAM_SEQ;
use sluicegate_backend::rate::{ClientRate, Rate};
use sluicegate_fair_share::{Holder, Ledger};

use super::*;

/// The result of a command: the sequence of each message, whether it was there, and whether the subject is the producer's own; or
/// why the first one was not written.
#[derive(Debug, PartialEq)]
enum Told {
    At(Vec<(i64, bool, bool)>),
    Refused(Fault, Option<(i16, i32)>),
}

fn account(id: i64, epoch: i16, sequence: i32, age: Duration) -> Account {
    // Producers cost a server nothing.
    let none = ClientRate { rate: Arc::new(Rate::new(Ledger::of_one_cluster(0))), holder: Holder::default() };
    Account { id: 1 << 62 | id, epoch, sequence, age, is_placed: false, questions: none.clone(), new: none }
}

/// Writes numbers from the account's sequence on.
async fn once(nats: &Nats, subject: &str, account: Account, count: i32) -> Vec<DeliveryReport> {
    let due = CancellationToken::new();
    let Account { epoch, sequence, .. } = account;
    let data = (sequence..sequence + count).map(|number| format!("{epoch}/{number}"));
    let records = data.map(|data| record(subject, data)).collect();
    reports(nats.enqueue_once(ClientKey::default(), records, account, &due)).await
}

async fn reports<'a>(
    enqueuing: impl Future<Output = Result<Enqueued<'a>, CommandError>>,
) -> Vec<DeliveryReport> {
    match within(enqueuing).await {
        Ok(enqueued) => within(enqueued.reports).await,
        Err(error) => vec![Err(error)],
    }
}

fn told(reports: Vec<DeliveryReport>, windows: [Duration; 2]) -> Told {
    let at = reports.into_iter().map(|report| {
        let Written { offset, dedup, .. } = report?;
        let Dedup { is_duplicate, window, in_order, .. } = dedup.unwrap();
        assert_eq!(window, windows[usize::from(in_order)]);
        Ok((offset, is_duplicate, in_order))
    });
    match at.collect::<Result<_, CommandError>>() {
        Ok(at) => Told::At(at),
        Err(error) => Told::Refused(error.fault, error.producer.map(|state| (state.epoch, state.sequence))),
    }
}

#[tokio::test]
async fn repeats_are_stored_once_by_whichever_bridge() {
    const OLD: Duration = Duration::from_secs(100);
    const AGAIN: Duration = Duration::from_secs(5);
    const FIRST: Duration = Duration::ZERO;
    let refused = |fault, state| Told::Refused(fault, Some(state));
    for (subject, config, life) in [
        ("S.a", json!({}), Dedup::UNLIMITED),
        ("orders.a", json!({}), Dedup::UNLIMITED),
        // The stream can remove messages at any time.
        ("S.a", json!({ "max_bytes": 1_000_000 }), Duration::from_secs(90)),
    ] {
        let case = Case::start_with(r#"mappings = { "orders.*": "S.$1" }"#, |_| {}).await;
        case.streams.create("S", config).await.unwrap();
        let (other, _shared) = nats(&case.server, |_| {});
        let bridges = [&case.nats, &other];
        let own = |places: &[(i64, bool)]| Told::At(places.iter().map(|(at, is)| (*at, *is, true)).collect());
        for (bridge, id, epoch, sequence, count, age, want) in [
            (0, 1, 0, 0, 1, FIRST, own(&[(1, false)])),
            (1, 1, 0, 0, 1, AGAIN, own(&[(1, true)])),
            (1, 1, 0, 1, 3, FIRST, own(&[(2, false), (3, false), (4, false)])),
            (0, 1, 0, 1, 3, AGAIN, own(&[(-1, true), (-1, true), (4, true)])),
            // In other commands than at first, and more.
            (0, 1, 0, 3, 3, AGAIN, own(&[(4, true), (5, false), (6, false)])),
            (1, 1, 0, 9, 1, FIRST, refused(Fault::OutOfOrder, (0, 6))),
            // Another epoch, which ends the earlier one, and begins at 0.
            (1, 1, 2, 1, 1, FIRST, refused(Fault::OutOfOrder, (2, 0))),
            (1, 1, 2, 0, 1, FIRST, own(&[(7, false)])),
            (0, 1, 0, 6, 1, FIRST, refused(Fault::Fenced, (2, 1))),
            (0, 1, 1, 0, 1, FIRST, refused(Fault::Fenced, (2, 1))),
            // Late, but known.
            (1, 1, 2, 0, 1, OLD, own(&[(7, true)])),
            (1, 1, 2, 1, 1, OLD, own(&[(8, false)])),
            // Another producer has no subject of its own here.
            (0, 2, 0, 0, 1, FIRST, Told::At(vec![(9, false, false)])),
            (1, 2, 0, 0, 1, AGAIN, Told::At(vec![(9, true, false)])),
            (1, 2, 0, 0, 1, OLD, Told::Refused(Fault::Expired, None)),
            (0, 2, 0, 7, 1, FIRST, Told::At(vec![(10, false, false)])),
            // Nor has the first one any more. Its messages are recognized.
            (0, 1, 2, 1, 2, AGAIN, Told::At(vec![(8, true, false), (11, false, false)])),
            (1, 1, 2, 1, 1, OLD, Told::Refused(Fault::Expired, None)),
        ] {
            let reports = once(bridges[bridge], subject, account(id, epoch, sequence, age), count).await;
            let row = format!("{subject} {life:?}: {bridge} {id} {epoch} {sequence} {count}: {reports:?}");
            assert_eq!(told(reports, [Duration::from_secs(90), life]), want, "{row}");
        }
        // Producers count on each subject by themselves. Nobody knows the beginning of this one.
        for (sequence, age, want) in [
            (4, FIRST, refused(Fault::Expired, (0, 0))),
            (0, OLD, if life < OLD { Told::Refused(Fault::Expired, None) } else { own(&[(12, false)]) }),
        ] {
            let reports = once(&other, &subject.replace(".a", ".b"), account(1, 0, sequence, age), 1).await;
            assert_eq!(told(reports, [Duration::ZERO, life]), want, "{subject} {sequence}");
        }
        let stored = case.stored("S").await;
        let own = ["0/0", "0/1", "0/2", "0/3", "0/4", "0/5", "2/0", "2/1", "0/0", "0/7", "2/2"];
        assert_eq!(data_of(&stored)[..own.len()], own);
        let with_id = vec![with_id("x", record(subject, ""))];
        let mut errors = vec![None];
        case.nats.place(ClientKey::default(), &mut with_id.clone(), &mut errors, Some(1)).await;
        assert_eq!(errors[0].as_ref().unwrap().fault, Fault::Invalid);
    }
}

#[tokio::test]
async fn duplicate_tells_the_last_sequence() {
    let case = Case::of(0).await;
    let case = &case;
    let last = async |sequence, age, count| {
        let reports = once(&case.nats, "S.a", account(1, 0, sequence, age), count).await;
        reports.into_iter().map(|report| report.unwrap().dedup.unwrap().last.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(last(0, Duration::ZERO, 3).await, [0, 1, 2]);
    assert_eq!(last(0, Duration::from_secs(1), 2).await, [2, 2]);
}

#[tokio::test]
async fn streams_without_conditions_recognize_repeats() {
    let republished = json!({ "republish": { "src": ">", "dest": "copies.>" } });
    for config in [json!({ "retention": "workqueue" }), republished] {
        let case = Case::start().await;
        case.streams.create("S", config).await.unwrap();
        case.streams.create("COPIES", json!({ "subjects": ["copies.>"] })).await.unwrap();
        case.write("COPIES", []).await;
        for (sequence, want) in [(0, (1, false, false)), (0, (1, true, false)), (5, (2, false, false))] {
            let reports = once(&case.nats, "S.a", account(1, 0, sequence, Duration::ZERO), 1).await;
            assert_eq!(told(reports, [Duration::from_secs(90); 2]), Told::At(vec![want]));
        }
        let copies = case.call("STREAM.INFO.COPIES", json!({})).await["state"]["messages"].clone();
        let is_republished = case.call("STREAM.INFO.S", json!({})).await["config"]["republish"].is_object();
        assert_eq!(copies, if is_republished { 2 } else { 0 });
    }
}

#[tokio::test]
async fn writers_that_race_as_one_producer_store_each_message_once() {
    const COMMANDS: i32 = 40;
    let case = Case::of(0).await;
    let (other, _shared) = nats(&case.server, |_| {});
    for first in (0..COMMANDS).map(|command| command * 5) {
        let write = |nats| once(nats, "S.a", account(1, 0, first, Duration::from_millis(1)), 5);
        let (one, another) = tokio::join!(write(&case.nats), write(&other));
        let new = one.iter().chain(&another).filter(|report| {
            let dedup = report.as_ref().unwrap().dedup.unwrap();
            assert!(dedup.in_order);
            !dedup.is_duplicate
        });
        assert_eq!(new.count(), 5, "{one:?} {another:?}");
    }
    let stored = case.stored("S").await;
    let want: Vec<_> = (0..COMMANDS * 5).map(|number| format!("0/{number}")).collect();
    assert_eq!(data_of(&stored), want);
}

#[tokio::test]
async fn message_whose_answer_was_lost_is_stored_once() {
    const COMMANDS: i32 = 300;
    let mut case = Case::start_with("", |config| config.request_timeout = Duration::from_secs(1)).await;
    case.stream("S", 0).await;
    let (nats, progress) = (Arc::clone(&case.nats), Arc::new(AtomicUsize::new(0)));
    let written = Arc::clone(&progress);
    let writing = tokio::spawn(async move {
        let mut unknown = 0;
        for first in (0..COMMANDS).map(|command| command * 10) {
            let mut age = Duration::ZERO;
            loop {
                let reports = once(&nats, "S.a", account(1, 0, first, age), 10).await;
                unknown += reports.iter().filter(|report| is_unknown(report)).count();
                if reports.iter().all(Result::is_ok) {
                    break;
                }
                age += Duration::from_millis(1);
            }
            written.fetch_add(1, Ordering::Relaxed);
        }
        unknown
    });
    for kill in [80, 160, 240] {
        until(|| progress.load(Ordering::Relaxed) > kill).await;
        case.server.process.kill();
        case.server.up().await.unwrap();
    }
    assert!(within(writing).await.unwrap() > 0, "no write was in flight when the server ended");
    let want: Vec<_> = (0..COMMANDS * 10).map(|number| format!("0/{number}")).collect();
    assert_eq!(data_of(&case.stored("S").await), want);
}

/// Writes messages with a sequence that ascends.
async fn ascending(
    nats: &Nats,
    subject: &str,
    sequence: &str,
    account: Option<Account>,
    count: usize,
) -> Vec<DeliveryReport> {
    let due = CancellationToken::new();
    let record =
        Record { headers: vec![header(STREAM_SEQ, sequence)], ..record(subject, sequence.to_owned()) };
    reports(nats.enqueue_after(ClientKey::default(), vec![record; count], account, &due)).await
}

#[tokio::test]
async fn sequences_of_clients_ascend() {
    let case = Case::of(0).await;
    let (other, _shared) = nats(&case.server, |_| {});
    let producer = |sequence| Some(account(1, 0, sequence, Duration::ZERO));
    // The subject's last message is the producer's, or another one's.
    for (bridge, subject, sequence, account, count, want) in [
        (&*case.nats, "S.a", "a", None, 1, Ok((1, false))),
        (&other, "S.a", "a", None, 1, Err("expected one after a")),
        (&other, "S.a", "B", None, 1, Err("expected one after a")),
        (&other, "S.a", "b", None, 3, Ok((4, false))),
        (&case.nats, "S.a", "b", None, 1, Err("expected one after b")),
        (&case.nats, "S.b", "9", producer(0), 1, Ok((5, false))),
        (&other, "S.b", "9", producer(0), 1, Ok((5, true))),
        (&other, "S.b", "8", producer(1), 1, Err("expected one after 9")),
        (&other, "S.b", "90", producer(1), 1, Ok((6, false))),
        (&other, "S.b", "91", None, 1, Ok((7, false))),
        (&case.nats, "S.b", "91", producer(2), 1, Err("expected one after 91")),
        (&case.nats, "S.b", "92", producer(2), 1, Ok((8, false))),
        (&other, "S.b", "92", producer(2), 1, Ok((8, true))),
    ] {
        let reports = ascending(bridge, subject, sequence, account, count).await;
        assert_eq!(reports.len(), count);
        match (reports.last().unwrap(), want) {
            (Ok(Written { offset, dedup, .. }), Ok(want)) => {
                assert_eq!((*offset, dedup.is_some_and(|dedup| dedup.is_duplicate)), want, "{sequence}");
            }
            (Err(error), Err(want)) => {
                assert_eq!(error.fault, Fault::OutOfOrder);
                assert!(error.message.contains(want), "{error:?}");
            }
            (report, _) => panic!("{subject} {sequence}: {report:?}"),
        }
    }
    case.write("S", [1]).await;
    let report = ascending(&other, "S.a", "c", None, 1).await.remove(0);
    assert!(report.unwrap_err().message.contains("the last message of the subject has none"));
    case.streams.create("QUEUE", json!({ "retention": "workqueue" })).await.unwrap();
    let due = CancellationToken::new();
    let queued = Record { topic: "QUEUE".into(), ..record("QUEUE.a", "1") };
    let report = reports(other.enqueue_after(ClientKey::default(), vec![queued], None, &due)).await.remove(0);
    assert_eq!(report.unwrap_err().fault, Fault::Invalid);
    // Copied messages have a sequence that nobody compares.
    let copied = Record { headers: vec![header(STREAM_SEQ, "0")], ..record("S.c", "1") };
    case.produce_one(copied).await.unwrap();
    let report = ascending(&other, "S.c", "1", None, 1).await.remove(0);
    assert!(report.unwrap_err().message.contains("the last message of the subject has none"));
}

#[tokio::test]
async fn writers_that_race_with_a_sequence_store_it_once() {
    let case = Case::of(0).await;
    let (other, _shared) = nats(&case.server, |_| {});
    for sequence in 10..60 {
        let text = sequence.to_string();
        let write = |nats| ascending(nats, "S.a", &text, None, 1);
        let (one, another) = tokio::join!(write(&case.nats), write(&other));
        let lost: Vec<_> = one.iter().chain(&another).filter_map(|report| report.as_ref().err()).collect();
        assert!(lost.len() == 1 && lost[0].fault == Fault::OutOfOrder, "{one:?} {another:?}");
    }
    let want: Vec<_> = (10..60).map(|sequence: i32| sequence.to_string()).collect();
    assert_eq!(data_of(&case.stored("S").await), want);
    // The rest of a command is not written behind a later sequence.
    for round in 0..20 {
        let [low, high] = ["a", "b"].map(|rank| format!("{round:02}{rank}"));
        let (one, another) = tokio::join!(
            ascending(&case.nats, "S.b", &low, None, 3),
            ascending(&other, "S.b", &high, None, 3)
        );
        assert!(another.iter().all(Result::is_ok), "{one:?} {another:?}");
    }
    let stored = case.stored("S").await;
    let of_commands = data_of(&stored).split_off(want.len());
    assert!(of_commands.is_sorted(), "{of_commands:?}");
}
