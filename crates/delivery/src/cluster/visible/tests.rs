//! Fetches of a client that sees the records with some keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sluicegate_backend::System;
use sluicegate_backend::command::{ReadBounds, RecordFilter, ValuePart};
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::KafkaMessage;

use super::*;
use crate::cluster::Reads;
use crate::testing::logs::Logs;
use crate::testing::records::{fetched, keys, offsets, topic};

const LOG: Log<'_> = Log { topic: "t", partition: 0 };

/// Logs in which every thousandth record is visible.
fn logs(records: usize) -> Logs {
    let logs = Logs::default();
    logs.set_keys(|offset| if offset % 1000 == 999 { "mine:1" } else { "yours:1" });
    logs.append(0, records);
    logs
}

fn mine(topic: &str) -> Result<Rows, CommandError> {
    Ok(self::topic([keys("mine:")]).rows(topic).unwrap_or_else(Rows::none))
}

fn at(offset: i64) -> Fetch {
    let reads = Reads { max_bytes: 1000, wait: Duration::ZERO, table_away: Duration::ZERO };
    reads.fetch(ClientKey::UNKNOWN, offset, ReadBounds::default())
}

async fn fetch(cluster: &Arc<Cluster>, fetch: Fetch, reads_on: bool, rows: &RowsOf<'_>) -> Chunk {
    let wanted = Wanted { filters: &Filters::default(), reads_on };
    cluster.fetch(LOG, fetch, wanted, rows, &RouteMetrics::default(), &mut ()).await.unwrap()
}

async fn fetch_each(
    cluster: &Arc<Cluster>,
    places: &[Place<'_>],
    rows: &RowsOf<'_>,
) -> Vec<Result<Chunk, CommandError>> {
    let (fetch, filters) = (MultiFetch::of(at(0)), Filters::default());
    cluster.fetch_each(places, fetch, &filters, rows, &RouteMetrics::default(), &mut ()).await
}

/// Reads each place by a fetch of many, or the only one by a fetch.
async fn read(cluster: &Arc<Cluster>, places: &[Place<'_>], is_multi: bool, rows: &RowsOf<'_>) -> Vec<Chunk> {
    match is_multi {
        false => vec![fetch(cluster, at(places[0].1), false, rows).await],
        true => fetch_each(cluster, places, rows).await.into_iter().map(Result::unwrap).collect(),
    }
}

#[tokio::test(start_paused = true)]
async fn fetch_reads_on_to_the_first_visible_record() {
    let cluster = logs(3500).cluster();
    for (offset, want) in [(0, 999), (999, 999), (1000, 1999)] {
        let read = fetch(&cluster, at(offset), false, &mine).await;
        assert_eq!((read.count > 0, offsets(&read.messages)[0]), (true, want), "{read:?}");
    }
    let end = fetch(&cluster, at(3000), false, &mine).await;
    assert_eq!((end.count, end.messages.len(), end.next_offset), (0, 0, 3500));
    let nobody = |_: &str| Ok(Rows::none());
    let read = fetch(&cluster, at(0), false, &nobody).await;
    assert_eq!((read.count, read.next_offset), (0, 3500));
}

/// Of the records that the client sees, every second one is wanted.
#[tokio::test(start_paused = true)]
async fn fetch_moves_past_records_that_filters_leave_out() {
    let logs = logs(4000);
    logs.change(|state| {
        state.value = Some(|offset| if offset % 2000 == 1999 { r#"{"n":1}"# } else { r#"{"n":2}"# });
    });
    let cluster = logs.cluster();
    let value = Some(ValuePart { pointer: "/n".to_owned(), ..Default::default() });
    let filter = RecordFilter { value, equals: vec!["1.0".into()], ..Default::default() };
    let filters = Filters::new(vec![filter]).unwrap();
    let wanted = Wanted { filters: &filters, reads_on: false };
    let all = |_: &str| Ok(Rows::default());
    let metrics = RouteMetrics::default();
    let cases: [(&RowsOf<'_>, i64, Option<i64>, i64); 4] = [
        (&mine, 0, Some(1999), 2000),
        (&mine, 2000, Some(3999), 4000),
        (&all, 1000, Some(1999), 2000),
        (&all, 4000, None, 4000),
    ];
    for (rows, offset, want, next) in cases {
        let read = cluster.fetch(LOG, at(offset), wanted, rows, &metrics, &mut ()).await.unwrap();
        assert_eq!(offsets(&read.messages).first().copied(), want, "from {offset}");
        assert!(read.next_offset >= next, "{read:?}");
        let fetch = MultiFetch { max_bytes: 1 << 20, ..MultiFetch::of(at(0)) };
        let many = cluster.fetch_each(&[(LOG, offset)], fetch, &filters, rows, &metrics, &mut ()).await;
        let many = many[0].as_ref().unwrap();
        assert_eq!(offsets(&many.messages).first().copied(), want, "of many, from {offset}");
        assert!(many.next_offset >= next, "{many:?}");
    }
}

/// A record is some 26 bytes: each search of a second passes one read.
#[tokio::test(start_paused = true)]
async fn search_ends_unless_the_client_cannot_continue() {
    let logs = Logs::default();
    logs.set_keys(|offset| if offset == 50_000 { "mine:1" } else { "yours:1" });
    logs.append(0, 100_000);
    let cluster = logs.cluster_with(System::Kafka, 4000);
    let start = Instant::now();
    let read = fetch(&cluster, at(0), false, &mine).await;
    assert_eq!(read.count, 0);
    assert!((5_000..30_000).contains(&read.next_offset), "{read:?}");
    assert!((SEARCH_TIME..SEARCH_TIME * 3 / 2).contains(&start.elapsed()), "{:?}", start.elapsed());
    let read = fetch(&cluster, at(0), true, &mine).await;
    assert_eq!((read.count, read.next_offset > 50_000), (1, true), "{read:?}");
    assert!(start.elapsed() > SEARCH_TIME * 3, "{:?}", start.elapsed());
}

/// Others can write faster than the client may search.
#[tokio::test(start_paused = true)]
async fn search_does_not_chase_an_end_that_moves() {
    let logs = Logs::default();
    logs.set_keys(|_| "yours:1");
    logs.append(0, 10_000);
    let cluster = logs.cluster_with(System::Kafka, 4000);
    let write = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            logs.append(0, 1000);
        }
    };
    let read = tokio::select! {
        read = fetch(&cluster, at(0), true, &mine) => read,
        () = write => unreachable!(),
    };
    assert_eq!(read.count, 0);
    // There are at least 50,000 records after 5 s.
    assert!((50_000..70_000).contains(&read.next_offset), "{read:?}");
}

#[tokio::test(start_paused = true)]
async fn bounds_of_a_client_are_for_what_it_sees() {
    let logs = Logs::default();
    logs.set_keys(|offset| if offset % 3 == 2 { "mine:1" } else { "yours:1" });
    logs.append(0, 5000);
    let cluster = logs.cluster();
    let small = Fetch { max_bytes: 1, ..at(0) };
    let (mut seen, mut next) = (Vec::new(), 0);
    for fetch_of in [Fetch { max_records: 2, ..at(0) }, small, at(0)] {
        let read = fetch(&cluster, Fetch { offset: next, ..fetch_of }, false, &mine).await;
        seen.extend(offsets(&read.messages));
        next = read.next_offset;
    }
    let count = i64::try_from(seen.len()).unwrap();
    assert_eq!(seen, (0..count).map(|number| number * 3 + 2).collect::<Vec<_>>(), "none is lost or repeated");
    assert!((30..50).contains(&count) && (count * 3..=count * 3 + 2).contains(&next), "{count} {next}");
}

/// While it waits for its share, the client gets other rights.
#[tokio::test(start_paused = true)]
async fn rows_are_those_at_the_end_of_a_wait() {
    let logs = Logs::default();
    logs.set_keys(|offset| if offset < 10 { "mine:1" } else { "yours:1" });
    logs.append(0, 10_000);
    let cluster = logs.cluster_with(System::Kafka, 1);
    for is_multi in [false, true] {
        cluster.scans().take(ClientKey::UNKNOWN, 1).await;
        let start = Instant::now();
        let rows = |topic: &str| if start.elapsed().is_zero() { mine(topic) } else { Ok(Rows::none()) };
        let read = read(&cluster, &[(LOG, 0)], is_multi, &rows).await;
        assert_eq!(read[0].count, 0, "{read:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn hidden_record_does_not_end_a_wait() {
    let logs = logs(998);
    let cluster = logs.cluster();
    let start = Instant::now();
    let wait = Duration::from_secs(20);
    let write = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        logs.append(0, 1);
        tokio::time::sleep(Duration::from_secs(1)).await;
        logs.append(0, 1);
    };
    let (read, ()) = tokio::join!(fetch(&cluster, Fetch { wait, ..at(998) }, false, &mine), write);
    assert_eq!((read.count, read.next_offset, start.elapsed().as_secs()), (1, 1000, 2));
    let start = Instant::now();
    let write = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        logs.append(0, 1);
    };
    let (read, ()) = tokio::join!(fetch(&cluster, Fetch { wait, ..at(1000) }, false, &mine), write);
    assert_eq!((read.count, read.next_offset, start.elapsed().as_secs()), (0, 1001, 20));
}

/// Shorter logs take the places of those whose records were passed, one after the other.
#[tokio::test(start_paused = true)]
async fn fetch_begins_again_where_its_search_has_no_log() {
    let other = Log { topic: "t", partition: 1 };
    for is_multi in [false, true] {
        let logs = logs(998);
        logs.append(other.partition, 998);
        let cluster = logs.cluster();
        let calls = AtomicUsize::new(0);
        let rows = |topic: &str| {
            // After the first read, and after the first one of the shorter log.
            match calls.fetch_add(1, Ordering::Relaxed) {
                1 => logs.truncate(0, 10),
                5 => logs.truncate(other.partition, 7),
                _ => {}
            }
            mine(topic)
        };
        let read = read(&cluster, &[(LOG, 5), (other, 3)], is_multi, &rows).await;
        let read: Vec<_> = read.iter().map(|read| (read.count, read.next_offset)).collect();
        assert_eq!(read, if is_multi { vec![(0, 10), (0, 7)] } else { vec![(0, 10)] });
    }
}

/// The other log has a visible record before the offset that the search has reached.
#[tokio::test(start_paused = true)]
async fn fetch_begins_again_in_another_log() {
    for (is_multi, is_topic) in [(false, false), (false, true), (true, false), (true, true)] {
        let logs = logs(900);
        logs.recreate(1, None);
        let cluster = logs.cluster();
        let calls = AtomicUsize::new(0);
        let rows = |topic: &str| {
            // After the first read.
            if calls.fetch_add(1, Ordering::Relaxed) == 1 {
                match is_topic {
                    true => logs.recreate(2, None),
                    false => logs.truncate(0, 900),
                }
                logs.set_keys(|offset| if offset == 7 { "mine:1" } else { "yours:1" });
            }
            mine(topic)
        };
        let read = read(&cluster, &[(LOG, 0)], is_multi, &rows).await;
        assert_eq!(offsets(&read[0].messages).first(), Some(&7), "{is_multi} {is_topic}");
    }
}

#[tokio::test(start_paused = true)]
async fn logs_of_one_fetch_advance_to_the_first_visible_record() {
    let logs = logs(1500);
    logs.append(1, 10);
    let other = Log { topic: "t", partition: 1 };
    let denied = Log { topic: "x", partition: 0 };
    let rows = |topic: &str| match topic {
        "x" => Err(CommandError::forbidden(29, "denied")),
        topic => mine(topic),
    };
    let cluster = logs.cluster();
    let read = fetch_each(&cluster, &[(LOG, 0), (other, 0)], &rows).await;
    let counts: Vec<_> = read.iter().map(|read| read.as_ref().map(|read| read.count)).collect();
    assert_eq!(counts, [Ok(1), Ok(0)]);
    assert_eq!(read[1].as_ref().unwrap().next_offset, 10);
    let read = fetch_each(&cluster, &[(LOG, 0), (denied, 0)], &rows).await;
    assert!(read[0].as_ref().is_ok_and(|read| read.count == 0 && read.next_offset > 0), "{read:?}");
    assert_eq!(read[1].as_ref().unwrap_err().message, "denied");
}

/// A client that asks for one record of many, and does not read it, would hold them all.
#[test]
fn small_answer_holds_no_large_read() {
    let message = |key: &'static str| KafkaMessage { key: Some(key.into()), ..Default::default() };
    let read = fetched(&vec![message("a"); 100], 100);
    let one = cut(read.clone(), Fetch { max_records: 1, ..at(0) });
    assert_eq!((one.count, one.messages.as_ptr() == read.messages.as_ptr()), (1, false));
    assert!(read.messages.starts_with(&one.messages));
}
